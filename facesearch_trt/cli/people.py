"""``facesearch people``: who is who over all clips of a ROOT, and corrections by hand."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from ..clip_people import finished_clips
from ..decisions import DECISIONS_FILE, Decisions, Split, load_decisions, save_decisions
from ..errors import InputError, OptionError
from ..gallery import enrol
from ..people import PeopleSummary, known_people, resolve, seen_together, update_people
from ..people_files import locked, read_names, read_people_table, read_state, write_whole
from ..store.clip import ClipStore
from ..wiring import Tools
from .flags import add_option_flags, options_from

__all__ = ["people_line", "register"]

_ACTIONS = ("merge", "split", "name", "ignore")
_FOREIGN = frozenset({"every", "frames", "png_compression", "stall_timeout_s", "graph", "deepsort", "force"})

_HELP = """\
facesearch people ROOT                               bring people.csv up to date and list everybody
facesearch people merge ROOT ID ID [ID ...]          these are one person; the smallest id stays
facesearch people split ROOT ID CLIP:FACE_ID [...]   these faces are one person, and not ID
facesearch people name ROOT ID NAME                  call a person so; an empty NAME takes the name away
facesearch people ignore ROOT ID [ID ...]            leave these out of lists and of names

Corrections are kept in ROOT/people.yaml, which may be edited by hand, and later runs obey them."""


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "people",
        help="list who is who over all clips, and correct it by hand",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("arguments", nargs="+", metavar="[merge|split|name|ignore] ROOT ...")
    parser.add_argument(
        "--gallery",
        type=Path,
        metavar="DIR",
        help="directory with a sub-directory of photos per known person, who are named",
    )
    parser.add_argument("--all", action="store_true", help="list ignored people too")
    parser.add_argument("--json", action="store_true", help="print the list as JSON")
    add_option_flags(parser, leave_out=_FOREIGN)
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
        if action is not None:
            with locked(root):
                decisions = load_decisions(root)
                {"merge": _merge, "split": _split, "name": _name, "ignore": _ignore}[action](root, decisions, arguments)
                decisions.check(known_people(root), root / DECISIONS_FILE)
                write_whole(root / DECISIONS_FILE, save_decisions(decisions))
        similarity, strict = _similarities(root, tools)
        summary = update_people(root, similarity, strict, None)
    if action is None or args.json:
        _list(root, show_all=args.all, as_json=args.json)
    if not args.json:
        print(people_line(summary))
    for clip, reason in summary.failed:
        print(f"  {clip}: FAILED: {reason}")
    return int(bool(summary.failed))


def _similarities(root: Path, tools: Tools) -> tuple[float, float]:
    """Return the thresholds: of the options where these say something of them, else those that were used last."""
    options = tools.options
    if options.embedder or options.models_file or options.similarity_threshold is not None:
        return tools.similarities
    state = read_state(root, head=True)
    if state is not None:
        return state.similarities
    for directory in finished_clips(root).values():
        record = ClipStore(directory).record()
        model = None if record is None else record.models.get("embedder")
        if model is not None and model.name in tools.catalogue.models:
            entry = tools.catalogue.embedder(model.name)
            return entry.similarity, entry.similarity_strict
    return tools.similarities


def _id(root: Path, text: str) -> int:
    known = known_people(root)
    if not text.isdecimal() or int(text) not in known:
        found = f"{len(set(read_people_table(root).values()))} people; `facesearch people {root}` lists them"
        raise OptionError("no such person", where=root, asked=text, found=found)
    return resolve(root, int(text))


def _merge(root: Path, decisions: Decisions, arguments: list[str]) -> None:
    people = tuple(dict.fromkeys(_id(root, text) for text in arguments))
    if len(people) < 2:
        raise OptionError("merging takes two people or more", asked=" ".join(arguments) or "none")
    for one, other, clip in seen_together(root, people):
        raise OptionError(
            "these were seen together, so they are two people",
            where=root,
            asked=f"{one} and {other}",
            found=f"both in one frame of {clip}",
            remedy=f"Split the wrong one off first: facesearch people split {root} ID {clip}:FACE_ID",
        )
    # What was said before of these and is now unsaid.
    decisions.split = [entry for entry in decisions.split if not {entry.person, entry.into} <= set(people)]
    decisions.merge.append(people)


def _split(root: Path, decisions: Decisions, arguments: list[str]) -> None:
    if len(arguments) < 2:
        raise OptionError(
            "splitting takes a person and faces", asked=" ".join(arguments) or "none", found="ID CLIP:FACE_ID ..."
        )
    person, table = _id(root, arguments[0]), read_people_table(root)
    faces = []
    for text in arguments[1:]:
        clip, _, face_id = text.rpartition(":")
        if not face_id.isdecimal() or table.get((clip, int(face_id))) != person:
            theirs = ", ".join(f"{c}:{f}" for (c, f), who in sorted(table.items()) if who == person)
            raise OptionError(f"no face of person {person}", where=root, asked=text, found=theirs or "none")
        faces.append((clip, int(face_id)))
    if len(set(faces)) == sum(who == person for who in table.values()):
        raise OptionError(f"these are all faces of person {person}", where=root, remedy="Leave some, or use merge.")
    decisions.split.append(Split(person, tuple(dict.fromkeys(faces))))


def _name(root: Path, decisions: Decisions, arguments: list[str]) -> None:
    if len(arguments) != 2 or len(arguments[1].splitlines()) > 1:
        raise OptionError("naming takes a person and one name", asked=" ".join(arguments) or "none", found="ID NAME")
    person = _id(root, arguments[0])
    decisions.names.pop(person, None)
    if arguments[1].strip():
        decisions.names[person] = arguments[1].strip()


def _ignore(root: Path, decisions: Decisions, arguments: list[str]) -> None:
    if not arguments:
        raise OptionError("ignoring takes people", found="ID [ID ...]")
    decisions.ignore = sorted({*decisions.ignore, *(_id(root, text) for text in arguments)})


def _list(root: Path, *, show_all: bool, as_json: bool) -> None:
    names = {name.person_id: name for name in read_names(root)}
    ignored = {resolve(root, person) for person in load_decisions(root).ignore}
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
        clips = list(dict.fromkeys(f"{clip}:{face_id}" for clip, face_id in faces[person]))
        more = f" … {len(clips) - 6} more" if len(clips) > 6 else ""
        name = f" {names[person].name}" if person in names else ""
        print(f"{person:>6}{name}  {' '.join(clips[:6])}{more}{'  (ignored)' if person in ignored else ''}")
