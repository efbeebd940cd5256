"""``facesearch report``: one HTML file that shows the results of a ROOT."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..report.html import write_report

__all__ = ["register", "report_line"]


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "report",
        help="write ROOT/report.html: who is where, in one file",
        description="Write ROOT/report.html: people, timelines, screen time, who is seen together, problems; one file that needs no network.",
    )
    parser.add_argument("root", type=Path, metavar="ROOT", help="directory whose clips were processed")
    parser.set_defaults(call=_report)


def _report(args: argparse.Namespace) -> int:
    if not args.root.is_dir():
        raise InputError("is not a directory", where=args.root, remedy="Give a ROOT whose clips were processed.")
    print(report_line(args.root))
    return 0


def report_line(root: Path) -> str:
    """Write the report and return a line on it."""
    written = write_report(root)
    return f"{written.path}: {written.people} people in {written.clips} clips, {written.bytes / 1e6:.1f} MB"
