"""``facesearch run`` and the four steps: the sub-commands that work through clips."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .. import steps
from ..graph.inputs import find_clips
from ..runner import Job, exit_status, run_clips
from ..wiring import Tools
from .flags import add_option_flags, options_from
from .progress import summary, watcher_for

__all__ = ["register", "work_through"]

_FRAMES = frozenset({"every", "frames", "stall_timeout_s", "graph"})
_DETECTOR = frozenset(
    {"detector", "detector_size", "close_up_size", "score_threshold", "nms_iou", "min_face_px", "backend"}
)
_IDENTITY = frozenset({"deepsort", "similarity_threshold"})

_JOBS: dict[str, tuple[str, frozenset[str]]] = {
    "run": ("the whole job in one pass over each clip, nothing decoded twice", frozenset()),
    "frames": (
        "step 1: frames, frames.csv, frame_tbl.csv",
        _DETECTOR | _IDENTITY | {"pack", "embedder", "models_file", "embed_batch"},
    ),
    "faces": ("step 2: aligned face chips and faces.csv", (_FRAMES | _IDENTITY | {"embed_batch"}) - {"frames"}),
    "embeddings": ("step 3: embeddings.pth, and enorm in faces.csv", (_FRAMES | _DETECTOR | _IDENTITY) - {"backend"}),
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
        add_option_flags(parser, leave_out=foreign)
        parser.set_defaults(call=_run, command=command)


def _run(args: argparse.Namespace) -> int:
    with Tools(options_from(args)) as tools:
        return work_through(args.input_directory, tools, args.command)


def work_through(root: Path, tools: Tools, command: str = "run") -> int:
    """Run one sub-command over all clips of a directory, showing progress and a summary; return the exit status."""
    clips = find_clips(root)
    with watcher_for(len(clips)) as watcher:
        outcomes = run_clips(clips, _job(tools, command), watcher)
    print(summary(outcomes), flush=True)
    return exit_status(outcomes)
