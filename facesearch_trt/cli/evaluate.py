"""``facesearch eval``: how well the results agree with a truth."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..evaluation.scores import ClipScore
from ..people.scoring import score_root

__all__ = ["register"]

_COLUMNS = (
    ("faces", "true_faces"),
    ("recall", "recall"),
    ("false", "false"),
    ("BCubed P", "bcubed_precision"),
    ("R", "bcubed_recall"),
    ("F", "bcubed_f"),
    ("WCP", "wcp"),
    ("NMI", "nmi"),
    ("IDF1", "idf1"),
    ("switches", "id_switches"),
    ("found", "identities"),
    ("people", "people"),
)


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "eval",
        help="score the results against a truth",
        description="Score face_id per clip and over all clips, person_id across clips, and the gallery. A truth is"
        " CLIP.csv (frame_num, x1, y1, x2, y2, person) or CLIP.txt (MOTChallenge).",
    )
    parser.add_argument("root", type=Path, metavar="ROOT", help="directory that was processed")
    parser.add_argument("--truth", type=Path, required=True, metavar="DIR", help="directory with a truth file per clip")
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    parser.set_defaults(call=_eval)


def _eval(args: argparse.Namespace) -> int:
    if not args.root.is_dir():
        raise InputError("is not a directory", where=args.root, remedy="Give the directory that was processed.")
    scores = score_root(args.root, args.truth)
    if args.json:
        print(json.dumps(scores.as_dict(), indent=2))
        return 0
    rows = [(name, clip) for name, clip in scores.clips.items()] + [("all clips", scores.overall)]
    if scores.across is not None:
        rows.append(("person_id", scores.across))
    table = [("clip", *(title for title, _ in _COLUMNS)), *(_row(name, clip) for name, clip in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        cells = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        print("  ".join([line[0].ljust(widths[0]), *cells]))
    gallery = scores.gallery
    if gallery is not None:
        what = (
            "not measurable, everybody is in it"
            if gallery.tpir is None
            else f"{gallery.tpir:.4f} from {gallery.threshold}"
        )
        print(f"gallery: TPIR at FPIR 1 %: {what} ({gallery.mated} probes in it, {gallery.non_mated} not)")
    return 0


def _row(name: str, score: ClipScore) -> tuple[str, ...]:
    values = [getattr(score, field) for _, field in _COLUMNS]
    return (name, *("-" if v is None else f"{v:.4f}" if isinstance(v, float) else str(v) for v in values))
