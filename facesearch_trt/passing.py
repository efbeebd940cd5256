"""One pass over one clip: the writers with a run's options, the progress, the times, and the record of what was done."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Any, Literal, cast

from .graph.containers import layout_of
from .graph.inputs import images_of
from .identity.builder import identify
from .plan import source_of
from .running.runner import Outcome, Watcher
from .running.stopwatch import Stopwatch
from .store.clip import ClipStore
from .store.record import Live, Model, Source
from .store.schema import StepName
from .store.writer import Keep
from .types import Clip, Frame, FrameSource
from .wiring import Tools

__all__ = ["Pass", "skipped"]

_OF_THE_RUN = frozenset(
    {"force", "report", "threads", "stall_timeout_s", "clips_at_once", "isolate", "ray_cpus", "ray_gpu_share"}
)
"""Options that say nothing of the results."""
_OF_STEP: dict[StepName, frozenset[str]] = {
    "frames": frozenset({"every", "frames", "graph", "png_compression"}),
    "faces": frozenset(
        "frames crops png_compression detector detector_size close_up_size score_threshold nms_iou min_face_px"
        " detect_batch backend precision engines".split()
    ),
    "embeddings": frozenset({"crops", "embed_batch", "backend", "precision", "engines"}),
    "identity": frozenset({"deepsort", "similarity_threshold"}),
}
"""Options that say something of these steps only; a step that is done alone was not told those of the others."""
_WORTH_TELLING_S = 10.0
_log = logging.getLogger(__name__)


class Pass:
    """A pass over one clip, doing the steps in ``keys``. A context manager: leaving it without a commit undoes everything.

    ``source`` is what is recorded of the clip where it is no file: a camera.
    """

    def __init__(
        self,
        clip: Clip,
        tools: Tools,
        watcher: Watcher,
        keys: Mapping[StepName, str],
        source: Source | None = None,
    ) -> None:
        self.clip = clip
        self.store = ClipStore(clip.output)
        self._tools = tools
        self._watcher = watcher
        self._keys = keys
        # Of the clip as it is before the first frame is read; the steps behind keep what step 1 recorded.
        self._source = source
        if "frames" in keys and source is None:
            self._source = source_of(clip, None)
        self._writer = self.store.begin(keys)
        self._stopwatch = Stopwatch(tools.trace)
        self._start = time.monotonic()

    def __enter__(self) -> Pass:
        self._writer.__enter__()
        expected = self._expected() if "frames" in self._keys else self._writer.record.counts.frames
        self._watcher.started(self.clip, expected)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, error, trace)

    def _expected(self) -> int | None:
        """Return how many frames will come, where that can be told without decoding."""
        source = self.clip.source
        if source is None:
            return None
        try:
            count = len(images_of(source)) if self.clip.kind == "images" else layout_of(source).frames
        except OSError:
            return None  # opening the clip will say what is wrong with it
        return None if count is None else -(-count // self._tools.options.every)

    @property
    def is_done(self) -> bool:
        """Whether another process did the same work before this pass could begin."""
        return not self._tools.options.force and all(self.store.is_done(step, key) for step, key in self._keys.items())

    def watch(self, stage: str, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield the frames and measure how long the chain waits for this stage."""
        return self._stopwatch.watch(stage, frames)

    def drain(self, frames: Iterable[Frame]) -> None:
        """Run a chain to its end."""
        for frame in frames:
            self._watcher.advanced(self.clip, 1, len(frame.faces))

    def write_frames(self, frames: Iterable[Frame], *, keep: str) -> Iterator[Frame]:
        """Write pictures and the tables of frames."""
        return self._writer.write_frames(
            frames,
            keep=cast(Keep, keep),
            png_compression=self._tools.options.png_compression,
            executor=self._tools.picture_pool,
        )

    def keep_pictures(self, keep: str) -> None:
        """Remove the pictures of frames that ``keep`` does not ask for, which only the faces tell."""
        if keep != "all":
            self._writer.keep_pictures(cast(Keep, keep))

    def write_faces(self, frames: Iterable[Frame], *, crops: bool) -> Iterator[Frame]:
        """Write the tables of faces and, for ``crops``, chips."""
        return self._writer.write_faces(
            frames, executor=self._tools.picture_pool, crops=crops, png_compression=self._tools.options.png_compression
        )

    def keep_crops(self, keep: bool) -> None:
        """Remove the chips that the embeddings were made of, if they are not to be kept."""
        if not keep:
            self._writer.drop_crops()

    def write_embeddings(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Write the embeddings and their norms."""
        entry = self._tools.embedder_entry
        return self._writer.write_embeddings(frames, model=entry.name, dimension=entry.dimension)

    def write_identity(self, frames: Iterable[Frame]) -> None:
        """Run a chain to its end, decide who is who, and write it."""
        builder = self._tools.identity()
        self.drain(self.watch("identify", identify(frames, builder)))
        start = time.perf_counter()
        identities = builder.finish()
        self._writer.write_identity(identities.track_ids, identities.face_ids)
        end = time.perf_counter()
        self._writer.record.seconds["group"] = round(end - start, 3)
        if self._tools.trace is not None:
            self._tools.trace.span("group", start, end)

    def commit(self, source: FrameSource | None = None, live: Live | None = None) -> Outcome:
        """Put all results in place, with the record of what made them, and return the outcome.

        ``source`` is what the clip was decoded by, where it was; ``live`` what was lost of a camera's stream.
        """
        tools, record = self._tools, self._writer.record
        record.clip = self.clip.name
        record.seconds = {**record.seconds, **self._stopwatch.seconds()}
        record.options = self._options(record.options)
        if source is not None:
            record.source = self._source
            record.damage = source.damage
            record.graph = source.graph
            record.live = live
        if "faces" in self._keys:
            detector = tools.detector_entry
            record.models["detector"] = Model(detector.name, detector.sha256, detector.licence.name)
        if "embeddings" in self._keys:
            embedder = tools.embedder_entry
            record.models["embedder"] = Model(embedder.name, embedder.sha256, embedder.licence.name)
        if self._keys.keys() & {"faces", "embeddings"}:
            choice = tools.backend_choice
            record.backend, record.precision, record.backend_why = choice.name, choice.precision, choice.why
        self._writer.commit()
        self._tell_of_a_slow_disk()
        return self._outcome("done" if record.damage is None else "damaged", record.damage or "")

    def _options(self, recorded: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options to record, given those of the steps that were done before."""
        options = {name: value for name, value in asdict(self._tools.options).items() if name not in _OF_THE_RUN}
        mine = {name for step in self._keys for name in _OF_STEP[step]}
        others = {name for names in _OF_STEP.values() for name in names} - mine
        return {name: recorded.get(name, value) if name in others else value for name, value in options.items()}

    def _tell_of_a_slow_disk(self) -> None:
        """Say so where the pass spent most of its time waiting for its results to be written."""
        seconds = self._stopwatch.seconds()
        whole = sum(seconds.values())
        writing = sum(share for stage, share in seconds.items() if stage.startswith("write_"))
        if whole > _WORTH_TELLING_S and writing > whole / 2:
            _log.warning(
                "%s: %.0f of %.0f s went into waiting for results to be written; a quicker disk, --frames faces or --frames none helps",
                self.clip.name,
                writing,
                whole,
            )

    def _outcome(self, state: Literal["done", "damaged"], message: str) -> Outcome:
        record = self.store.record()
        assert record is not None
        counts = record.counts
        seconds = time.monotonic() - self._start
        return Outcome(self.clip, state, message, counts.frames, counts.faces, counts.people, seconds)


def skipped(clip: Clip, store: ClipStore) -> Outcome:
    """Return the outcome of a clip whose results are complete; that it is damaged is said again."""
    record = store.record()
    assert record is not None
    counts = record.counts
    state: Literal["skipped", "damaged"] = "skipped" if record.damage is None else "damaged"
    return Outcome(clip, state, record.damage or "", counts.frames, counts.faces, counts.people)
