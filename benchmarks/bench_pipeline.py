#!/usr/bin/env python3
"""How fast the single pass is: against its own networks alone, a plain loop, and face_recognition.

    python benchmarks/bench_pipeline.py CLIP [--pack open --pack yunet-arcface] [--runs 5] [--peer PYTHON] [--output FILE.md]

Contenders, each in a process of its own, in turn, ``--runs`` times, so that a machine whose speed drifts treats all alike:

- ``pipeline``: this program, writing all frames, chips and tables.
- ``networks``: the limit on this machine: the same networks on the same inputs, prepared beforehand, on all cores, nothing else done.
- ``plain``: the loop that a user would write: OpenCV's VideoCapture, one frame at a time, one face at a time, ONNX Runtime as it comes,
  the same ONNX files, the same outputs.
- ``face_recognition`` (with ``--peer``, a Python that has it): its HOG detector and embeddings on every frame; its CNN detector on every
  20th frame, scaled up.

Times are those of the clip's work alone: imports and loading of networks are left out for all. Ratios are medians of the ratios run by
run. Needs the package installed; nothing is timed by the test suite.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

CNN_EVERY = 20


def pipeline(clip: Path, pack: str, work: Path) -> dict[str, Any]:
    """Run the program's own single pass."""
    from facesearch_trt.config import Options
    from facesearch_trt.graph.inputs import find_clips
    from facesearch_trt.running.runner import Outcome
    from facesearch_trt.steps import run_pipeline
    from facesearch_trt.wiring import Tools

    class Silent:
        def started(self, *_: Any) -> None: ...
        def advanced(self, *_: Any) -> None: ...
        def finished(self, outcome: Outcome) -> None: ...

    (work / clip.name).symlink_to(clip.resolve())
    with Tools(Options(pack=pack)) as tools:
        _warm(tools.detector, tools.embedder)
        (found,) = find_clips(work)
        start = time.perf_counter()
        outcome = run_pipeline(found, tools, Silent())
        seconds = time.perf_counter() - start
    record = json.loads((found.output / "run.json").read_text())
    return {"seconds": seconds, "frames": outcome.frames, "faces": outcome.faces, "stages": record["seconds"]}


def _warm(detector: Any, embedder: Any) -> None:
    from facesearch_trt.identity.track import load_tracker

    load_tracker()
    detector.detect([np.zeros((64, 64, 3), np.uint8)])
    embedder.embed(np.zeros((1, embedder.spec.chip_size, embedder.spec.chip_size, 3), np.uint8))


def _networks(pack: str) -> tuple[Any, Any, Any]:
    from facesearch_trt.config import Options
    from facesearch_trt.wiring import Tools

    tools = Tools(Options(pack=pack))
    return tools, tools.detector, tools.embedder


def networks(clip: Path, pack: str, _: Path) -> dict[str, Any]:
    """Run only the networks, on inputs that were prepared beforehand, on all cores."""
    from facesearch_trt.faces.network import fill_planes
    from facesearch_trt.inference.onnxruntime import OnnxRuntimeEngine

    tools, detector, embedder = _networks(pack)
    images = list(_decoded(clip))
    planes, chips = [], []
    for image in images:
        (look,) = detector.letterboxes(image.shape[1], image.shape[0])
        one = np.empty((1, 3, look.net_height, look.net_width), np.float32)
        fill_planes(one[0], look.resize(image), detector.spec.colour, detector.spec.mean, detector.spec.std)
        planes.append(one)
        (faces,) = detector.detect([image])
        chips += list(tools.aligner.chips(image, faces.landmarks))
    size, batch = embedder.spec.chip_size, embedder.batch
    batches = []
    for start in range(0, len(chips), batch):
        part = np.empty((len(chips[start : start + batch]), 3, size, size), np.float32)
        for one, chip in zip(part, chips[start : start + batch], strict=True):
            fill_planes(one, chip, embedder.spec.colour, embedder.spec.mean, embedder.spec.std)
        batches.append(part)
    nets = [OnnxRuntimeEngine(spec.onnx, threads=1) for spec in (detector.spec, embedder.spec)]
    names = [next(iter(net.inputs)) for net in nets]
    for net, name, first in zip(nets, names, (planes, batches), strict=True):
        net.infer({name: first[0]})
    work_items = [(0, one) for one in planes] + [(1, one) for one in batches]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        start = time.perf_counter()
        for _ in pool.map(lambda item: nets[item[0]].infer({names[item[0]]: item[1]}) and None, work_items):
            pass
        seconds = time.perf_counter() - start
    tools.__exit__(None, None, None)
    return {"seconds": seconds, "frames": len(images), "faces": len(chips)}


def _decoded(clip: Path) -> Any:
    capture = cv2.VideoCapture(str(clip))
    while True:
        good, image = capture.read()
        if not good:
            return
        yield image


def plain(clip: Path, pack: str, work: Path) -> dict[str, Any]:
    """Do the same job in the loop that a user would write around the same ONNX files."""
    import onnxruntime

    from facesearch_trt.faces.decode import Look
    from facesearch_trt.faces.network import fill_planes

    tools, detector, embedder = _networks(pack)
    sessions = [
        onnxruntime.InferenceSession(str(spec.onnx), providers=["CPUExecutionProvider"])
        for spec in (detector.spec, embedder.spec)
    ]
    names = [session.get_inputs()[0].name for session in sessions]
    outputs = [output.name for output in sessions[0].get_outputs()]
    (work / "faces").mkdir()
    size = embedder.spec.chip_size
    rows, embeddings = [], []
    sessions[1].run(None, {names[1]: np.zeros((1, 3, size, size), np.float32)})
    sessions[0].run(None, {names[0]: np.zeros((1, 3, 64, 64), np.float32)})
    start = time.perf_counter()
    frames = 0
    for frame_num, image in enumerate(_decoded(clip)):
        frames += 1
        cv2.imwrite(str(work / f"frame_{frame_num:04d}.png"), image)
        (look,) = detector.letterboxes(image.shape[1], image.shape[0])
        planes = np.empty((1, 3, look.net_height, look.net_width), np.float32)
        fill_planes(planes[0], look.resize(image), detector.spec.colour, detector.spec.mean, detector.spec.std)
        found = dict(zip(outputs, sessions[0].run(None, {names[0]: planes}), strict=True))
        faces = detector.faces_from_outputs([Look(found, 0, look)], image.shape[1], image.shape[0])
        for index, chip in enumerate(tools.aligner.chips(image, faces.landmarks)):
            file = f"faces/frame_{frame_num:04d}_face_{index:02d}.png"
            cv2.imwrite(str(work / file), chip)
            planes = np.empty((1, 3, size, size), np.float32)
            fill_planes(planes[0], chip, embedder.spec.colour, embedder.spec.mean, embedder.spec.std)
            embeddings.append(sessions[1].run(None, {names[1]: planes})[0][0])
            rows.append([frame_num, *faces.boxes[index], faces.scores[index], *faces.landmarks[index].ravel(), file])
    with (work / "faces.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    np.save(work / "embeddings.npy", np.array(embeddings))
    return {"seconds": time.perf_counter() - start, "frames": frames, "faces": len(rows)}


def face_recognition(clip: Path, model: str, work: Path) -> dict[str, Any]:
    """Do the same job with face_recognition, whose wheel of dlib uses one core."""
    import face_recognition as peer

    (work / "faces").mkdir()
    every = CNN_EVERY if model == "cnn" else 1
    rows = []
    frames = 0
    start = time.perf_counter()
    for frame_num, image in enumerate(_decoded(clip)):
        if frame_num % every:
            continue
        frames += 1
        cv2.imwrite(str(work / f"frame_{frame_num:04d}.png"), image)
        rgb = np.ascontiguousarray(image[:, :, ::-1])
        places = peer.face_locations(rgb, model=model)
        encodings = peer.face_encodings(rgb, places)
        for index, ((top, right, bottom, left), _) in enumerate(zip(places, encodings, strict=True)):
            cv2.imwrite(
                str(work / f"faces/frame_{frame_num:04d}_face_{index:02d}.png"),
                image[max(0, top) : bottom, max(0, left) : right],
            )
            rows.append([frame_num, left, top, right, bottom, ""])
    seconds = (time.perf_counter() - start) * every
    return {"seconds": seconds, "frames": frames * every, "faces": len(rows) * every, "rows": rows, "every": every}


def _contend(name: str, argument: str, clip: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        function = {"pipeline": pipeline, "networks": networks, "plain": plain, "face_recognition": face_recognition}[
            name
        ]
        result = function(clip, argument, Path(directory))
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result, default=float))


def _run(python: str, name: str, argument: str, clip: Path) -> dict[str, Any]:
    command = [python, __file__, str(clip), "--contender", name, argument]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} {argument} failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _recall(rows: list[list[Any]], every: int, truth: Path) -> float:
    """Share of the true faces, of the frames looked at, that a box meets with an IoU of 0.4 or more."""
    boxes: dict[int, list[list[float]]] = {}
    for frame_num, *box, _ in rows:
        boxes.setdefault(frame_num, []).append(box)
    wanted = met = 0
    with truth.open(newline="") as file:
        for row in csv.DictReader(file):
            frame_num = int(row["frame_num"])
            if frame_num % every or row["person"] == "not_a_face":
                continue
            wanted += 1
            t = [float(row[k]) for k in ("x1", "y1", "x2", "y2")]
            met += any(_iou(box, t) >= 0.4 for box in boxes.get(frame_num, []))
    return met / wanted


def _iou(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--pack", action="append", help="packs to measure; open by default")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peer", help="a Python that has face_recognition and OpenCV")
    parser.add_argument("--truth", type=Path, help="truth table, for the recall of face_recognition")
    parser.add_argument("--output", type=Path, help="write the tables to this file too")
    parser.add_argument("--contender", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contender:
        _contend(*args.contender, args.clip)
        return
    lines = [f"{args.clip.name}, {os.cpu_count()} cores, {args.runs} runs, median (least to most)", ""]
    for pack in args.pack or ["open"]:
        runs: list[dict[str, dict[str, Any]]] = []
        for _ in range(args.runs):
            runs.append(
                {name: _run(sys.executable, name, pack, args.clip) for name in ("pipeline", "networks", "plain")}
            )
        lines += [
            f"### pack {pack}",
            "",
            "| contender | seconds | frames/s | faces/s | peak MB | speed of the pipeline against it |",
            "|-|-|-|-|-|-|",
        ]
        for name in ("pipeline", "networks", "plain"):
            lines.append(_row(name, [run[name] for run in runs], [run["pipeline"] for run in runs]))
        stages = runs[len(runs) // 2]["pipeline"]["stages"]
        lines += [
            "",
            "What the pass waited for, s: " + ", ".join(f"{stage} {value:.2f}" for stage, value in stages.items()),
            "",
        ]
    if args.peer:
        own = [_run(sys.executable, "pipeline", "open", args.clip) for _ in range(2)]
        lines += [
            "### against face_recognition (pack open)",
            "",
            "| contender | seconds | frames/s | faces/s | peak MB | speed of the pipeline against it |",
            "|-|-|-|-|-|-|",
        ]
        for model in ("hog", "cnn"):
            peer = _run(args.peer, "face_recognition", model, args.clip)
            lines.append(_row(f"face_recognition {model}", [peer], [own[0]]))
            if args.truth:
                lines.append(
                    f"| &nbsp; recall {_recall(peer['rows'], peer['every'], args.truth):.3f} on every {peer['every']}. frame | | | | | |"
                )
        lines.append(_row("pipeline", own, own))
    text = "\n".join(lines) + "\n"
    print(text)
    if args.output:
        args.output.write_text(text, encoding="utf-8")


def _row(name: str, results: list[dict[str, Any]], own: list[dict[str, Any]]) -> str:
    seconds = [result["seconds"] for result in results]
    ratio = statistics.median(theirs["seconds"] / ours["seconds"] for theirs, ours in zip(results, own, strict=True))
    middle = statistics.median(seconds)
    first = results[0]
    span = f"{middle:.2f} ({min(seconds):.2f} to {max(seconds):.2f})"
    memory = statistics.median(result["peak_mb"] for result in results)
    return f"| {name} | {span} | {first['frames'] / middle:.1f} | {first['faces'] / middle:.1f} | {memory:.0f} | {ratio:.2f} |"


if __name__ == "__main__":
    main()
