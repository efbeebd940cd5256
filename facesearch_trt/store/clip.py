"""One clip's ``.pipeline`` directory: what is done in it, how to write it and how to read it back."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from pathlib import Path

from ..errors import StoreError
from ..types import Array, Frame
from . import schema
from .files import storing
from .reader import read_faces, read_frames, read_identity
from .record import RunRecord, read_record
from .schema import StepName
from .staging import discard_partial, is_busy, remove_results
from .writer import ClipWriter

__all__ = ["ClipStore"]

_LOG = logging.getLogger(__name__)


class ClipStore:
    """Writes and reads one clip's results.

    Writing is a pass that does one step or several in a row, all or nothing::

        with store.begin({"frames": key, "faces": key}) as writer:
            frames = writer.write_frames(frames, keep="all", png_compression=1, executor=pool)
            for frame in writer.write_faces(detect(frames), executor=pool):
                ...
            writer.record.backend = "onnxruntime"
            writer.commit()

    Reading streams frames in order; memory does not grow with the clip.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def record(self) -> RunRecord | None:
        """Return what ``run.json`` says; None where there is none, or none that can be used."""
        return read_record(self.directory)

    def is_done(self, step: StepName, key: str) -> bool:
        """Return whether a step is complete and was made with the same ``key``, and its tables are still there."""
        record = self.record()
        state = None if record is None else record.steps.get(step)
        if state is None or state.key != key:
            return False
        gone = [name for name in schema.STEP_FILES[step] if not (self.directory / name).is_file()]
        if gone:
            _LOG.warning("%s: %s is gone, so its step is done again", self.directory, ", ".join(gone))
        return not gone

    def tidy(self) -> bool:
        """Remove what a killed pass left;

        return whether there was anything. ``begin`` does it too; call this before skipping a clip.
        """
        return discard_partial(self.directory)

    def distrust(self) -> None:
        """Forget that anything is done here, so that the next run does it again. Raises StoreError."""
        with storing(self.directory):
            (self.directory / schema.RECORD_FILE).unlink(missing_ok=True)

    def is_busy(self) -> bool:
        """Return whether another process is writing it. Raises StoreError where the system refuses to tell."""
        return is_busy(self.directory)

    def remove(self) -> None:
        """Remove all results. Raises BusyError where another process is writing them, StoreError."""
        remove_results(self.directory)

    def begin(self, keys: Mapping[StepName, str]) -> ClipWriter:
        """Start a pass over the given steps, each with the fingerprint of everything that decides its result.

        The results of these steps and of those that build on them are replaced at the commit. Raises StoreError where
        the directory cannot be written or a step before the first is not done, BusyError where another process is
        writing it.
        """
        first = schema.in_a_row(keys)[0]
        for step in schema.STEPS[: schema.STEPS.index(first)]:
            self._require(step)
        return ClipWriter(self.directory, keys)

    def load_frames(self, *, executor: Executor, ahead: int = 8) -> Iterator[Frame]:
        """Yield all frames with picture and shot, in order, at most ``ahead`` pictures read in advance.

        Raises StoreError where the frames step is not done or a picture is not there, TableError where a table was
        changed.
        """
        record = self._require("frames")
        return read_frames(self.directory, record.counts, executor=executor, ahead=ahead)

    def load_faces(
        self, *, with_chips: bool, with_embeddings: bool, executor: Executor | None = None, ahead: int = 32
    ) -> Iterator[Frame]:
        """Yield all frames, also those without a face, with their faces' boxes, scores, landmarks and quality, but no
        pictures.

        Parameters
        ----------
        with_chips: read the aligned chips too; with an executor up to ``ahead`` frames in advance.
        with_embeddings: read the embeddings too.

        Raises StoreError where a step is not done or chips were not kept, TableError where a table was changed.
        """
        self._require("faces")
        record = self._require("embeddings" if with_embeddings else "faces")
        return read_faces(
            self.directory,
            record.counts,
            with_chips=with_chips,
            with_embeddings=with_embeddings,
            executor=executor,
            ahead=ahead,
        )

    def load_identity(self) -> tuple[Array, Array]:
        """Return ``track_id`` and ``face_id`` of all faces, int64 [N] each. Raises StoreError or TableError."""
        return read_identity(self.directory, self._require("identity").counts)

    def _require(self, step: StepName) -> RunRecord:
        record = self.record()
        if record is None or step not in record.steps:
            raise StoreError(
                f"the {step} step is not complete here",
                where=self.directory,
                remedy=f"Run {schema.COMMANDS[step]} first.",
            )
        return record
