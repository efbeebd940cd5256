"""``ROOT/report.html``: one file that shows a ROOT to whoever opens it, without a network and without this program."""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import cv2
from markupsafe import Markup

from .. import __version__
from ..people.files import locked, write_whole
from ..types import Array
from .library import Library
from .rendering import STATIC, environment
from .together import seconds_together
from .views import ClipView, PersonView, Seen, Snapshot, shown

__all__ = ["REPORT_FILE", "WrittenReport", "write_report"]

REPORT_FILE = "report.html"

MOST_PEOPLE = 1000
"""On the wall; a picture takes about 4 kB of the file."""
MOST_CLIPS = 1000
"""With their timelines, which take some 16 kB of the file."""
_MOST_PROBLEMS = 1000
"""Clips in the list of problems."""
_MOST_ROWS = 40
"""People in a clip's timeline."""
_MOST_MOMENTS = 12
"""Appearances that a person's entry lists."""
_MOST_PAIRS = 60
_SIDE_PX, _JPEG_QUALITY = 96, 72


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """What was written."""

    path: Path
    people: int
    clips: int
    bytes: int


def write_report(root: Path) -> WrittenReport:
    """Write a ROOT's report from the results that are there. Raises StoreError, TableError."""
    snapshot = Library(root).snapshot()
    content = _rendered(root, snapshot).encode("utf-8", "backslashreplace")
    path = root / REPORT_FILE
    with locked(root):
        write_whole(path, content)
    return WrittenReport(path, len(snapshot.reported), len(snapshot.clips), len(content))


@dataclass(frozen=True, slots=True)
class _ClipPart:
    clip: ClipView
    link: str | None
    """Of its video, relative to the report."""
    rows: list[tuple[PersonView, Seen]]
    more: int


def _rendered(root: Path, snapshot: Snapshot) -> str:
    people = snapshot.reported[:MOST_PEOPLE]
    place = {person.key: number for number, person in enumerate(people)}
    faces = [f".f{number}{{background-image:url({uri})}}" for number, one in enumerate(people) if (uri := _face(one))]
    pairs = seconds_together(snapshot.clips, snapshot)
    problems = [clip for clip in snapshot.clips if _has_problem(clip)]
    longest = sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))
    style = "\n".join([_static("base.css"), _static("report.css"), *faces])
    script = "\n".join([_static("report.js"), _static("arrows.js")])
    return (
        environment()
        .get_template("report.html")
        .render(
            title=shown(root.resolve().name or str(root)),
            made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
            version=__version__,
            # Both are this program's own text, but for base64; their hashes are all that the page allows.
            style=Markup(style),
            style_hash=_sha256(style),
            script=Markup(script),
            script_hash=_sha256(script),
            people=people,
            total=len(snapshot.reported),
            place=place,
            has_face={number for number, one in enumerate(people) if one.best.best.picture.chip},
            clips=[_clip_part(clip, snapshot) for clip in snapshot.clips[:MOST_CLIPS]],
            total_clips=len(snapshot.clips),
            seconds=sum(clip.seconds for clip in snapshot.clips),
            faces=sum(clip.record.counts.faces for clip in snapshot.clips if clip.record is not None),
            pairs=[
                (snapshot.person_of[one], snapshot.person_of[two], spent) for (one, two), spent in longest[:_MOST_PAIRS]
            ],
            more_pairs=max(0, len(longest) - _MOST_PAIRS),
            problems=problems[:_MOST_PROBLEMS],
            total_problems=len(problems),
            moments=_MOST_MOMENTS,
            link=_link,
        )
    )


def _clip_part(clip: ClipView, snapshot: Snapshot) -> _ClipPart:
    rows = [(snapshot.who[clip.id, match.face_id], Seen(clip, match)) for match in clip.matches]
    rows = sorted((row for row in rows if not row[0].ignored), key=lambda row: -row[1].seconds)
    return _ClipPart(clip, _link(clip), rows[:_MOST_ROWS], max(0, len(rows) - _MOST_ROWS))


def _has_problem(clip: ClipView) -> bool:
    record = clip.record
    return clip.problem is not None or (record is not None and (record.damage is not None or bool(record.warnings)))


def _link(clip: ClipView) -> str | None:
    """Return the address of a clip's video from the report beside it."""
    if not clip.is_video or clip.source is None or clip.source.source is None:
        return None
    # A name with a colon would be taken for a scheme.
    return "./" + quote(os.fsencode(clip.source.source.name))


def _face(person: PersonView) -> str | None:
    seen = person.best
    picture = seen.best.picture
    if not picture.chip:
        return None
    image: Array | None = cv2.imread(str(seen.clip.directory / picture.chip))
    if image is None:
        return None
    image = cv2.resize(image, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    return "data:image/jpeg;base64," + base64.b64encode(coded.tobytes()).decode("ascii")


def _static(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


def _sha256(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
