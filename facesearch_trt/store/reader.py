"""What was written, as frames again: streamed in order, with every cell checked."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StoreError, TableError
from ..lookahead import ordered_map
from ..types import Array, FaceBatch, Frame
from . import schema
from .png import read_png
from .pth import Embeddings, read_pth
from .record import Counts
from .tables import read_rows

__all__ = ["read_faces", "read_frames", "read_identity"]


def read_frames(directory: Path, counts: Counts, *, executor: Executor, ahead: int) -> Iterator[Frame]:
    """Yield all frames with their pictures and shots.

    Raises StoreError where a picture was not kept or cannot be read.
    """

    def with_picture(frame: Frame) -> Frame:
        if not frame.file:
            raise StoreError(
                f"the picture of frame {frame.frame_num} was not kept",
                where=directory,
                remedy="Run video_to_frames.py with --frames all --force on this clip.",
            )
        image = read_png(directory / frame.file, step="frames")
        if image.shape[:2] != (frame.height, frame.width):
            raise StoreError(
                "the picture has another size than its row in frames.csv",
                where=directory / frame.file,
                asked=f"{frame.width}x{frame.height}",
                found=f"{image.shape[1]}x{image.shape[0]}",
                remedy=schema.redo("frames"),
            )
        return replace(frame, image=image)

    yield from ordered_map(executor, with_picture, _frames(directory, counts), ahead=ahead)


def read_faces(
    directory: Path, counts: Counts, *, with_chips: bool, with_embeddings: bool, executor: Executor | None, ahead: int
) -> Iterator[Frame]:
    """Yield all frames with their faces, without pictures.

    Raises StoreError where chips were not kept, TableError where tables differ.
    """
    embeddings = _embeddings(directory, counts).in_turn() if with_embeddings else None
    frames = _with_faces(directory, counts, embeddings)
    if not with_chips:
        return (frame for frame, _ in frames)

    def with_chip_files(item: tuple[Frame, list[str]]) -> Frame:
        frame, files = item
        if files:
            frame.faces.chips = _chips(directory, files)
        return frame

    return (
        map(with_chip_files, frames)
        if executor is None
        else ordered_map(executor, with_chip_files, frames, ahead=ahead)
    )


def read_identity(directory: Path, counts: Counts) -> tuple[Array, Array]:
    """Return ``track_id`` and ``face_id``, int64 [N] each."""
    path = directory / schema.FACES.file
    result = np.empty((counts.faces, 2), np.int64)
    for face_num, row in enumerate(_numbered(path, schema.IDENTITY, counts.faces)):
        result[face_num] = row[1:]
    return result[:, 0], result[:, 1]


def _frames(directory: Path, counts: Counts) -> Iterator[Frame]:
    path, shots_path = directory / schema.FRAMES.file, directory / schema.SHOTS.file
    shots = read_rows(shots_path, schema.SHOTS)
    shot = next(shots, None)
    last, count = -1, 0
    for frame_num, pts_s, width, height, file in read_rows(path, schema.FRAMES):
        if frame_num <= last:
            raise TableError(
                "column 'frame_num' is not in order",
                where=path,
                found=f"{frame_num} after {last}",
                remedy=schema.redo("frames"),
            )
        last, count = frame_num, count + 1
        while shot is not None and frame_num > shot[2]:
            shot = next(shots, None)
        if shot is None or frame_num < shot[1]:
            raise TableError(f"no shot has frame {frame_num}", where=shots_path, remedy=schema.redo("frames"))
        if file not in ("", schema.frame_file(frame_num)):
            raise _changed(path, "file", schema.frame_file(frame_num), file, "frames")
        yield Frame(frame_num, pts_s, width, height, file=file, shot=shot[0])
    _check_count(path, counts.frames, count, "frames")


def _with_faces(
    directory: Path, counts: Counts, embeddings: Iterator[Array] | None
) -> Iterator[tuple[Frame, list[str]]]:
    """Yield frames with faces, and the files of their chips."""
    path = directory / schema.FACES.file
    rows = zip(
        _numbered(path, schema.FACES, counts.faces),
        _numbered(directory / schema.QUALITY.file, schema.QUALITY, counts.faces),
        strict=True,
    )
    row = next(rows, None)
    for frame in _frames(directory, counts):
        chosen = []
        while row is not None and row[0][1] == frame.frame_num:
            chosen.append(row)
            row = next(rows, None)
        if row is not None and row[0][1] < frame.frame_num:
            raise _no_such_frame(path, row[0][1])
        files = [face[-1] for face, _ in chosen]
        for index, file in enumerate(files):
            if file not in ("", known := schema.chip_file(frame.frame_num, index)):
                raise _changed(path, "file", known, file, "faces")
        if chosen:
            frame.faces = _batch([face for face, _ in chosen], [quality for _, quality in chosen], embeddings)
        yield frame, files
    if row is not None:
        raise _no_such_frame(path, row[0][1])


def _batch(faces: list[list[Any]], quality: list[list[Any]], embeddings: Iterator[Array] | None) -> FaceBatch:
    values = np.array([row[2:-1] for row in faces], np.float32)
    return FaceBatch(
        boxes=values[:, :4],
        scores=values[:, 4],
        landmarks=values[:, 5:].reshape(-1, 5, 2),
        quality=np.array([row[1:] for row in quality], np.float32),
        embeddings=None if embeddings is None else np.stack(list(islice(embeddings, len(faces)))),
    )


def _embeddings(directory: Path, counts: Counts) -> Embeddings:
    path = directory / schema.EMBEDDINGS_FILE
    found = read_pth(path)
    if len(found) != counts.faces:
        raise TableError(
            "wrong number of embeddings",
            where=path,
            asked=counts.faces,
            found=len(found),
            remedy=schema.redo("embeddings"),
        )
    if not np.array_equal(found.face_num, np.arange(len(found))):
        raise TableError("'face_num' does not count from 0", where=path, remedy=schema.redo("embeddings"))
    return found


def _chips(directory: Path, files: list[str]) -> Array:
    if not all(files):
        raise StoreError("the face chips were not kept", where=directory, remedy=schema.redo("faces"))
    chips = [read_png(directory / file, step="faces") for file in files]
    if len({chip.shape for chip in chips}) > 1:
        raise StoreError("chips of different sizes", where=directory / files[0], remedy=schema.redo("faces"))
    return np.stack(chips)


def _numbered(path: Path, table: schema.Table, count: int) -> Iterator[list[Any]]:
    """Yield the rows of a table whose first column counts from 0 to ``count``."""
    found = 0
    for row in read_rows(path, table):
        if row[0] != found:
            raise _changed(path, table.names[0], found, row[0], table.step)
        found += 1
        if found <= count:
            yield row
    _check_count(path, count, found, table.step)


def _check_count(path: Path, asked: int, found: int, step: schema.StepName) -> None:
    if asked != found:
        raise TableError("wrong number of rows", where=path, asked=asked, found=found, remedy=schema.redo(step))


def _no_such_frame(path: Path, frame_num: int) -> TableError:
    return TableError(
        "column 'frame_num' is not in order, or has a frame that frames.csv has not",
        where=path,
        found=frame_num,
        remedy=schema.redo("faces"),
    )


def _changed(path: Path, column: str, asked: object, found: object, step: schema.StepName) -> TableError:
    return TableError(
        f"column {column!r} is not as it was written",
        where=path,
        asked=asked,
        found=repr(found),
        remedy=schema.redo(step),
    )
