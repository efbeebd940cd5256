"""Corrections of who is who by hand: merge, split, name, ignore, and the way back.

Each is a change of ``people.yaml`` after which all people are decided anew. What is needed to take the last ones back is
kept in ``ROOT/.people_undo.json``: ids and names, no vectors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from ..errors import FaceSearchError, OptionError
from .clips import clip_fingerprint, finished_clips
from .decided import followed
from .decisions import DECISIONS_FILE, Decisions, Face, Split, load_decisions, save_decisions
from .files import locked, read_people_table, read_state, write_state, write_whole
from .log import forget_log, merged_into, read_log
from .rows import seen_together
from .thresholds import Similarities
from .update import PeopleSummary, known_people, resolve, update_people

__all__ = [
    "UNDO_FILE",
    "Undoable",
    "forget_undo",
    "ignore_people",
    "last_correction",
    "merge_people",
    "name_person",
    "notice_people",
    "person_number",
    "split_person",
    "undo_correction",
]

UNDO_FILE = ".people_undo.json"
_KEPT = 20
"""Corrections that can be taken back, one after the other."""


@dataclass(frozen=True, slots=True)
class Undoable:
    """A correction that was made, and what was before it."""

    at: str
    """When, UTC, ISO 8601."""
    what: str
    """In words: ``merged 3 into 1``."""
    before: str
    """Text of people.yaml before it; empty where there was none."""
    after: str
    """sha256 of people.yaml after it: with another one it cannot be taken back any more."""
    log_rows: int
    """Rows of people_log.csv before it."""
    people: dict[str, list[list[str | int]]]
    """person_id → [clip, face_id] of its faces before it."""
    clips: dict[str, str]
    """Clip → fingerprint, of the clips in ``people``."""


def person_number(root: Path, text: str) -> int:
    """Return the person_id that a text stands for, as it is now. Raises OptionError where there is no such person."""
    known = known_people(root)
    if not (text.isascii() and text.isdecimal()) or int(text) not in known:
        found = f"{len(set(read_people_table(root).values()))} people; `facesearch people {root}` lists them"
        raise OptionError("no such person", where=root, asked=text, found=found)
    return resolve(root, int(text))


def merge_people(root: Path, people: Sequence[int], similarities: Similarities) -> PeopleSummary:
    """Decide that some people are one; the smallest id stays.

    Raises OptionError for less than two, for an unknown one, and where two of them were seen in one frame.
    """
    people = tuple(dict.fromkeys(person_number(root, str(person)) for person in people))
    if len(people) < 2:
        raise OptionError("merging takes two people or more", asked=" ".join(map(str, people)) or "none")
    for one, other, clip in seen_together(root, people):
        raise OptionError(
            "these were seen together, so they are two people",
            where=root,
            asked=f"{one} and {other}",
            found=f"both in one frame of {clip}",
            remedy=f"Split the wrong one off first: facesearch people split {root} ID {clip}:FACE_ID",
        )

    def change(decisions: Decisions) -> None:
        # What was said before of these and is now unsaid.
        decisions.split = [entry for entry in decisions.split if not {entry.person, entry.into} <= set(people)]
        decisions.merge.append(tuple(people))

    first, *others = sorted(people)
    return _correct(root, change, similarities, people, f"merged {', '.join(map(str, others))} into {first}")


def split_person(root: Path, person: int, faces: Iterable[Face], similarities: Similarities) -> PeopleSummary:
    """Decide that some faces of a person, as (clip, face_id), are one other person.

    Raises OptionError for a face that is not the person's, for none, and for all of them.
    """
    person, table, faces = person_number(root, str(person)), read_people_table(root), tuple(dict.fromkeys(faces))
    for clip, face_id in faces:
        if table.get((clip, face_id)) != person:
            theirs = ", ".join(f"{c}:{f}" for (c, f), who in sorted(table.items()) if who == person)
            raise OptionError(
                f"no face of person {person}", where=root, asked=f"{clip}:{face_id}", found=theirs or "none"
            )
    if not faces:
        raise OptionError("splitting takes a person and faces", asked="none", found="ID CLIP:FACE_ID ...")
    if len(faces) == sum(who == person for who in table.values()):
        raise OptionError(f"these are all faces of person {person}", where=root, remedy="Leave some, or use merge.")

    def change(decisions: Decisions) -> None:
        decisions.split.append(Split(person, faces))

    count = f"{len(faces)} face_id{'s' * (len(faces) > 1)}"
    return _correct(root, change, similarities, [person], f"split {count} off {person}")


def name_person(root: Path, person: int, name: str, similarities: Similarities) -> PeopleSummary:
    """Call a person so; an empty name takes the name away. Raises OptionError for a name of several lines."""
    person, name = person_number(root, str(person)), name.strip()
    if len(name.splitlines()) > 1 or not name.replace(" ", "x").isprintable():
        raise OptionError("not a name", asked=repr(name), found="it takes a text of one line")

    into = merged_into(root)

    def change(decisions: Decisions) -> None:
        # Also under the ids of people who are this person by now.
        decisions.names = {one: given for one, given in decisions.names.items() if followed(one, into) != person}
        if name:
            decisions.names[person] = name

    return _correct(root, change, similarities, [person], f"named {person} {name}" if name else f"unnamed {person}")


def ignore_people(root: Path, people: Sequence[int], similarities: Similarities) -> PeopleSummary:
    """Leave some people out of lists, of names and of the index."""
    people = [person_number(root, str(person)) for person in people]
    if not people:
        raise OptionError("ignoring takes people", found="ID [ID ...]")

    def change(decisions: Decisions) -> None:
        decisions.ignore = sorted({*decisions.ignore, *people})

    return _correct(root, change, similarities, people, f"ignored {', '.join(map(str, people))}")


def notice_people(root: Path, people: Sequence[int], similarities: Similarities) -> PeopleSummary:
    """Take some people back who were ignored."""
    people = [person_number(root, str(person)) for person in people]

    into = merged_into(root)

    def change(decisions: Decisions) -> None:
        decisions.ignore = [one for one in decisions.ignore if followed(one, into) not in people]

    return _correct(root, change, similarities, people, f"no longer ignored {', '.join(map(str, people))}")


def last_correction(root: Path) -> Undoable | None:
    """Return the correction that :func:`undo_correction` takes back; None where there is none."""
    entries = _read(root)
    return entries[-1] if entries and entries[-1].after == _sha256(root) else None


def undo_correction(root: Path, similarities: Similarities) -> tuple[Undoable, PeopleSummary]:
    """Take the last correction back: people.yaml is as before, and its people have their former ids.

    May be called again if it was killed. Raises OptionError where nothing can be taken back.
    """
    with locked(root):
        entry = last_correction(root)
        if entry is None:
            raise OptionError(
                "nothing can be taken back", where=root, found="people.yaml was changed since, or nothing was corrected"
            )
        _give_ids_back(root, entry)
        touched = {int(person) for person in entry.people}
        forget_log(root, entry.log_rows, touched)
        path = root / DECISIONS_FILE
        if entry.before:
            write_whole(path, entry.before.encode())
        else:
            path.unlink(missing_ok=True)
        _write(root, _read(root)[:-1])
    return entry, update_people(root, *similarities, force=True)


def forget_undo(root: Path) -> None:
    """Remove what is kept for taking corrections back, as erasing a person does."""
    (root / UNDO_FILE).unlink(missing_ok=True)


def _correct(
    root: Path, change: Callable[[Decisions], None], similarities: Similarities, people: Iterable[int], what: str
) -> PeopleSummary:
    path = root / DECISIONS_FILE
    with locked(root):
        before = path.read_bytes() if path.is_file() else b""
        faces, log_rows = _faces_of(root, set(people)), len(read_log(root))
        decisions = load_decisions(root)
        change(decisions)
        decisions.check(known_people(root), path)
        write_whole(path, save_decisions(decisions))
    try:
        summary = update_people(root, *similarities)
    except FaceSearchError:
        # A decision that cannot be obeyed would stop every later run, too.
        with locked(root):
            write_whole(path, before) if before else path.unlink(missing_ok=True)
        raise
    directories = finished_clips(root)
    clips = {clip for entries in faces.values() for clip, _ in entries}
    with locked(root):
        entry = Undoable(
            datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            what,
            before.decode(),
            _sha256(root),
            log_rows,
            {str(person): [list(face) for face in entries] for person, entries in faces.items()},
            {str(clip): clip_fingerprint(directories[clip]) for clip in clips if clip in directories},
        )
        _write(root, [*_read(root), entry][-_KEPT:])
    return summary


def _faces_of(root: Path, people: set[int]) -> dict[int, list[Face]]:
    found: dict[int, list[Face]] = {person: [] for person in people}
    for face, person in read_people_table(root).items():
        if person in people:
            found[person].append(face)
    return found


def _give_ids_back(root: Path, entry: Undoable) -> None:
    """Let the program remember that the faces have the ids that they had; clips that were redone since are left out."""
    state = read_state(root)
    if state is None:
        return
    former = {(face[0], face[1]): int(person) for person, faces in entry.people.items() for face in faces}
    row = 0
    for clip in state.clips:
        same = entry.clips.get(clip.clip) == clip.fingerprint
        for face_id in clip.face_ids.tolist():
            if same and (clip.clip, face_id) in former:
                state.person_ids[row] = former[clip.clip, face_id]
            row += 1
    write_state(root, state)


def _sha256(root: Path) -> str:
    path = root / DECISIONS_FILE
    return hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest()


def _read(root: Path) -> list[Undoable]:
    try:
        return [Undoable(**entry) for entry in json.loads((root / UNDO_FILE).read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        # Without it nothing can be taken back, and nothing else is lost.
        return []


def _write(root: Path, entries: list[Undoable]) -> None:
    # Escaped, because names of clips need not be valid text.
    write_whole(root / UNDO_FILE, json.dumps([asdict(entry) for entry in entries]).encode("ascii"))
