"""``facesearch demo``: make a small clip with three people and do the whole job on it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .. import demo
from .flags import add_option_flags, options_from
from .work import Work, work_through

__all__ = ["register"]


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser("demo", help="make a small clip with three people and do the whole job on it")
    parser.add_argument(
        "directory", nargs="?", type=Path, default=Path("facesearch-demo"), help="where to make it [facesearch-demo]"
    )
    add_option_flags(parser)
    parser.set_defaults(call=_demo)


def _demo(args: argparse.Namespace) -> int:
    options = options_from(args)
    clip = demo.make(args.directory)
    print(f"made {clip}", flush=True)
    status = work_through(Work(args.directory, options))
    output = clip.with_suffix(".pipeline")
    print(f"results: {output}/faces.csv lists every face, {output}/faces/ holds them; face_id says who is who")
    return status
