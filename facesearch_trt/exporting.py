"""Results in the forms of other programs: tables as Parquet and JSON, who is on screen as subtitles and edit lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import InputError, StoreError, TableError
from .indexing import People, root_name
from .people.clips import OUTPUT_SUFFIX, finished_clips
from .people.tracks import Track, load_tracks
from .search.matches import Match, matches_from_rows
from .search.subtitles import OnScreen
from .search.tabular import ColumnType
from .store.clip import ClipStore
from .store.schema import FACES_IDENTIFIED, FRAMES, QUALITY, SHOTS, Table
from .store.tables import read_rows

__all__ = ["TABLES", "ClipExport", "Export", "called", "clips_to_export", "track_row"]

_WHO: dict[str, ColumnType] = {"person_id": "int64", "name": "str"}


def _columns(*tables: Table) -> dict[str, ColumnType]:
    return {column.name: column.dtype for table in tables for column in table.columns}


@dataclass(frozen=True, slots=True)
class Export:
    """One table over all clips."""

    columns: Mapping[str, ColumnType]
    rows: Callable[[Sequence[ClipExport]], Iterator[Sequence[Any]]]


@dataclass(frozen=True, slots=True)
class ClipExport:
    """A clip whose steps are complete, as it is exported."""

    name: str
    root: str
    store: ClipStore
    people: People

    def tracks(self) -> list[Track]:
        """Return its tracks, but for those of people whom a user ignores. Raises StoreError, TableError."""
        found = load_tracks(self.store, best_faces=1, with_embeddings=False).tracks
        return [track for track in found if not self.ignored(track.face_id)]

    def matches(self) -> list[Match]:
        """Return its people and when they are on screen, in order of first appearance."""
        rows = [track_row(self.root, self.name, track, *self.who(track.face_id)) for track in self.tracks()]
        return sorted(matches_from_rows(rows), key=lambda match: (match.appearances[0].start_s, match.face_id))

    def on_screen(self) -> list[OnScreen]:
        """Return who is on screen when, under the names that a user knows."""
        return [
            OnScreen(called(match.name, match.person_id, match.face_id), one.start_s, one.end_s)
            for match in self.matches()
            for one in match.appearances
        ]

    def fps(self) -> float:
        """Return its mean frames per second; 25 where it has less than two frames, or no time passes."""
        first = last = None
        for frame_num, pts_s, *_ in read_rows(self.store.directory / FRAMES.file, FRAMES):
            first = first or (frame_num, pts_s)
            last = (frame_num, pts_s)
        if first is None or last is None or last[1] <= first[1]:
            return 25.0
        return float((last[0] - first[0]) / (last[1] - first[1]))

    def video(self) -> str:
        """Return the file name of the video or image folder."""
        record = self.store.record()
        return self.name if record is None or record.source is None else Path(record.source.path).name

    def who(self, face_id: int) -> tuple[int | None, str | None]:
        """Return the person_id and the name of a person of the clip."""
        person = self.people.get(self.name, {}).get(face_id)
        return (None, None) if person is None else (int(person.person_id), person.name)

    def ignored(self, face_id: int) -> bool:
        """Return whether a person of the clip is one whom a user ignores."""
        person = self.people.get(self.name, {}).get(face_id)
        return person is not None and person.ignored


def clips_to_export(root: Path, people: People, names: Sequence[str] = ()) -> list[ClipExport]:
    """Return the finished clips of a ROOT, or those of the given names.

    Raises InputError where there is none, or none of a name.
    """
    if not root.is_dir():
        raise InputError("is not a directory", where=root, remedy="Give a ROOT whose clips were processed.")
    found = finished_clips(root)
    for name in names:
        if name not in found:
            raise InputError(
                "has no finished clip of this name", where=root, asked=name, found=", ".join(found) or "none"
            )
    if not found:
        raise InputError(
            "holds no finished clip",
            where=root,
            remedy=f"Process its clips first: run_pipeline.py --input_directory {root}",
        )
    return [
        ClipExport(name, root_name(root), ClipStore(directory), people)
        for name, directory in found.items()
        if not names or name in names
    ]


def track_row(root: str, clip: str, track: Track, person_id: int | None, name: str | None) -> dict[str, Any]:
    """Return a track as a row of ``search.rows.COLUMNS``, without having been in any index."""
    best = track.best[0]
    return {
        "root": root,
        "clip": clip,
        "track_id": track.track_id,
        "face_id": track.face_id,
        "person_id": None if person_id is None else str(person_id),
        "name": name,
        "start_s": track.start_s,
        "end_s": track.end_s,
        "faces": track.count,
        "pts_s": best.pts_s,
        "frame_num": best.frame_num,
        "face_num": best.face_num,
        **dict(zip(("x1", "y1", "x2", "y2"), best.box.tolist(), strict=True)),
        "quality": best.quality,
        "chip": best.chip,
    }


def called(name: str | None, person_id: int | str | None, face_id: int, *, number: bool = False) -> str:
    """Return what a person is called: the name, with ``number`` the person's number too, else that number, else the one in the clip."""
    if person_id is None:
        return name or f"face {face_id}"
    if not name:
        return f"person {person_id}"
    return f"{name} (person {person_id})" if number else name


def _clips(clips: Sequence[ClipExport]) -> Iterator[Sequence[Any]]:
    for clip in clips:
        record = clip.store.record()
        if record is None:
            raise StoreError(
                "its run.json is gone", where=clip.store.directory, remedy="Run run_pipeline.py on this clip."
            )
        counts = record.counts
        models = [record.models[role].name if role in record.models else None for role in ("detector", "embedder")]
        yield (
            clip.name,
            clip.video(),
            counts.frames,
            counts.faces,
            counts.tracks,
            counts.people,
            *models,
            record.backend,
            record.graph,
            record.version,
            record.damage,
        )


def _plain(table: Table) -> Callable[[Sequence[ClipExport]], Iterator[Sequence[Any]]]:
    def rows(clips: Sequence[ClipExport]) -> Iterator[Sequence[Any]]:
        for clip in clips:
            for row in read_rows(clip.store.directory / table.file, table):
                yield (clip.name, *row)

    return rows


def _faces(clips: Sequence[ClipExport]) -> Iterator[Sequence[Any]]:
    face_id = FACES_IDENTIFIED.names.index("face_id")
    for clip in clips:
        directory = clip.store.directory
        faces = read_rows(directory / FACES_IDENTIFIED.file, FACES_IDENTIFIED)
        quality = read_rows(directory / QUALITY.file, QUALITY)
        try:
            for face, values in zip(faces, quality, strict=True):
                yield (clip.name, *face, *values[1:], *clip.who(face[face_id]))
        except ValueError as error:
            raise TableError(
                "faces.csv and quality.csv are of different lengths",
                where=directory,
                remedy="Run frames_to_faces.py with --force on this clip.",
            ) from error


def _tracks(clips: Sequence[ClipExport]) -> Iterator[Sequence[Any]]:
    for clip in clips:
        for track in clip.tracks():
            yield (
                clip.name,
                track.track_id,
                track.face_id,
                *clip.who(track.face_id),
                track.start_s,
                track.end_s,
                track.first_frame_num,
                track.last_frame_num,
                track.count,
                track.best[0].face_num,
                track.best[0].quality,
            )


def _appearances(clips: Sequence[ClipExport]) -> Iterator[Sequence[Any]]:
    for clip in clips:
        for match in clip.matches():
            for one in match.appearances:
                picture = one.picture
                yield (
                    clip.name,
                    match.face_id,
                    *clip.who(match.face_id),
                    one.start_s,
                    one.end_s,
                    one.end_s - one.start_s,
                    one.faces,
                    picture.pts_s,
                    picture.frame_num,
                    picture.face_num,
                    *picture.box,
                    picture.quality,
                    f"{clip.name}{OUTPUT_SUFFIX}/{picture.chip}" if picture.chip else None,
                )


_CLIP: dict[str, ColumnType] = {"clip": "str"}

TABLES: dict[str, Export] = {
    "clips": Export(
        {
            **_CLIP,
            "source": "str",
            "frames": "int64",
            "faces": "int64",
            "tracks": "int64",
            "people": "int64",
            "detector": "str",
            "embedder": "str",
            "backend": "str",
            "graph": "str",
            "version": "str",
            "damage": "str",
        },
        _clips,
    ),
    "frames": Export({**_CLIP, **_columns(FRAMES)}, _plain(FRAMES)),
    "shots": Export({**_CLIP, **_columns(SHOTS)}, _plain(SHOTS)),
    "faces": Export({**_CLIP, **_columns(FACES_IDENTIFIED, QUALITY), **_WHO}, _faces),
    "tracks": Export(
        {
            **_CLIP,
            "track_id": "int64",
            "face_id": "int64",
            **_WHO,
            "start_s": "float64",
            "end_s": "float64",
            "first_frame_num": "int64",
            "last_frame_num": "int64",
            "faces": "int64",
            "best_face_num": "int64",
            "best_quality": "float32",
        },
        _tracks,
    ),
    "appearances": Export(
        {
            **_CLIP,
            "face_id": "int64",
            **_WHO,
            "start_s": "float64",
            "end_s": "float64",
            "seconds": "float64",
            "faces": "int64",
            "picture_s": "float64",
            "frame_num": "int64",
            "face_num": "int64",
            **dict.fromkeys(("x1", "y1", "x2", "y2"), "float32"),
            "quality": "float32",
            "chip": "str",
        },
        _appearances,
    ),
}
"""Every table that is exported. ``faces`` is faces.csv with quality.csv and who it is; ``appearances`` has a row for each
stretch of time in which a person is on screen, with its best picture."""
