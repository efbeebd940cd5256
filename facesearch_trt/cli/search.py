"""``facesearch search``: where is this person?"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from ..config import Options, options_with
from ..errors import OptionError
from ..indexing import root_name
from ..photo import PhotoFace, faces_of_photo, read_photo, the_face
from ..search.index import Index
from ..search.moments import seconds_from_clock
from ..search.where import Where
from ..searching import options_for, search_faces
from ..wiring import Tools
from . import answers
from .flags import PHOTO_OPTIONS, add_option_flags, given_options
from .index import add_index_flag, index_location

__all__ = ["register"]

_LOG = logging.getLogger(__name__)

_HELP = """\
facesearch search PHOTO [PHOTO ...]              where is this person? Several photos of one person find more
facesearch search --person ID|NAME               all appearances of a person who is known by id or name
facesearch search --person ID|NAME --together    who is on screen at the same time

Make the index first: facesearch index ROOT"""


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "search",
        help="find a person by photo: clips, times and pictures",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photos", nargs="*", type=Path, metavar="PHOTO", help="photo of the person; several are joined")
    add_index_flag(parser)
    parser.add_argument(
        "--person", action="append", default=[], metavar="ID|NAME", help="only this person; may be repeated"
    )
    parser.add_argument("--together", action="store_true", help="with --person: who appears together with this person")
    parser.add_argument("--face", type=int, metavar="N", help="which face of the photo, from 1, where it shows several")
    parser.add_argument(
        "--clip", action="append", default=[], metavar="NAME", help="only in this clip; may be repeated"
    )
    parser.add_argument(
        "--root",
        action="append",
        type=Path,
        default=[],
        metavar="ROOT",
        help="only in clips of this directory; may be repeated",
    )
    parser.add_argument(
        "--from",
        dest="from_s",
        type=_time,
        metavar="TIME",
        help="only from this time of the clip on: S, M:SS or H:MM:SS",
    )
    parser.add_argument("--to", dest="to_s", type=_time, metavar="TIME", help="only up to this time of the clip")
    parser.add_argument("--min-quality", type=_share, metavar="Q", help="only faces of at least this quality, 0 to 1")
    parser.add_argument("--top", type=_count, default=20, metavar="N", help="list at most N people per clip [20]")
    parser.add_argument(
        "--min-similarity",
        type=_cosine,
        metavar="S",
        help="cosine from which somebody counts as found [the embedder's own]",
    )
    parser.add_argument(
        "--exact", action="store_true", help="compare every vector, even where there is an approximate index"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print everything as JSON")
    form.add_argument("--csv", action="store_true", help="print a table with a row for each appearance")
    add_option_flags(parser, only=PHOTO_OPTIONS)
    parser.set_defaults(call=_search)


def _search(args: argparse.Namespace) -> int:
    if bool(args.photos) == bool(args.person):
        raise OptionError("give either photos or --person", where="search", remedy="See facesearch search --help.")
    if args.together and not args.person:
        raise OptionError("--together needs --person", where="search")
    form: answers.Form = "json" if args.json else "csv" if args.csv else "text"
    index = Index.open(index_location(args))
    where = Where(
        roots=tuple(root_name(root) for root in args.root),
        clips=tuple(args.clip),
        people=tuple(args.person),
        from_s=args.from_s,
        to_s=args.to_s,
        min_quality=args.min_quality,
    )
    if args.together:
        return answers.print_companions(index.together(where)[: args.top], form)
    if args.person:
        return answers.print_matches(index.appearances(where), answers.Sources(index), form)
    with Tools(_options(args, index)) as tools:
        answer = search_faces(
            index,
            _faces(args.photos, args.face, tools),
            tools,
            where=where,
            top=args.top,
            min_similarity=args.min_similarity,
            exact=args.exact,
        )
    for warning in answer.warnings:
        _LOG.warning("%s", warning)
    return answers.print_answer(answer, answers.Sources(index), form)


def _faces(photos: list[Path], number: int | None, tools: Tools) -> list[PhotoFace]:
    faces = []
    for path in photos:
        chosen = the_face(faces_of_photo(read_photo(path), tools), tools, str(path), number=number)
        if chosen.warning:
            _LOG.warning("%s: %s", path, chosen.warning)
        faces.append(chosen)
    return faces


def _options(args: argparse.Namespace, index: Index) -> Options:
    given = given_options(args)
    return options_for(index, options_with(Options(), given, where="command line"), given)


def _time(text: str) -> float:
    try:
        return seconds_from_clock(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _between(text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low:g} to {high:g}")
    return value


def _share(text: str) -> float:
    return _between(text, 0, 1)


def _cosine(text: str) -> float:
    return _between(text, -1, 1)


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 100000")
    return int(text)
