"""One clip's pipeline of pyservicemaker, from its file to copies of its pictures and of what the networks said.

``nvurisrcbin → nvvideoconvert (upright) → nvstreammux → nvvideoconvert → RGBA → nvinfer (one per look) →
nvvideoconvert → RGB → fakesink``. What is read where is told in :mod:`.servicemaker_batch`.
"""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import BackendError, DecodeError, EngineError, FaceSearchError
from .bounded import bounded
from .deepstream_clip import OpenedClip
from .deepstream_pipeline import MEMORY, LaneSettings, mux_properties
from .deepstream_source import DECODED, FLIP
from .feed import ClipFeed, Raw
from .nvinfer_config import DetectorEngine, check_outputs, graph_error, write_config
from .probe import Download
from .servicemaker_batch import BatchReader, pts_of

__all__ = ["ClipPipeline"]

log = logging.getLogger(__name__)

_TICK_S = 0.05
"""How often a pipeline is looked after."""
_LOAD_S = 120.0
"""How long it may take before the first frame: nvinfer loads its engine, and nothing tells when it is done."""
_STOP_S = 10.0
"""How long it may take to stop before it is left behind."""
_FRAME_S = 0.04
"""From a frame to the next one where that has no time of its own."""


class ClipPipeline:
    """A pipeline for one clip, whose frames come into its feed.

    Parameters
    ----------
    module: pyservicemaker.
    engines: the detector, once per look at a frame, by the networks' ids; without any it decodes only.
    download: copies device memory; None where the CPU can read all.

    Raises BackendError where it cannot be built, DecodeError for a coding that NVIDIA's decoder does not know, EngineError
    for an engine that is missing or too small.
    """

    def __init__(
        self,
        module: Any,
        clip: OpenedClip,
        feed: ClipFeed,
        engines: Mapping[int, DetectorEngine],
        settings: LaneSettings,
        download: Download | None,
    ) -> None:
        if clip.facts.media not in DECODED:
            raise DecodeError(
                "DeepStream has no decoder for it",
                where=clip.where,
                found=clip.facts.codec,
                remedy="Use --graph software for it.",
            )
        self._module = module
        self._clip = clip
        self._feed = feed
        self._engines = engines
        self._settings = settings
        self._download = download
        self._batches = BatchReader(clip.where, download)
        self._ended = threading.Event()
        self._directory = tempfile.TemporaryDirectory(prefix="facesearch-nvinfer-")
        self._threads = [
            threading.Thread(target=run, name=f"servicemaker-{clip.where}", daemon=True)
            for run in (self._run, self._look_after)
        ]
        try:
            self._pipeline: Any = self._built()
        except BaseException as error:
            self._directory.cleanup()
            if isinstance(error, RuntimeError):
                raise BackendError("pyservicemaker cannot build the pipeline", where=clip.where, found=error) from error
            raise

    # What its owner does.

    def start(self) -> None:
        """Start to decode."""
        self._feed.begin()
        for thread in self._threads:
            thread.start()

    def fail(self, error: Exception) -> None:
        """End the clip with an error; what was decoded before still comes."""
        self._feed.fail(error)

    def stop(self) -> None:
        """End it, where it still runs, and free everything."""
        # Which ends it, whoever waits for frames.
        self._feed.close()
        started = [thread for thread in self._threads if thread.ident is not None]
        for thread in started:
            thread.join(3 * _STOP_S)
        if any(thread.is_alive() for thread in started):
            log.warning("%s: a thread hangs in DeepStream and is left behind", self._clip.where)
        # It holds the operators, which hold this object, in a way that Python's collector does not see.
        self._pipeline = None
        self._directory.cleanup()

    def faults(self) -> list[str]:
        """Return what was found wrong with a clip that has been decoded to its end.

        A decoder that gives up looks like the end of the clip: only an index, which MP4 and MOV have, tells.
        """
        found, layout, feed = [], self._clip.layout, self._feed
        if layout.frames is not None and not layout.edited and feed.entered < layout.frames:
            found.append(f"{layout.frames - feed.entered} of {layout.frames} frames could not be decoded")
        if feed.dropped:
            found.append(f"{feed.dropped} frames were lost in the graph")
        return found

    # Building.

    def _built(self) -> Any:
        settings, facts = self._settings, self._clip.facts
        gpu = {} if settings.jetson else {"gpu-id": settings.gpu_id}
        memory = {"gpu-id": settings.gpu_id, "nvbuf-memory-type": MEMORY}
        pipeline = self._module.Pipeline("facesearch")
        # TCP: a lost packet would tear the picture.
        camera = {} if self._clip.path is not None else {"latency": self._clip.latency_ms, "select-rtp-protocol": 4}
        pipeline.add("nvurisrcbin", "source", {"uri": self._clip.uri, **camera, **gpu})
        pipeline.add("nvvideoconvert", "upright", {"flip-method": FLIP[facts.flip], **gpu})
        pipeline.add("capsfilter", "decoded", {"caps": "video/x-raw(memory:NVMM), format=NV12"})
        pipeline.add("nvstreammux", "mux", mux_properties(facts.size, settings, drop_end=False))
        chain = ["mux"]
        if self._engines:
            pipeline.add("nvvideoconvert", "rgba", memory)
            pipeline.add("capsfilter", "only-rgba", {"caps": "video/x-raw(memory:NVMM), format=RGBA"})
            chain += ["rgba", "only-rgba"]
        directory = Path(self._directory.name)
        for number, engine in self._engines.items():
            config = write_config(
                engine, unique_id=number, batch=settings.batch, gpu_id=settings.gpu_id, directory=directory
            )
            pipeline.add("nvinfer", f"detector-{number}", {"config-file-path": config})
            chain.append(f"detector-{number}")
        pipeline.add("nvvideoconvert", "rgb", memory)
        pipeline.add("capsfilter", "only-rgb", {"caps": "video/x-raw(memory:NVMM), format=RGB"})
        pipeline.add("fakesink", "sink", {"sync": False, "async": False, "qos": False, "enable-last-sample": False})
        pipeline.link(("source", "upright"), ("vsrc_%u", ""))
        pipeline.link("upright", "decoded")
        pipeline.link(("decoded", "mux"), ("", "sink_%u"))
        pipeline.link(*chain, "rgb", "only-rgb", "sink")
        self._attach(pipeline, "decoded", self._let_in, buffers=True)
        self._attach(pipeline, "mux", self._batches.frames, buffers=False)
        for number in self._engines:
            self._attach(pipeline, f"detector-{number}", partial(self._batches.outputs, number), buffers=False)
        self._attach(pipeline, "only-rgb", self._deliver, buffers=True)
        return pipeline

    def _attach(self, pipeline: Any, element: str, handle: Callable[[Any], bool], *, buffers: bool) -> None:
        module, guarded = self._module, self._guarded

        class Buffers(module.BufferOperator):  # type: ignore[misc, name-defined]
            def handle_buffer(self, buffer: Any) -> bool:
                return guarded(handle, buffer)

        class Metadata(module.BatchMetadataOperator):  # type: ignore[misc, name-defined]
            def handle_metadata(self, batch_meta: Any) -> None:
                guarded(handle, batch_meta)

        operator = Buffers() if buffers else Metadata()
        pipeline.attach(element, module.Probe(f"facesearch-{element}", operator))

    def _guarded(self, handle: Callable[[Any], bool], argument: Any) -> bool:
        try:
            return handle(argument)
        # What reaches the library's C++ ends the process.
        except Exception as error:
            if not isinstance(error, FaceSearchError):
                log.exception("%s: internal error", self._clip.where)
            # Without its traceback, which would keep the batch.
            self._feed.fail(error.with_traceback(None))
            return True

    # The graph's threads. All that is handed in is valid only until the handler returns, a frame only until the next.

    def _let_in(self, buffer: Any) -> bool:
        """Let a frame into the graph. The decoder waits here while the clip has enough frames on their way."""
        pts_ns = pts_of(buffer.timestamp)
        pts_s = None if pts_ns is None else self._clip.facts.time_s(pts_ns)
        return self._feed.enter(pts_ns, pts_s, _FRAME_S)

    def _deliver(self, buffer: Any) -> bool:
        for seen, picture in self._batches.pictures(buffer):
            check_outputs(self._engines, seen.outputs)
            ticket = self._feed.claim(seen.pts_ns)
            if ticket is not None:
                self._feed.deliver(Raw(ticket, seen.size, picture(), seen.outputs))
        return True

    # Its own threads.

    def _run(self) -> None:
        try:
            self._pipeline.start()
            self._pipeline.wait()
        except Exception as error:
            self._feed.fail(BackendError("pyservicemaker failed", where=self._clip.where, found=error))
        self._ended.set()

    def _look_after(self) -> None:
        timeout_s = self._settings.stall_timeout_s
        while not self._ended.wait(_TICK_S):
            if self._feed.stuck_s() > timeout_s:
                self._feed.fail(self._error(f"no batch came out for {timeout_s:g} s"))
            elif (stall := self._feed.stall(timeout_s if self._feed.entered else timeout_s + _LOAD_S)) is not None:
                self._feed.fail(stall)
            if self._feed.failed or self._feed.closed:
                self._end()
                break
        # All that comes out has come: a pipeline ends with its last buffer.
        if not (self._feed.failed or self._feed.closed) and (error := self._problem()) is not None:
            self._feed.fail(error)
        self._feed.end()
        self._feed.settle(0.0)

    def _end(self) -> None:
        # No handler may wait while the pipeline stops: the call may keep Python's lock until all threads are through.
        self._feed.refuse()
        # DeepStream's documents call it deactivate, the module itself has stop in its place.
        end = getattr(self._pipeline, "deactivate", None) or self._pipeline.stop
        try:
            bounded(end, _STOP_S)
        except RuntimeError as error:
            log.warning("%s: DeepStream does not stop its pipeline: %s", self._clip.where, error)
        self._ended.wait(_STOP_S)

    def _problem(self) -> Exception | None:
        """Return what a pipeline that has ended by itself failed with, None where it is through.

        pyservicemaker prints what failed and tells nothing, so it has to be seen from what came out.
        """
        feed, elsewhere = self._feed, "what failed is on standard error"
        if not feed.entered:
            return self._why_nothing_entered(elsewhere)
        if feed.inside and feed.inside + feed.dropped == feed.entered:
            return self._error(f"no frame although the clip decodes; {elsewhere}")
        if feed.inside:
            found = f"{feed.inside} frames were still in the pipeline; {elsewhere}"
            return DecodeError("the pipeline broke off", where=self._clip.where, found=found)
        return None

    def _why_nothing_entered(self, elsewhere: str) -> Exception:
        broken = DecodeError(
            "no frame of it can be decoded",
            where=self._clip.where,
            found=elsewhere,
            remedy="Check that it plays elsewhere, or use --graph software.",
        )
        if not self._engines:
            return broken
        # Either the clip or an engine: ask the clip alone.
        feed = ClipFeed(self._clip.where, 2 * self._settings.batch)
        alone = ClipPipeline(self._module, self._clip, feed, {}, self._settings, self._download)
        try:
            alone.start()
            if feed.take() is None:
                return broken
        except FaceSearchError as error:
            return error
        finally:
            alone.stop()
        return self._error(f"no frame although the clip decodes; {elsewhere}")

    def _error(self, words: str) -> EngineError:
        size = "{}x{}".format(*self._clip.facts.size)
        return graph_error(self._engines.values(), size, words)
