"""``facesearch erase``: take a person or a clip out of everything that the program made."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

from ..erasing import Erased, clips_older_than, erase_clips, erase_faces, erase_person
from ..errors import FaceSearchError, InputError, OptionError
from ..search.lance import is_remote
from .index import add_index_flag, index_location

__all__ = ["register"]

_HELP = """\
facesearch erase ROOT --person ID            a person of all clips; `facesearch people ROOT` lists the ids
facesearch erase ROOT --face CLIP:FACE_ID    a person of one clip
facesearch erase ROOT --clip NAME            all results of a clip
facesearch erase ROOT --older-than DAYS      all results of clips that were processed longer ago, as from a timer

Removed: rows, embeddings, crops, entries of people and gallery, rows of the index, also from the files.
Left: the videos and photos that you gave. Processing a video again with --force finds the person again."""


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "erase",
        help="take a person or a clip out of all results and the index",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", type=Path, metavar="ROOT", help="directory whose clips were processed")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--person", type=int, metavar="ID", help="person_id")
    what.add_argument("--face", action="append", metavar="CLIP:FACE_ID", help="a person of a clip; may be repeated")
    what.add_argument("--clip", metavar="NAME", help="name of a clip")
    what.add_argument(
        "--older-than", type=_days, metavar="DAYS", help="clips that were processed more than so many days ago"
    )
    add_index_flag(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    parser.add_argument("-v", "--verbose", action="store_true", help="log what is done")
    parser.set_defaults(call=_erase)


def _erase(args: argparse.Namespace) -> int:
    root: Path = args.root
    if not root.is_dir():
        raise InputError("is not a directory", where=root, remedy="Give a ROOT whose clips were processed.")
    faces, old = _faces(args.face or []), list[str]()
    if args.person is not None:
        what = f"person {args.person}"
    elif args.older_than is not None:
        old = clips_older_than(root, args.older_than, time.time())
        what = f"{len(old)} clips that were processed more than {args.older_than:g} days ago"
        if not old:
            print(json.dumps(dataclasses.asdict(Erased())) if args.json else "no clip was processed so long ago")
            return 0
    else:
        what = f"clip {args.clip}" if args.clip is not None else ", ".join(args.face)
    _confirm(what, root, sure=args.yes)
    location: str | None = index_location(args)
    assert location is not None
    if not is_remote(location) and not Path(location).is_dir():
        if args.index:
            raise InputError("there is no index", where=location, remedy="Leave --index out if nothing was indexed.")
        location = None
    erased = Erased()
    try:
        if args.person is not None:
            erase_person(root, args.person, location, erased)
        elif args.face is not None:
            erase_faces(root, faces, location, erased)
        else:
            erase_clips(root, old if args.clip is None else [args.clip], location, erased)
    except FaceSearchError:
        # What was erased all the same.
        if erased != Erased():
            _show(what, erased, as_json=args.json)
        raise
    _show(what, erased, as_json=args.json)
    return 0


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = float("nan")
    if not 0 <= days <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days")
    return days


def _faces(given: list[str]) -> dict[str, set[int]]:
    faces: dict[str, set[int]] = {}
    for text in given:
        clip, _, face_id = text.rpartition(":")
        if not clip or not face_id.isdecimal():
            raise OptionError("is not a face", where="--face", asked=text, found="it takes CLIP:FACE_ID")
        faces.setdefault(clip, set()).add(int(face_id))
    return faces


def _confirm(what: str, root: Path, *, sure: bool) -> None:
    if sure:
        return
    if not sys.stdin.isatty():
        raise OptionError(
            "erasing cannot be undone", where=root, asked=what, remedy="Say --yes to do it without a question."
        )
    print(f"Erase {what} from all results in {root}? This cannot be undone. [y/N] ", end="", flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise OptionError("nothing was erased", where=root)


def _show(what: str, erased: Erased, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(dataclasses.asdict(erased), indent=2))
        return
    print(f"erased {what}:")
    print(
        f"  results of {len(erased.clips)} clips: {erased.faces} rows of faces with their embeddings, {erased.crops} crops"
    )
    print(f"  {erased.people_entries} entries of people.csv; {erased.index_rows} rows of the index")
    if erased.names:
        print(f"  the names {', '.join(erased.names)}; {erased.photos} enrolled photos")
    print("left:")
    print("  the videos and photos themselves")
    if erased.pictures_left:
        print(f"  {erased.pictures_left} pictures of whole frames that show the person, in the .pipeline directories")
    for path in erased.made_before:
        print(f"  {path}, which was made before: make it again, or remove it")
