"""One pass over a clip's directory: pass-through generators that write what they see, then all of it in place at once.

Every generator yields the frames it gets, with their values rounded to what reading the tables back gives, so that a
stage behind a writer sees the same whether the steps run in one pass or one by one.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np

from ..types import Array, Frame
from . import schema
from .commit import Columns, Outcome, build, install
from .files import storing
from .pictures import PictureWriter
from .record import Counts, RunRecord, read_record
from .schema import StepName
from .staging import Staging
from .tables import TableWriter
from .values import Shots, check_finite, rounded_faces

__all__ = ["ClipWriter", "Keep"]

Keep = Literal["all", "faces", "none"]


class ClipWriter:
    """A pass that does one step, or several in a row, for one clip. A context manager; see ``ClipStore.begin``.

    Chain the generators, exhaust the last one, fill in :attr:`record`, then :meth:`commit`. Leaving without a commit
    removes all that the pass wrote; the results that were there before stay as they were.
    """

    record: RunRecord
    """To be filled in before the commit;

    holds what earlier steps said. The store itself sets ``counts`` and ``steps``.
    """

    def __init__(self, directory: Path, keys: Mapping[StepName, str]) -> None:
        steps = schema.in_a_row(keys)
        self._keys = dict(keys)
        self._directory = directory
        self._staging = Staging(directory)
        found = None if "frames" in keys else read_record(directory)
        self.record = RunRecord() if found is None else found
        self._missing = set(steps)
        self._pictures: list[PictureWriter] = []
        self._tables: list[TableWriter] = []
        self._rows: io.BufferedWriter | None = None
        self._keep: Keep = "all"
        self._crops = True
        self._frames = self._kept = 0
        self._written: int | None = None
        self._embedded: int | None = None
        self._columns = Columns()

    def __enter__(self) -> ClipWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pictures in self._pictures:
            pictures.cancel()
        for table in self._tables:
            table.discard()
        if self._rows is not None:
            # The flush at closing may meet again the error that ended the pass.
            with contextlib.suppress(OSError):
                self._rows.close()
        self._staging.close()

    def write_frames(
        self,
        frames: Iterable[Frame],
        *,
        keep: Keep,
        png_compression: int,
        executor: Executor,
        drop_image: bool = True,
        pending: int = 8,
    ) -> Iterator[Frame]:
        """Write pictures, ``frames.csv``, ``frame_tbl.csv`` and ``shots.csv``; set ``file``.

        Parameters
        ----------
        frames: in rising order of ``frame_num``, with their pictures.
        keep: which pictures; ``faces`` goes by the faces that a frame has here, so detection must come before.
        png_compression: zlib level, 0 to 9.
        executor: its threads encode and write.
        drop_image: let go of a frame's picture once its write is handed over.
        pending: how many pictures may wait at most.

        Raises StoreError, at a later frame or at the end, where a picture or table cannot be written.
        """
        self._start("frames")
        table, shots = self._table(schema.FRAMES), Shots(self._table(schema.SHOTS))
        pictures = self._picture_writer(executor, pending)
        last = -1
        for frame in frames:
            if frame.frame_num <= last:
                raise ValueError(f"frame {frame.frame_num} after frame {last}")
            last = frame.frame_num
            frame.pts_s = round(float(frame.pts_s), 6) + 0.0
            kept = keep == "all" or (keep == "faces" and len(frame.faces) > 0)
            frame.file = schema.frame_file(frame.frame_num) if kept else ""
            if kept:
                if frame.image is None:
                    raise ValueError(f"frame {frame.frame_num} has no picture")
                pictures.submit([self._staging.new / frame.file], [frame.image], png_compression)
            with storing(self._directory):
                table.row(frame.frame_num, frame.pts_s, frame.width, frame.height, frame.file)
                shots.add(frame)
            self._frames += 1
            self._kept += kept
            if drop_image:
                frame.image = None
            yield frame
        with storing(self._directory):
            shots.finish()
        pictures.finish()
        self._finish("frames", table, shots.table)

    def write_faces(
        self,
        frames: Iterable[Frame],
        *,
        executor: Executor,
        crops: bool = True,
        png_compression: int = 1,
        drop_chips: bool = False,
        pending: int = 32,
    ) -> Iterator[Frame]:
        """Write chips, ``faces.csv`` and ``quality.csv``.

        Parameters
        ----------
        frames: each with its faces, these with ``quality`` and, for ``crops``, ``chips``.
        executor: its threads encode and write.
        crops: write the chips; without them ``file`` stays empty.
        png_compression: zlib level, 0 to 9.
        drop_chips: let go of the chips once their write is handed over.
        pending: how many frames' chips may wait at most.

        Raises StoreError where a chip or table cannot be written or a value is not finite.
        """
        self._start("faces")
        table, quality = self._table(schema.FACES), self._table(schema.QUALITY)
        pictures = self._picture_writer(executor, pending)
        if crops:
            with storing(self._directory):
                (self._staging.new / schema.CHIPS_DIRECTORY).mkdir()
        face_num = 0
        for frame in frames:
            faces, cells = rounded_faces(frame, self._directory)
            frame.faces = faces
            files = [schema.chip_file(frame.frame_num, i) if crops else "" for i in range(len(faces))]
            if crops and files:
                if faces.chips is None:
                    raise ValueError(f"the faces of frame {frame.frame_num} have no chips")
                pictures.submit([self._staging.new / file for file in files], list(faces.chips), png_compression)
            with storing(self._directory):
                for values, file in zip(cells, files, strict=True):
                    table.row(face_num, frame.frame_num, *values[:15], file)
                    quality.row(face_num, *values[15:])
                    face_num += 1
            if drop_chips:
                faces.chips = None
            yield frame
        pictures.finish()
        self._written = face_num
        self._finish("faces", table, quality)

    def keep_pictures(self, keep: Keep) -> None:
        """Have the commit of the faces step remove pictures of an earlier frames step, as ``write_frames`` would not
        have kept them.

        With the steps one by one, the first cannot know which frames have faces, and the second needs all pictures.
        """
        if "faces" not in self._keys or "frames" in self._keys:
            raise ValueError("only the faces step by itself can remove pictures")
        self._keep = keep

    def drop_crops(self) -> None:
        """Have the commit of the embeddings step remove the chips of an earlier faces step, as ``write_faces`` without
        ``crops`` would not have written them.

        With the steps one by one, the third needs the chips that the second writes.
        """
        if "embeddings" not in self._keys or "faces" in self._keys:
            raise ValueError("only an embeddings step without the faces step can remove crops")
        self._crops = False

    def write_embeddings(self, frames: Iterable[Frame], *, model: str, dimension: int) -> Iterator[Frame]:
        """Write ``embeddings.pth`` and the column ``enorm``.

        Parameters
        ----------
        frames: each with its faces, these with ``embeddings`` [N, dimension].
        model: name of the embedder.

        Raises StoreError where the disk refuses or an embedding is not finite.
        """
        self._start("embeddings")
        path = self._staging.spool / "embeddings.f32"
        with storing(self._directory):
            rows = self._rows = path.open("wb")
        count = 0
        for frame in frames:
            if len(frame.faces):
                values = frame.faces.embeddings
                if values is None or values.shape != (len(frame.faces), dimension):
                    raise ValueError(f"frame {frame.frame_num}: no embeddings of shape {(len(frame.faces), dimension)}")
                check_finite(values, "the embedder", frame, self._directory)
                with storing(self._directory):
                    rows.write(np.ascontiguousarray(values, "<f4").data)
                count += len(values)
            yield frame
        with storing(self._directory):
            rows.close()
        self._embedded = count
        self._columns = replace(self._columns, rows=path, dimension=dimension, model=model)
        self._finish("embeddings")

    def write_identity(self, track_ids: Array, face_ids: Array) -> None:
        """Add the columns ``track_id`` and ``face_id``: integers [N], one for each face in order of ``face_num``."""
        self._start("identity")
        if track_ids.shape != face_ids.shape or track_ids.ndim != 1:
            raise ValueError(f"track_ids {track_ids.shape} and face_ids {face_ids.shape} are not two columns")
        self._columns = replace(self._columns, track_ids=track_ids.astype(np.int64), face_ids=face_ids.astype(np.int64))
        self._finish("identity")

    def commit(self) -> None:
        """Put everything in its place, ``run.json`` last.

        Raises StoreError; RuntimeError where a generator did not reach its end.
        """
        if self._missing:
            raise RuntimeError(f"not written to the end: {sorted(self._missing)}")
        counts = self.record.counts
        if "frames" in self._keys:
            counts = Counts(frames=self._frames, pictures=self._kept)
        faces = next((n for n in (self._written, self._embedded) if n is not None), counts.faces)
        if self._embedded not in (None, faces):
            raise ValueError(f"{faces} faces and {self._embedded} embeddings")
        outcome = Outcome(self._keys, replace(counts, faces=faces), self._columns, self._keep, self._crops)
        with storing(self._directory):
            outcome = build(self._staging, outcome)
        install(self._staging, self.record, outcome)

    def _start(self, step: StepName) -> None:
        if step not in self._missing:
            raise ValueError(f"step {step!r} is not part of this pass, or was written already")

    def _finish(self, step: StepName, *tables: TableWriter) -> None:
        with storing(self._directory):
            for table in tables:
                table.close()
        self._missing.discard(step)

    def _table(self, table: schema.Table) -> TableWriter:
        with storing(self._directory):
            writer = TableWriter(self._staging.new / table.file, table)
        self._tables.append(writer)
        return writer

    def _picture_writer(self, executor: Executor, pending: int) -> PictureWriter:
        writer = PictureWriter(executor, self._directory, pending=pending)
        self._pictures.append(writer)
        return writer
