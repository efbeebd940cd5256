"""``facesearch run`` and the four steps: the sub-commands that work through clips."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import OptionError, UsageError
from ..running.sharing import parse_shard
from .flags import add_option_flags, options_from, port
from .text import sentence
from .work import Work, work_through

__all__ = ["register"]

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
        _DETECTOR | _IDENTITY | {"pack", "embedder", "models_file", "embed_batch", "crops", "report"},
    ),
    "faces": (
        "step 2: aligned face chips and faces.csv",
        (_FRAMES | _IDENTITY | {"embed_batch", "report"}) - {"frames"},
    ),
    "embeddings": (
        "step 3: embeddings.pth, and enorm in faces.csv",
        (_FRAMES | _DETECTOR | _IDENTITY | {"report"}) - _NETWORKS,
    ),
    "identity": (
        "step 4: track_id and face_id in faces.csv",
        _FRAMES | _DETECTOR | {"embed_batch", "png_compression", "threads", "crops"},
    ),
}
"""Sub-command → what it does, and the options that mean nothing to it."""


def register(subparsers: Any) -> None:
    """Add the sub-commands."""
    for command, (help_text, foreign) in _JOBS.items():
        parser = subparsers.add_parser(command, help=help_text, description=sentence(help_text))
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
        parser.add_argument(
            "--shard",
            metavar="I/N",
            help="do only the I-th of N shares of the clips, for N jobs over one ROOT; the clips' names decide",
        )
        parser.add_argument(
            "--ray",
            metavar="ADDRESS",
            help="do the clips on a Ray cluster: auto for the one this machine belongs to, local to start one here, or its address; ROOT"
            " has to be at the same path on all machines",
        )
        parser.add_argument(
            "--metrics-port",
            type=port,
            metavar="PORT",
            help="serve Prometheus metrics on this port while the run lasts",
        )
        parser.add_argument(
            "--profile",
            type=Path,
            metavar="FILE",
            help="write a trace of all threads, which https://ui.perfetto.dev shows",
        )
        add_option_flags(parser, leave_out=foreign)
        parser.set_defaults(call=_run, command=command, gallery=None)


def _run(args: argparse.Namespace) -> int:
    if args.profile is not None:
        try:
            args.profile.unlink(missing_ok=True)
        except OSError as error:
            raise OptionError("cannot write the trace", where=args.profile, found=error.strerror) from error
    if args.ray is not None and (args.shard, args.profile) != (None, None):
        raise UsageError("--ray goes with neither --shard nor --profile")
    work = Work(
        args.input_directory,
        options_from(args),
        args.command,
        args.gallery,
        None if args.shard is None else parse_shard(args.shard),
        args.ray,
        args.metrics_port,
        args.profile,
    )
    return work_through(work)
