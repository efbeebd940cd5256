"""Whether people stay who they are when the order of clips, the frame rate or ``--every`` changes.

usage: python -m benchmarks.bench_invariance PHOTOS WORK [--pack open] [--seed 300] [--streets 1] [--albums 1]
       [--shared 6] [--out benchmarks/results/invariance.json]

PHOTOS is as for testbench_set. WORK gets the clips and their results, which are kept for a next run. Measured is the
agreement (BCubed F) of two groupings on the faces that both have:

- order: ``person_id`` of all clips, against clips named in another order, and against clips that came one by one;
- rate: ``face_id`` of each clip, against the same clip rendered at twice the frame rate;
- every: ``face_id`` of each clip with ``--every 1``, against ``--every 3``.

``--results ROOT`` measures order and every on results that are there, deciding again from their faces.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.testbench_clips import write_clip
from benchmarks.testbench_set import clips
from facesearch_trt.cli.main import main as facesearch
from facesearch_trt.config import CONFIGS
from facesearch_trt.evaluation.grouping import agreement
from facesearch_trt.identity.builder import IdentityBuilder
from facesearch_trt.identity.deep_sort import load_tracker_settings
from facesearch_trt.models.catalogue import load_catalogue
from facesearch_trt.people.files import read_people_table, read_state
from facesearch_trt.people.update import update_people
from facesearch_trt.store import ClipStore

LEAST_IOU = 0.4
"""Of two boxes in one moment that show the same face."""


def faces_of(directory: Path) -> dict[int, list[tuple[np.ndarray, str]]]:
    """Return the faces of a clip's results by frame: box and face_id."""
    found: dict[int, list[tuple[np.ndarray, str]]] = {}
    with (directory / "faces.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            box = np.array([float(row[side]) for side in ("x1", "y1", "x2", "y2")])
            found.setdefault(int(row["frame_num"]), []).append((box, row["face_id"]))
    return found


def common_faces(one: Path, other: Path, factor: int = 1) -> tuple[list[str], list[str]]:
    """Return the face_ids that two results give to the faces that both have.

    Frame n of ``one`` is frame ``factor`` · n of ``other``.
    """
    ours, theirs = faces_of(one), faces_of(other)
    left: list[str] = []
    right: list[str] = []
    for frame, faces in ours.items():
        free = list(theirs.get(frame * factor, []))
        for box, name in faces:
            values = [_iou(box, other_box) for other_box, _ in free]
            if values and max(values) >= LEAST_IOU:
                left.append(name)
                right.append(free.pop(int(np.argmax(values)))[1])
    return left, right


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    sides = np.maximum(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0)
    both = float(sides.prod())
    return both / float((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - both)


def order_agreement(root: Path, work: Path, *, seed: int = 0) -> tuple[float, float]:
    """Return the agreement of a ROOT's people with those of its clips under other names, in another order; and with
    those of clips that came one by one."""
    state = read_state(root)
    assert state is not None
    before = read_people_table(root)
    names = sorted({clip for clip, _ in before})
    results = []
    for step, one_by_one in enumerate((False, True)):
        place = work / f"order{step}"
        place.mkdir(parents=True)
        moved = {
            name: f"{rank:04d}" for rank, name in enumerate(np.random.default_rng([seed, step]).permutation(names))
        }
        for name in sorted(names, key=lambda name: moved[name]):
            (place / f"{moved[name]}.pipeline").symlink_to((root / f"{name}.pipeline").resolve())
            if one_by_one:
                update_people(place, *state.similarities)
        update_people(place, *state.similarities)
        after = read_people_table(place)
        keys = sorted(before)
        results.append(agreement([before[key] for key in keys], [after[moved[clip], face] for clip, face in keys]))
    return results[0], results[1]


def every_agreement(directory: Path, every: int = 3) -> float:
    """Return the agreement of a clip's people with those decided from every N-th of its frames."""
    store = ClipStore(directory)
    record = store.record()
    assert record is not None
    entry = load_catalogue().embedder(record.models["embedder"].name)
    settings = load_tracker_settings(CONFIGS / "deep_sort.yaml")
    frames = list(store.load_faces(with_chips=False, with_embeddings=True))
    found = []
    for step in (1, every):
        builder = IdentityBuilder(settings, entry.similarity, entry.similarity_strict)
        for frame in frames:
            if frame.frame_num % step == 0:
                builder.add(frame)
        found.append(builder.finish().face_ids)
    kept = np.repeat([frame.frame_num % every == 0 for frame in frames], [len(frame.faces) for frame in frames])
    return agreement(found[0][kept].tolist(), found[1].tolist())


def of_results(root: Path) -> dict[str, object]:
    """Return the agreements that results which are there can show."""
    with tempfile.TemporaryDirectory() as scratch:
        renamed, one_by_one = order_agreement(root, Path(scratch))
    table = {
        directory.name.removesuffix(".pipeline"): round(every_agreement(directory), 4)
        for directory in sorted(root.glob("*.pipeline"))
    }
    return {"order": round(renamed, 4), "one_by_one": round(one_by_one, 4), "every": table}


def run(root: Path, pack: str, *more: str) -> None:
    """Process a ROOT."""
    if facesearch(["run", "--input_directory", str(root), "--frames", "none", "--pack", pack, *more]):
        raise SystemExit(f"{root}: not all clips were done")


def measure(photos: Path, work: Path, pack: str, seed: int, counts: tuple[int, int, int]) -> dict[str, object]:
    """Make the clips, process them in every way, and return the agreements."""
    places = {name: work / f"{name}_{pack}" for name in ("plain", "every", "rate")}
    for name, rate in (("clips", 1), ("clips2", 2)):
        (work / name).mkdir(parents=True, exist_ok=True)
        for clip, scenes, width, height in clips(photos, seed, *counts):
            video = work / name / f"{clip}.mp4"
            if not video.exists():
                write_clip(scenes, video, video.with_suffix(".csv"), width, height, rate=rate, seed=seed)
    for name, place in places.items():
        place.mkdir(exist_ok=True)
        for video in (work / ("clips2" if name == "rate" else "clips")).glob("*.mp4"):
            link = place / video.name
            if not link.exists():
                link.symlink_to(video.resolve())
        run(place, pack, *(("--every", "3") if name == "every" else ()))
    result: dict[str, object] = {"pack": pack, "seed": seed, "clips": {}}
    table: dict[str, dict[str, object]] = {}
    worst = 1.0
    for directory in sorted(places["plain"].glob("*.pipeline")):
        row: dict[str, object] = {}
        for name, factor in (("rate", 2), ("every", 1)):
            left, right = common_faces(directory, places[name] / directory.name, factor)
            row[name], row[f"{name}_faces"] = round(agreement(left, right), 4), len(left)
            worst = min(worst, agreement(left, right))
        table[directory.name.removesuffix(".pipeline")] = row
    with tempfile.TemporaryDirectory() as scratch:
        renamed, one_by_one = order_agreement(places["plain"], Path(scratch), seed=seed)
    return {
        **result,
        "order": round(renamed, 4),
        "one_by_one": round(one_by_one, 4),
        "worst": round(worst, 4),
        "clips": table,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="?"), parser.add_argument("work", type=Path, nargs="?")
    parser.add_argument("--results", type=Path, nargs="+", help="directories that were processed, instead of new clips")
    parser.add_argument("--pack", default="open")
    for name, default in (("seed", 300), ("streets", 1), ("albums", 1), ("shared", 6)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "invariance.json")
    args = parser.parse_args()
    content = json.loads(args.out.read_text(encoding="utf-8")) if args.out.exists() else {}
    if args.results:
        result = {root.name: of_results(root) for root in args.results}
        content |= result
    elif args.work is None:
        parser.error("give PHOTOS and WORK, or --results ROOT")
    else:
        result = measure(args.photos, args.work, args.pack, args.seed, (args.streets, args.albums, args.shared))
        content[f"{args.pack}, seed {args.seed}"] = result
    args.out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2), file=sys.stdout)


if __name__ == "__main__":
    main()
