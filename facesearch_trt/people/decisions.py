"""``ROOT/people.yaml``: what a person decided on who is who. It may be edited by hand; later runs obey it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..errors import OptionError

__all__ = ["DECISIONS_FILE", "Decisions", "Face", "Split", "load_decisions", "save_decisions"]

DECISIONS_FILE = "people.yaml"

Face = tuple[str, int]
"""A clip's name and a face_id in it."""

_HEADER = """\
# Who is who, as decided by a person; `facesearch people` writes it, and it may be edited by hand. Later runs obey it.
#
# merge:  lists of person_ids that are one person; the smallest stays.
# split:  {person: ID, faces: [[CLIP, FACE_ID], ...]}: these are one person, and not that one.
#         into: the person_id that they got; written by the program.
# names:  {ID: name}
# ignore: list of person_ids that are nobody to report.
"""


@dataclass(frozen=True, slots=True)
class Split:
    """Some faces that are one person, and are not ``person``."""

    person: int
    faces: tuple[Face, ...]
    into: int | None = None
    """The id that they got; None until a run gave it."""


@dataclass(slots=True)
class Decisions:
    """The content of ``people.yaml``."""

    merge: list[tuple[int, ...]] = field(default_factory=list)
    split: list[Split] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    ignore: list[int] = field(default_factory=list)

    def people(self) -> set[int]:
        """Return every person_id that is named."""
        found = {person for group in self.merge for person in group} | set(self.names) | set(self.ignore)
        for split in self.split:
            found |= {split.person} | ({split.into} if split.into is not None else set())
        return found

    def check(self, known: Collection[int], path: Path) -> None:
        """Raise OptionError where a person_id is none that was ever given."""
        unknown = sorted(self.people() - set(known))
        if unknown:
            raise OptionError(
                "no such person",
                where=path,
                asked=", ".join(map(str, unknown)),
                found=f"{len(known)} person_ids, up to {max(known)}" if known else "no person yet",
                remedy=f"`facesearch people {path.parent}` lists them; correct the file.",
            )


def load_decisions(root: Path) -> Decisions:
    """Return the decisions of a ROOT; none where there is no file.

    Raises OptionError, naming the file and the place, where it is not of the form that its header describes.
    """
    path = root / DECISIONS_FILE
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Decisions()
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise OptionError("cannot read the decisions", where=path, found=error, remedy="Correct the file.") from error
    reader = _Reader(path)
    parts = reader.mapping(content or {}, "the file", ("merge", "split", "names", "ignore"))
    decisions = Decisions()
    for number, group in enumerate(reader.sequence(parts.get("merge"), "merge"), start=1):
        where = f"merge, entry {number}"
        persons = tuple(reader.whole(person, where) for person in reader.sequence(group, where))
        if len(set(persons)) < 2:
            raise reader.error("names less than two people", where, list(persons), "a list of two person_ids or more")
        decisions.merge.append(persons)
    decisions.split = [
        reader.split(entry, f"split, entry {number}")
        for number, entry in enumerate(reader.sequence(parts.get("split"), "split"), start=1)
    ]
    for person, name in reader.mapping(parts.get("names") or {}, "names", None).items():
        if not isinstance(name, str) or not name.strip() or len(name.splitlines()) != 1:
            raise reader.error("not a name", "names", repr(name), "a text of one line")
        decisions.names[reader.whole(person, "names")] = name.strip()
    decisions.ignore = [reader.whole(person, "ignore") for person in reader.sequence(parts.get("ignore"), "ignore")]
    return decisions


def save_decisions(decisions: Decisions) -> bytes:
    """Return the content of the file."""
    content: dict[str, Any] = {
        "merge": [list(group) for group in decisions.merge],
        "split": [_split(split) for split in decisions.split],
        "names": dict(sorted(decisions.names.items())),
        "ignore": sorted(set(decisions.ignore)),
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    return (_HEADER + "\n" + text).encode("utf-8")


def _split(split: Split) -> dict[str, Any]:
    entry: dict[str, Any] = {"person": split.person, "faces": [list(face) for face in split.faces]}
    return entry if split.into is None else {**entry, "into": split.into}


class _Reader:
    def __init__(self, path: Path) -> None:
        self._path = path

    def error(self, what: str, where: str, asked: object, found: str) -> OptionError:
        return OptionError(what, where=f"{self._path}, {where}", asked=asked, found=f"it takes {found}")

    def mapping(self, value: object, where: str, keys: tuple[str, ...] | None) -> Mapping[Any, Any]:
        if not isinstance(value, dict):
            raise self.error("not a mapping", where, repr(value), "keys with values")
        for key in value:
            if keys is not None and key not in keys:
                raise self.error("unknown key", where, repr(key), ", ".join(keys))
        return value

    def sequence(self, value: object, where: str) -> list[Any]:
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.error("not a list", where, repr(value), "a list")
        return value

    def whole(self, value: object, where: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.error("not an id", where, repr(value), "whole numbers from 0")
        return value

    def split(self, value: object, where: str) -> Split:
        entry = self.mapping(value, where, ("person", "faces", "into"))
        faces: list[Face] = []
        for face in self.sequence(entry.get("faces"), where):
            if not isinstance(face, list) or len(face) != 2 or not isinstance(face[0], (str, int)):
                raise self.error("not a face", where, repr(face), "[CLIP, FACE_ID]")
            faces.append((str(face[0]), self.whole(face[1], where)))
        if not faces:
            raise self.error("no faces", where, repr(entry.get("faces")), "faces: [[CLIP, FACE_ID], ...]")
        into = entry.get("into")
        return Split(
            self.whole(entry.get("person"), where), tuple(faces), None if into is None else self.whole(into, where)
        )
