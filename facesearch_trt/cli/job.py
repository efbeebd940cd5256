"""``facesearch run`` and the four steps: the sub-commands that work through clips."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .. import steps
from ..gallery import enrol
from ..graph.inputs import find_clips
from ..people import update_people
from ..runner import Job, exit_status, run_clips
from ..wiring import Tools
from .flags import add_option_flags, options_from
from .people import people_line
from .progress import summary, watcher_for

__all__ = ["register", "work_through"]

_FRAMES = frozenset({"every", "frames", "stall_timeout_s", "graph"})
_NETWORKS = frozenset({"backend", "precision", "engines"})
_DETECTOR = _NETWORKS | {
    "detector",
    "detector_size",
    "close_up_size",
    "score_threshold",
    "nms_iou",
    "min_face_px",
    "detect_batch",
}
_IDENTITY = frozenset({"deepsort", "similarity_threshold"})

_JOBS: dict[str, tuple[str, frozenset[str]]] = {
    "run": ("the whole job in one pass over each clip, nothing decoded twice", frozenset()),
    "frames": (
        "step 1: frames, frames.csv, frame_tbl.csv",
        _DETECTOR | _IDENTITY | {"pack", "embedder", "models_file", "embed_batch"},
    ),
    "faces": ("step 2: aligned face chips and faces.csv", (_FRAMES | _IDENTITY | {"embed_batch"}) - {"frames"}),
    "embeddings": ("step 3: embeddings.pth, and enorm in faces.csv", (_FRAMES | _DETECTOR | _IDENTITY) - _NETWORKS),
    "identity": (
        "step 4: track_id and face_id in faces.csv",
        _FRAMES | _DETECTOR | {"embed_batch", "png_compression", "threads"},
    ),
}
"""Sub-command → what it does, and the options that mean nothing to it."""


def _job(tools: Tools, command: str) -> Job:
    functions = {
        "run": steps.run_pipeline,
        "frames": steps.video_to_frames,
        "faces": steps.frames_to_faces,
        "embeddings": steps.faces_to_embeddings,
        "identity": steps.face_to_faceid,
    }
    return lambda clip, watcher: functions[command](clip, tools, watcher)


def register(subparsers: Any) -> None:
    """Add the sub-commands."""
    for command, (help_text, foreign) in _JOBS.items():
        parser = subparsers.add_parser(command, help=help_text, description=help_text.capitalize() + ".")
        parser.add_argument(
            "--input_directory",
            "--input-directory",
            type=Path,
            required=True,
            metavar="ROOT",
            help="directory of videos and image folders; also one clip, one image folder or one .pipeline directory",
        )
        if command == "run":
            parser.add_argument(
                "--gallery",
                type=Path,
                metavar="DIR",
                help="directory with a sub-directory of photos per known person, who are named",
            )
        add_option_flags(parser, leave_out=foreign)
        parser.set_defaults(call=_run, command=command, gallery=None)


def _run(args: argparse.Namespace) -> int:
    with Tools(options_from(args)) as tools:
        return work_through(args.input_directory, tools, args.command, args.gallery)


def work_through(root: Path, tools: Tools, command: str = "run", gallery: Path | None = None) -> int:
    """Run one sub-command over all clips of a directory, showing progress and a summary; return the exit status.

    The whole job and step 4 end with who is who over all clips, if ``root`` is a directory of clips; ``gallery`` holds the people
    who are known by name.
    """
    # What a camera left can be worked on from what is stored, except by step 1.
    clips = find_clips(root, results_alone=command != "frames")
    with watcher_for(len(clips)) as watcher:
        outcomes = run_clips(clips, _job(tools, command), watcher)
    print(summary(outcomes), flush=True)
    status = exit_status(outcomes)
    if command in ("run", "identity") and all(clip.output.parent == root.absolute() for clip in clips):
        # Step 4 takes the embeddings that step 3 made, whatever its own options would have made.
        embedder = tools.embedder_entry.name if command == "run" else None
        status = max(status, _people_of_all(root, tools, embedder, gallery))
    return status


def _people_of_all(root: Path, tools: Tools, embedder: str | None, gallery: Path | None) -> int:
    if gallery is not None:
        enrol(gallery, tools, root)
    people = update_people(root, *tools.similarities, embedder)
    if people.clips:
        print(people_line(people), flush=True)
    for clip, reason in people.failed:
        print(f"  {clip}: not among all clips' people: {reason}")
    return int(bool(people.failed))
