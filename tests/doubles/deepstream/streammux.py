"""nvstreammux, the classic one: gathers the frames of several streams into batches of one size."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from gi.repository import GObject, Gst

from tests.doubles.queries import answered

from . import colour
from .elements import Checked, guarded, properties_of
from .memory import Batch, FrameRecord, Surface, attach, resolved_memory_type
from .rules import STATE, violation


@dataclass
class _Waiting:
    pad_index: int
    nv12: Any
    width: int
    height: int
    pts: int
    matrix: str
    frame_num: int


@dataclass
class _Stream:
    caps: Any = None
    matrix: str = "bt601"
    has_ended: bool = False
    eos_told: bool = False


class StreamMux(Checked, Gst.Element):
    """The element. One thread of its own pushes; the streams' threads wait for room."""

    NAME = "nvstreammux"
    KLASS = "Video/Muxer"
    __gtype_name__ = "DoubleNvStreamMux"
    __gproperties__ = properties_of(NAME)

    def __init__(self) -> None:
        super().__init__()
        self.start()
        self.src = Gst.Pad.new_from_template(self.TEMPLATES["src"], "src")
        self.src.set_query_function_full(answered)
        self.add_pad(self.src)
        self._streams: dict[int, _Stream] = {}
        # The real element counts on when a pad is asked for again.
        self._received: dict[int, int] = {}
        self._fifo: list[_Waiting] = []
        self._changed = threading.Condition()
        self._running = False
        self._thread: threading.Thread | None = None
        self._outstanding = 0
        self._pool_lock = threading.Lock()
        self._has_pushed = False
        self._flow = Gst.FlowReturn.OK

    # Pads.

    def do_request_new_pad(self, template: Any, name: str | None, caps: Any) -> Any:
        if not name or not name.startswith("sink_"):
            violation(f"nvstreammux has pads sink_<number>, not {name}")
            return None
        index = int(name.removeprefix("sink_"))
        with self._changed:
            if index in self._streams:
                violation(f"pad {name} of nvstreammux is in use")
                return None
            self._streams[index] = _Stream()
        pad = Gst.Pad.new_from_template(template, name)
        pad.set_chain_function_full(lambda pad, parent, buffer: self._chain(index, buffer))
        pad.set_event_function_full(lambda pad, parent, event: self._event(index, event))
        pad.set_query_function_full(answered)
        pad.set_active(True)
        self.add_pad(pad)
        return pad

    def do_release_pad(self, pad: Any) -> None:
        index = int(pad.get_name().removeprefix("sink_"))
        with self._changed:
            # What it sent before stays in the queue: frames of a stream that is gone still come out.
            self._streams.pop(index, None)
            self._changed.notify_all()
        pad.set_active(False)
        self.remove_pad(pad)

    def _event(self, index: int, event: Any) -> bool:
        with self._changed:
            stream = self._streams.get(index)
            if stream is None:
                return False
            if event.type == Gst.EventType.CAPS:
                stream.caps = event.parse_caps()
                stream.matrix = colour.matrix_of(stream.caps)
            elif event.type == Gst.EventType.EOS:
                stream.has_ended = True
                self._changed.notify_all()
        if event.type == Gst.EventType.EOS and not STATE.eos_late:
            self._tell_end(index)
        return True

    def _tell_end(self, index: int) -> None:
        with self._changed:
            stream = self._streams.get(index)
            if stream is None or stream.eos_told:
                return
            stream.eos_told = True
        structure = Gst.Structure.new_empty("stream-eos")
        structure.set_value("stream-id", GObject.Value(GObject.TYPE_UINT, index))
        self.post_message(Gst.Message.new_element(self, structure))

    @guarded
    def _chain(self, index: int, buffer: Any) -> Any:
        stream = self._streams[index]
        structure = stream.caps.get_structure(0)
        width, height = structure.get_value("width"), structure.get_value("height")
        if structure.get_value("format") != "NV12":
            raise violation(f"the double's nvstreammux takes NV12, not {structure.get_value('format')}")
        nv12 = colour.packed(buffer, stream.caps)
        pts = buffer.pts
        del buffer
        with self._changed:
            number = self._received.get(index, 0)
            self._received[index] = number + 1
            if index in STATE.swallow and number % 3 == 1:
                return Gst.FlowReturn.OK
            while self._running and len(self._fifo) >= 2 * self.value("batch-size"):
                self._changed.wait()
            if not self._running:
                return Gst.FlowReturn.FLUSHING
            self._fifo.append(_Waiting(index, nv12, width, height, pts, stream.matrix, number))
            self._changed.notify_all()
        return self._flow

    # Batches.

    def do_change_state(self, transition: Any) -> Any:
        if transition == Gst.StateChange.READY_TO_PAUSED:
            for name in ("width", "height", "batch-size"):
                if not self.value(name):
                    violation(f"nvstreammux: {name} must be set")
                    self.fail(f"{name} must be set")
                    return Gst.StateChangeReturn.FAILURE
        if transition == Gst.StateChange.PAUSED_TO_READY:
            # Before the pads are closed, which waits for the streams' threads.
            with self._changed:
                self._running = False
                self._fifo.clear()
                self._changed.notify_all()
        result = Gst.Element.do_change_state(self, transition)
        if transition == Gst.StateChange.READY_TO_PAUSED:
            self._running = True
            self._thread = threading.Thread(target=self._push_all, name="double-mux", daemon=True)
            self._thread.start()
        elif transition == Gst.StateChange.PAUSED_TO_READY and self._thread is not None:
            self._thread.join(10)
        return result

    def _push_all(self) -> None:
        while self._running:
            frames = self._gather()
            if frames:
                self._push(frames)
            if STATE.eos_late:
                self._tell_ends()
            if self._all_ended():
                if not self.value("drop-pipeline-eos"):
                    self.src.push_event(Gst.Event.new_eos())
                    return
                with self._changed:
                    if self._all_ended():
                        self._changed.wait(0.01)

    def _tell_ends(self) -> None:
        with self._changed:
            waiting = {frame.pad_index for frame in self._fifo}
            ended = [index for index, stream in self._streams.items() if stream.has_ended and index not in waiting]
        for index in ended:
            self._tell_end(index)

    def _all_ended(self) -> bool:
        with self._changed:
            streams = self._streams.values()
            return bool(streams) and not self._fifo and all(stream.has_ended for stream in streams)

    def _gather(self) -> list[_Waiting]:
        """Wait for a batch and take it, in the order in which its frames came."""
        size, timeout_us = self.value("batch-size"), self.value("batched-push-timeout")
        with self._changed:
            while self._running and not self._fifo:
                if not self._changed.wait(0.05) and (self._ended_locked() or STATE.eos_late):
                    return []
            deadline = None if timeout_us < 0 else time.monotonic() + timeout_us / 1e6
            while self._running:
                live = sum(not stream.has_ended for stream in self._streams.values())
                # A batch that asks for more frames than there are streams waits its whole time.
                is_full = len(self._ready()) >= size and (size <= live or len(self._fifo) >= 2 * size)
                left = None if deadline is None else deadline - time.monotonic()
                if is_full or (left is not None and left <= 0) or (deadline is None and not live):
                    break
                self._changed.wait(left)
            taken = self._ready()[:size]
            for frame in taken:
                self._fifo.remove(frame)
            self._changed.notify_all()
            return taken

    def _ended_locked(self) -> bool:
        return bool(self._streams) and all(stream.has_ended for stream in self._streams.values())

    def _ready(self) -> list[_Waiting]:
        """Return the frames that one batch may hold: of a live source at most one."""
        if not self.value("live-source"):
            return self._fifo
        first: dict[int, _Waiting] = {}
        for frame in self._fifo:
            first.setdefault(frame.pad_index, frame)
        return list(first.values())

    def _push(self, frames: list[_Waiting]) -> None:
        if not self._has_pushed:
            self._has_pushed = True
            caps = (
                f"video/x-raw(memory:NVMM), format=NV12, width={self.value('width')}, height={self.value('height')},"
                f" framerate=30/1, batch-size={self.value('batch-size')}, num-surfaces-per-frame=1"
            )
            segment = Gst.Segment()
            segment.init(Gst.Format.TIME)
            self.src.push_event(Gst.Event.new_stream_start("double-mux"))
            self.src.push_event(Gst.Event.new_caps(Gst.Caps.from_string(caps)))
            self.src.push_event(Gst.Event.new_segment(segment))
        memory = resolved_memory_type(self.value("nvbuf-memory-type"))
        batch = Batch([], [], self.value("batch-size"))
        for batch_id, frame in enumerate(frames):
            batch.surfaces.append(self._surface(frame, memory))
            batch.frames.append(
                FrameRecord(
                    frame.pad_index, frame.pad_index, batch_id, frame.frame_num, frame.pts, frame.width, frame.height
                )
            )
        STATE.batches.append(tuple(frame.pad_index for frame in frames))
        with self._changed:
            while self._running and self._outstanding >= self.value("buffer-pool-size"):
                self._changed.wait(0.1)
            with self._pool_lock:
                self._outstanding += 1
        batch.on_gone.append(self._returned)
        buffer = Gst.Buffer.new_allocate(None, 8, None)
        buffer.pts = frames[0].pts
        attach(buffer, batch)
        flow = self.src.push(buffer)
        del buffer
        if flow not in (Gst.FlowReturn.OK, Gst.FlowReturn.FLUSHING):
            self._flow = flow

    def _returned(self) -> None:
        # Called when a buffer is freed, in any thread, which may hold the condition: only this lock is taken.
        with self._pool_lock:
            self._outstanding -= 1

    def _surface(self, frame: _Waiting, memory: int) -> Surface:
        width, height = self.value("width"), self.value("height")
        nv12 = frame.nv12
        if (frame.width, frame.height) != (width, height):
            if self.value("enable-padding"):
                scale = min(width / frame.width, height / frame.height)
                size = int(frame.width * scale), int(frame.height * scale)
                nv12 = colour.placed(colour.scaled(nv12, frame.width, frame.height, size), size, (width, height))
            else:
                nv12 = colour.scaled(nv12, frame.width, frame.height, (width, height))
        return Surface(nv12, "NV12", width, height, memory, frame.matrix)
