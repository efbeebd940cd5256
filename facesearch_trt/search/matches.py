"""From rows of the index to what a user asks for: who was seen, in which clip, from when to when, with which
picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Appearance", "Match", "PersonKey", "Picture", "matches_from_rows", "person_key"]

PersonKey = tuple[str, ...]
"""What tells people apart: (root, person_id), or (root, clip, face_id) where nothing is known beyond the clip, or with
the track too."""

JOIN_GAP_S = 1.0
"""Two tracks of one person with no more than this between them are one appearance."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One face, and where to find it."""

    pts_s: float
    frame_num: int
    face_num: int
    box: tuple[float, float, float, float]
    """x1 y1 x2 y2, px of the frame."""
    quality: float
    chip: str
    """File inside the clip's directory; empty where it was not kept."""


@dataclass(frozen=True, slots=True)
class Appearance:
    """A stretch of time in which one person is on screen."""

    start_s: float
    end_s: float
    faces: int
    """How many detections it is made of."""
    track_ids: tuple[int, ...]
    similarity: float | None
    """The best of its rows; None where none of them was asked for or found."""
    evidence: Literal["photo", "person"]
    """``photo``: it resembles the query itself. ``person``: it belongs to a person of the clip who does, or who was
    asked for."""
    picture: Picture
    """The most similar face, or the best one."""


@dataclass(frozen=True, slots=True)
class Match:
    """One person in one clip."""

    root: str
    clip: str
    face_id: int
    person_id: str | None
    name: str | None
    similarity: float | None
    """The best of the appearances."""
    appearances: tuple[Appearance, ...]
    """In order of time."""

    @property
    def best(self) -> Appearance:
        """The most similar appearance; of those that are equal, the one with the best picture."""
        return max(
            self.appearances, key=lambda one: (-2.0 if one.similarity is None else one.similarity, one.picture.quality)
        )


def person_key(row: Mapping[str, Any]) -> PersonKey:
    """Return who a row is of, across clips where that is known."""
    if row["person_id"] is not None:
        return (row["root"], row["person_id"])
    if row["face_id"] >= 0:
        return (row["root"], row["clip"], str(row["face_id"]))
    return (row["root"], row["clip"], "track", str(row["track_id"]))


def matches_from_rows(rows: Iterable[Mapping[str, Any]], *, least: float | None = None) -> list[Match]:
    """Return one match per person and clip: the most similar first, those without similarity in order of clip and time.

    Rows are dicts of the columns of ``rows.COLUMNS``, with ``similarity`` where they were found by it; the same row
    may come twice. ``least`` is the similarity from which an appearance counts as found by the photo.
    """
    people: dict[tuple[str, ...], dict[int, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        key = (row["root"], row["clip"], str(row["face_id"]) if row["face_id"] >= 0 else f"track {row['track_id']}")
        people[key][row["track_id"]].append(row)
    matches = [_match(tracks, least) for tracks in people.values()]
    return sorted(
        matches,
        key=lambda one: (
            -2.0 if one.similarity is None else -one.similarity,
            one.root,
            one.clip,
            one.appearances[0].start_s,
            one.face_id,
        ),
    )


def _match(tracks: Mapping[int, list[Mapping[str, Any]]], least: float | None) -> Match:
    ordered = sorted(tracks.values(), key=lambda rows: (rows[0]["start_s"], rows[0]["track_id"]))
    stretches: list[list[list[Mapping[str, Any]]]] = []
    end_s = float("-inf")
    for rows in ordered:
        if not stretches or rows[0]["start_s"] - end_s > JOIN_GAP_S:
            stretches.append([])
        stretches[-1].append(rows)
        end_s = max(end_s, rows[0]["end_s"])
    appearances = tuple(_appearance(stretch, least) for stretch in stretches)
    similarities = [one.similarity for one in appearances if one.similarity is not None]
    first = ordered[0][0]
    return Match(
        first["root"],
        first["clip"],
        first["face_id"],
        first["person_id"],
        first["name"],
        max(similarities) if similarities else None,
        appearances,
    )


def _appearance(tracks: list[list[Mapping[str, Any]]], least: float | None) -> Appearance:
    rows = [row for track in tracks for row in track]
    found = [row for row in rows if row.get("similarity") is not None]
    best = max(found, key=lambda row: row["similarity"]) if found else max(rows, key=lambda row: row["quality"])
    similarity = best.get("similarity")
    return Appearance(
        start_s=min(row["start_s"] for row in rows),
        end_s=max(row["end_s"] for row in rows),
        faces=sum(track[0]["faces"] for track in tracks),
        track_ids=tuple(track[0]["track_id"] for track in tracks),
        similarity=similarity,
        evidence="photo" if similarity is not None and (least is None or similarity >= least) else "person",
        picture=Picture(
            best["pts_s"],
            best["frame_num"],
            best["face_num"],
            (best["x1"], best["y1"], best["x2"], best["y2"]),
            best["quality"],
            best["chip"] or "",
        ),
    )
