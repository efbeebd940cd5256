"""``facesearch people``: who is who over all clips of a ROOT, and corrections by hand."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from ..errors import InputError, OptionError
from ..people.corrections import (
    ignore_people,
    merge_people,
    name_person,
    notice_people,
    person_number,
    split_person,
    undo_correction,
)
from ..people.decided import ignored_people
from ..people.files import read_names, read_people_table
from ..people.gallery import enrol
from ..people.thresholds import similarities_of
from ..people.update import PeopleSummary, update_people
from ..wiring import Tools
from .flags import PHOTO_OPTIONS, add_option_flags, options_from
from .text import safe

__all__ = ["people_line", "register"]

_ACTIONS = ("merge", "split", "name", "ignore", "notice", "undo")
_OPTIONS = PHOTO_OPTIONS | {"similarity_threshold"}
_HELP = """\
facesearch people ROOT                               bring people.csv up to date and list everybody
facesearch people merge ROOT ID ID [ID ...]          these are one person; the smallest id stays
facesearch people split ROOT ID CLIP:FACE_ID [...]   these faces are one person, and not ID
facesearch people name ROOT ID NAME                  call a person so; an empty NAME takes the name away
facesearch people ignore ROOT ID [ID ...]            leave these out of lists and of names
facesearch people notice ROOT ID [ID ...]            no longer ignore these
facesearch people undo ROOT                          take the last correction back

Corrections are kept in ROOT/people.yaml, which may be edited by hand, and later runs obey them."""


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "people",
        help="list who is who over all clips, and correct it by hand",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("arguments", nargs="+", metavar="[merge|split|name|ignore|notice|undo] ROOT ...")
    parser.add_argument(
        "--gallery",
        type=Path,
        metavar="DIR",
        help="directory with a sub-directory of photos per known person, who are named",
    )
    parser.add_argument("--all", action="store_true", help="list ignored people too")
    parser.add_argument("--json", action="store_true", help="print the list as JSON")
    add_option_flags(parser, only=_OPTIONS)
    parser.set_defaults(call=_people)


def people_line(summary: PeopleSummary) -> str:
    """Return one line on an update."""
    line = f"{summary.people} people in {summary.clips} clips"
    if summary.named:
        line += f", {summary.named} of them by name"
    if not summary.changed:
        line += "; nothing changed"
    merged = sum(change.event == "merged" for change in summary.changes)
    split = sum(change.event == "split" for change in summary.changes)
    for count, what in ((merged, "merged"), (split, "split")):
        if count:
            line += f"; {count} {what}, see people_log.csv"
    return line


def _people(args: argparse.Namespace) -> int:
    action, arguments = None, list(args.arguments)
    # A ROOT may have the name of an action only where a path says so: ./merge.
    if arguments[0] in _ACTIONS:
        action = arguments.pop(0)
    if not arguments:
        raise OptionError("no ROOT", where=f"people {action}", remedy=f"Use: facesearch people {action} ROOT ...")
    root = Path(arguments.pop(0))
    if not root.is_dir():
        raise InputError("is not a directory", where=root, remedy="Give the directory that was processed.")
    if action is None and arguments:
        raise OptionError("unknown action", asked=str(root), found=", ".join(_ACTIONS))
    with Tools(options_from(args)) as tools:
        if args.gallery is not None:
            enrol(args.gallery, tools, root)
        similarities = similarities_of(root, tools)
        if action is not None:
            summary = _correct(action, root, arguments, similarities)
        else:
            summary = update_people(root, *similarities, None)
    if action is None or args.json:
        _list(root, show_all=args.all, as_json=args.json)
    if not args.json:
        print(people_line(summary))
    for clip, reason in summary.failed:
        print(safe(f"  {clip}: FAILED: {reason}"))
    return int(bool(summary.failed))


def _correct(action: str, root: Path, arguments: list[str], similarities: tuple[float, float]) -> PeopleSummary:
    if action == "merge":
        return merge_people(root, _people_of(root, arguments), similarities)
    if action == "split":
        if len(arguments) < 2:
            raise OptionError(
                "splitting takes a person and faces", asked=" ".join(arguments) or "none", found="ID CLIP:FACE_ID ..."
            )
        person, faces = person_number(root, arguments[0]), [_face(root, text) for text in arguments[1:]]
        return split_person(root, person, faces, similarities)
    if action == "name":
        if len(arguments) != 2:
            raise OptionError(
                "naming takes a person and one name", asked=" ".join(arguments) or "none", found="ID NAME"
            )
        return name_person(root, person_number(root, arguments[0]), arguments[1], similarities)
    if action == "ignore":
        return ignore_people(root, _people_of(root, arguments), similarities)
    if action == "notice":
        return notice_people(root, _people_of(root, arguments), similarities)
    if arguments:
        raise OptionError("undo takes nothing but ROOT", asked=" ".join(arguments))
    undone, summary = undo_correction(root, similarities)
    print(f"taken back: {undone.what}")
    return summary


def _people_of(root: Path, arguments: list[str]) -> list[int]:
    return [person_number(root, text) for text in arguments]


def _face(root: Path, text: str) -> tuple[str, int]:
    clip, _, face_id = text.rpartition(":")
    if not face_id.isdecimal():
        raise OptionError("not a face", where=root, asked=text, found="it takes CLIP:FACE_ID")
    return clip, int(face_id)


def _list(root: Path, *, show_all: bool, as_json: bool) -> None:
    names = {name.person_id: name for name in read_names(root)}
    ignored = ignored_people(root)
    faces: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for face, person in read_people_table(root).items():
        if show_all or person not in ignored:
            faces[person].append(face)
    order = sorted(faces, key=lambda person: (-len({clip for clip, _ in faces[person]}), person))
    if as_json:
        rows = [
            {
                "person_id": person,
                "name": names[person].name if person in names else None,
                "name_similarity": names[person].similarity if person in names else None,
                "ignored": person in ignored,
                "faces": [{"clip": clip, "face_id": face_id} for clip, face_id in faces[person]],
            }
            for person in order
        ]
        print(json.dumps(rows, indent=2))
        return
    for person in order:
        clips = list(dict.fromkeys(f"{safe(clip)}:{face_id}" for clip, face_id in faces[person]))
        more = f" … {len(clips) - 6} more" if len(clips) > 6 else ""
        name = f" {safe(names[person].name)}" if person in names else ""
        print(f"{person:>6}{name}  {' '.join(clips[:6])}{more}{'  (ignored)' if person in ignored else ''}")
