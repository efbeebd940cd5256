"""One running DeepStream pipeline, :mod:`.deepstream_pipeline`, and what goes on in it: clips enter and leave while it runs.

What it decodes and detects arrives at a probe, which hands it to the clips' feeds; a watchdog looks after all of them.
"""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import BackendError, DecodeError, StallError
from .bounded import bounded
from .deepstream_pipeline import LaneSettings, build
from .deepstream_source import SourceBin, SourceSettings
from .feed import ClipFeed, Raw
from .gst import gstreamer, words_of
from .nvinfer_config import DetectorEngine, check_outputs, graph_error
from .probe import MetaReader

__all__ = ["Lane"]

log = logging.getLogger(__name__)

_TICK_S = 0.05
"""How often a lane looks after its clips."""
_DRAIN_S = 5.0
"""How long after a decoder's end its last frames may take through the graph, from one to the next."""
_STOP_S = 10.0
"""How long a part of the graph may take to stop before it is left behind."""


class Lane:
    """A pipeline for clips of one picture size.

    Parameters
    ----------
    size: width and height of the mux, px.
    engines: the detector, once per look at a frame; the networks' ids count from 1 in this order. Without any the
        pipeline decodes only.
    reader: reads the batches.

    Raises BackendError or EngineError where the pipeline does not start.
    """

    def __init__(
        self, size: tuple[int, int], engines: Sequence[DetectorEngine], settings: LaneSettings, reader: MetaReader
    ) -> None:
        self.size = size
        self.engines = dict(enumerate(engines, 1))
        """The networks by their ids."""
        self._settings = settings
        self._reader = reader
        self._lock = threading.RLock()
        self._feeds: dict[int, ClipFeed] = {}
        self._sources: dict[int, SourceBin] = {}
        self._free: list[int] = []
        self._expected = 0
        self._failure: Exception | None = None
        self._stopping = threading.Event()
        self._directory = tempfile.TemporaryDirectory(prefix="facesearch-nvinfer-")
        self._watchdog = threading.Thread(target=self._watch, name=f"deepstream-{size[0]}x{size[1]}", daemon=True)
        self._pipeline = gstreamer().Pipeline.new(f"deepstream-{size[0]}x{size[1]}")
        self._probe: tuple[Any, int] | None = None
        try:
            self._mux, probed = build(self._pipeline, size, self.engines, settings, Path(self._directory.name))
            self._probe = probed, probed.add_probe(gstreamer().PadProbeType.BUFFER, self._arrived)
            self._start()
        except BaseException:
            self._teardown()
            raise
        self._watchdog.start()

    # What a clip's consumer does.

    def expect(self) -> None:
        """Keep a place for a clip that is about to enter: until then the lane is not idle."""
        with self._lock:
            self._expected += 1

    def add(self, feed: ClipFeed, source: SourceSettings) -> SourceBin:
        """Let an expected clip enter and return its part of the graph, which the lane stops and closes.

        Raises what the lane failed with, BackendError where an element is missing.
        """
        gst = gstreamer()
        with self._lock:
            self._expected -= 1
            if self._failure is not None:
                raise self._failure
            index = self._free.pop(0) if self._free else len(self._feeds)
            part = SourceBin(source, feed, name=f"source-{index}-{id(feed):x}")
            self._pipeline.add(part.bin)
            pad = self._mux.request_pad_simple(f"sink_{index}")
            if pad is None or part.pad.link(pad) != gst.PadLinkReturn.OK:
                raise BackendError("nvstreammux takes no further source", where=feed.where, asked=f"sink_{index}")
            self._feeds[index], self._sources[index] = feed, part
            feed.begin()
        # To open a file on a dead network mount can block for ever.
        if bounded(part.bin.sync_state_with_parent, self._settings.stall_timeout_s) is None:
            feed.fail(StallError(f"could not be opened within {self._settings.stall_timeout_s:g} s", where=feed.where))
        return part

    @property
    def is_idle(self) -> bool:
        """Whether no clip is in it or about to enter."""
        with self._lock:
            return not self._feeds and not self._expected

    @property
    def has_failed(self) -> bool:
        """Whether it takes no further clip."""
        return self._failure is not None

    def stop(self) -> None:
        """End all clips and free everything; a second call does nothing."""
        self._stopping.set()
        if self._watchdog.is_alive() and threading.current_thread() is not self._watchdog:
            self._watchdog.join()
        self._teardown()

    def _start(self) -> None:
        gst = gstreamer()
        self._bus = self._pipeline.get_bus()
        # In a thread, though without a limit: to load an engine takes its time.
        if self._pipeline.set_state(gst.State.PLAYING) == gst.StateChangeReturn.FAILURE:
            message = self._bus.timed_pop_filtered(gst.SECOND, gst.MessageType.ERROR)
            raise self._core_error("does not start" if message is None else words_of(message))

    def _core_error(self, words: str) -> Exception:
        return graph_error(self.engines.values(), f"{self.size[0]}x{self.size[1]}", words)

    # The graph's thread.

    def _arrived(self, _: object, info: Any) -> Any:
        """Copy what a batch holds and hand it out. Nothing here waits for a consumer."""
        gst = gstreamer()
        try:
            for seen in self._reader.frames(info.get_buffer()):
                feed = self._feeds.get(seen.source_id)
                ticket = None if feed is None else feed.claim(seen.pts_ns)
                if feed is not None and ticket is not None:
                    outputs = seen.outputs()
                    check_outputs(self.engines, outputs)
                    feed.deliver(Raw(ticket, seen.size, seen.canvas(), outputs))
        # What a probe raises would be printed and lost.
        except Exception as error:
            self._fail(error)
        return gst.PadProbeReturn.OK

    # The watchdog's thread.

    def _watch(self) -> None:
        gst = gstreamer()
        kinds = gst.MessageType
        wanted = kinds.ERROR | kinds.WARNING | kinds.ELEMENT | kinds.EOS
        while not self._stopping.is_set():
            try:
                message = self._bus.timed_pop_filtered(int(_TICK_S * gst.SECOND), wanted)
                if message is not None:
                    self._heard(message)
                self._look_after()
            # Without this thread every clip would wait for ever.
            except Exception as error:
                log.exception("%sx%s: internal error", *self.size)
                self._fail(error)
                self._end_all()
                return
        self._end_all()

    def _heard(self, message: Any) -> None:
        kinds = gstreamer().MessageType
        if message.type == kinds.ELEMENT:
            structure = message.get_structure()
            if structure is not None and structure.get_name() == "stream-eos":
                known, index = structure.get_uint("stream-id")
                feed = self._feeds.get(index) if known else None
                if feed is not None:
                    feed.end()
            return
        if message.type == kinds.EOS:
            self._fail(self._core_error("the pipeline ended"))
            return
        words = words_of(message)
        feed = self._feed_of(message.src)
        if message.type == kinds.WARNING:
            log.warning("%s: %s", feed.where if feed else "DeepStream", words)
        elif feed is None:
            self._fail(self._core_error(words))
        else:
            log.debug("%s: error: %s", feed.where, words)
            feed.fail(DecodeError("cannot be decoded", where=feed.where, found=words))

    def _feed_of(self, element: Any) -> ClipFeed | None:
        with self._lock:
            for index, part in self._sources.items():
                if element is not None and (element == part.bin or element.has_as_ancestor(part.bin)):
                    return self._feeds[index]
        return None

    def _look_after(self) -> None:
        timeout_s = self._settings.stall_timeout_s
        with self._lock:
            feeds = list(self._feeds.items())
        for index, feed in feeds:
            if self._failure is not None:
                feed.fail(self._failure)
            elif (stall := feed.stall(timeout_s)) is not None:
                feed.fail(stall)
            elif feed.stuck_s() > timeout_s:
                self._fail(self._core_error(f"no batch came out for {timeout_s:g} s"))
                continue
            if feed.settle(0.0 if self._failure is not None else _DRAIN_S):
                self._retire(index, feed)

    def _retire(self, index: int, feed: ClipFeed) -> None:
        """Take a clip that is through out of the graph; its place is free once nothing of it can come any more."""
        part = self._sources.pop(index, None)
        if part is not None:
            self._remove(index, part, feed)
        if feed.drained(_DRAIN_S):
            with self._lock:
                del self._feeds[index]
                # The place that was left first is taken first: time goes by before one is used again.
                self._free.append(index)

    def _remove(self, index: int, part: SourceBin, feed: ClipFeed) -> None:
        gst = gstreamer()
        part.stop_linking()
        part.bin.set_locked_state(True)
        if bounded(lambda: part.bin.set_state(gst.State.NULL), _STOP_S) is None:
            log.warning("%s: a read hangs in the system; its thread is left behind", feed.where)
        part.close()
        pad = self._mux.get_static_pad(f"sink_{index}")
        if pad is not None:
            part.pad.unlink(pad)
            pad.send_event(gst.Event.new_flush_stop(False))
            self._mux.release_request_pad(pad)
        self._pipeline.remove(part.bin)

    def _fail(self, error: Exception) -> None:
        """End all clips of this lane with an error; the first stays."""
        self._failure = self._failure or error

    def _end_all(self) -> None:
        with self._lock:
            self._failure = self._failure or BackendError("the DeepStream graph was stopped")
            feeds = list(self._feeds.values())
        for feed in feeds:
            feed.fail(self._failure)
            feed.settle(0.0)

    def _teardown(self) -> None:
        gst = gstreamer()
        with self._lock:
            pipeline, self._pipeline = self._pipeline, None
        if pipeline is None:
            return
        for feed in self._feeds.values():
            feed.close()
        for part in self._sources.values():
            part.stop_linking()
        if bounded(lambda: pipeline.set_state(gst.State.NULL), _STOP_S) is None:
            log.warning("DeepStream: a thread hangs in the system and is left behind")
        for part in self._sources.values():
            part.close()
        if self._probe is not None:
            pad, probe = self._probe
            pad.remove_probe(probe)
        pipeline.get_bus().set_flushing(True)
        self._directory.cleanup()
