"""The module ``pyservicemaker``: the contract's names, over the elements of the double."""

from __future__ import annotations

import itertools
import threading
import types
from typing import Any

from gi.repository import Gst

from .contract import contract
from .maker_metadata import Handling, batch_metadata, buffer_of
from .memory import batch_of
from .rules import violation


class BatchMetadataOperator:
    """To be overridden."""

    def handle_metadata(self, batch_meta: Any) -> None:
        raise NotImplementedError


class BufferOperator:
    """To be overridden."""

    def handle_buffer(self, buffer: Any) -> bool:
        raise NotImplementedError


class Probe:
    """An operator with a name, to be attached to an element."""

    def __init__(self, name: str, operator: Any) -> None:
        if type(name) is not str or not isinstance(operator, BatchMetadataOperator | BufferOperator):
            raise violation("Probe takes a name and a BatchMetadataOperator or BufferOperator")
        self._operator = operator

    def _arrived(self, _: Any, info: Any) -> Any:
        """Call the operator. An exception or another answer than a bool would end the process: it crosses C++."""
        buffer = info.get_buffer()
        batch = batch_of(hash(buffer))
        handling = Handling()
        keep: Any = True
        try:
            if isinstance(self._operator, BufferOperator):
                keep = self._operator.handle_buffer(buffer_of(handling, buffer, batch))
            elif batch is not None:
                self._operator.handle_metadata(batch_metadata(handling, batch))
            else:
                violation("there is no batch metadata in front of nvstreammux")
        except BaseException as error:
            violation(f"an exception left a handler: {error!r}")
        finally:
            handling.is_open = False
        if type(keep) is not bool:
            violation(f"handle_buffer returned {keep!r}, not a bool")
        return Gst.PadProbeReturn.OK if keep else Gst.PadProbeReturn.DROP


class Pipeline:
    """Builds a pipeline by names, runs it, and tells nothing of its errors but that it has ended."""

    def __init__(self, name: str, config_file: str | None = None) -> None:
        self._probes: list[tuple[Any, int]] = []
        if config_file is not None:
            raise NotImplementedError("the double has no configuration files for pipelines")
        self._pipeline = Gst.Pipeline.new(name)
        self._elements: dict[str, Any] = {}
        self._ended = threading.Event()
        self._started = False
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        if name in contract()["pyservicemaker"]["classes"]["Pipeline"]["methods"]:
            raise NotImplementedError(f"the double has no Pipeline.{name}")
        violation(f"pyservicemaker.Pipeline has no {name}")
        raise AttributeError(f"'Pipeline' object has no attribute {name!r}")

    def add(self, type_name: str, name: str, properties: dict[str, Any] | None = None) -> Pipeline:
        if name in self._elements:
            raise violation(f"there is an element {name} already")
        element = Gst.ElementFactory.make(type_name, name)
        if element is None:
            raise RuntimeError(f"Element creation failed: {type_name}")
        for key, value in (properties or {}).items():
            if not isinstance(value, bool | int | float | str):
                raise violation(f"{type_name}: {key} is given a {type(value).__name__}")
            if element.find_property(key) is None:
                raise violation(f"{type_name} has no property {key}")
            element.set_property(key, Gst.Caps.from_string(value) if key == "caps" else value)
        self._pipeline.add(element)
        self._elements[name] = element
        return self

    def link(self, *names: Any) -> Pipeline:
        if len(names) == 2 and all(isinstance(one, tuple) for one in names):
            (source, target), (out, into) = names
            self._link(source, target, out, into)
        else:
            for source, target in itertools.pairwise(names):
                self._link(source, target, "", "")
        return self

    def _link(self, source: str, target: str, out: str, into: str) -> None:
        one, other = self._elements[source], self._elements[target]
        if not out and one.get_static_pad("src") is None:
            raise violation(f"{source} has no pad yet: say which one is to be linked")
        if not out:
            if into and other.get_pad_template(into) is None:
                raise violation(f"{target} has no pad {into}")
            # sink_0 for the first sink_%u.
            pad = other.request_pad_simple(into.replace("%u", "0")) if into else other.get_static_pad("sink")
            if one.get_static_pad("src").link(pad) != Gst.PadLinkReturn.OK:
                raise RuntimeError(f"cannot link {source} to {target}")
            return
        if one.get_pad_template(out) is None:
            raise violation(f"{source} has no pad {out}")
        prefix = out.removesuffix("%u")

        def added(_: Any, pad: Any) -> None:
            sink = other.get_static_pad("sink")
            if pad.get_name().startswith(prefix) and not sink.is_linked():
                pad.link(sink)

        one.connect("pad-added", added)

    def attach(self, target: str, what: Any) -> Pipeline:
        if not isinstance(what, Probe):
            raise violation("the double attaches a Probe only")
        pad = self._elements[target].get_static_pad("src")
        self._probes.append((pad, pad.add_probe(Gst.PadProbeType.BUFFER, what._arrived)))
        return self

    def __del__(self) -> None:
        # The operators live as long as the pipeline, the double's elements longer.
        for pad, probe in self._probes:
            pad.remove_probe(probe)

    def start(self) -> Pipeline:
        if self._started:
            raise violation("a pipeline is started once")
        self._started = True
        # A pipeline that does not start has ended; why is printed, not raised.
        if self._pipeline.set_state(Gst.State.PLAYING) == Gst.StateChangeReturn.FAILURE:
            self._ended.set()
        return self

    def wait(self) -> Pipeline:
        bus = self._pipeline.get_bus()
        over = Gst.MessageType.ERROR | Gst.MessageType.EOS
        while not self._ended.is_set():
            if bus.timed_pop_filtered(20 * Gst.MSECOND, over) is not None:
                break
        self._stop()
        return self

    def deactivate(self) -> Pipeline:
        if not self._started:
            raise violation("a pipeline is deactivated that was not started")
        self._stop()
        return self

    def _stop(self) -> None:
        self._ended.set()
        with self._lock:
            self._pipeline.set_state(Gst.State.NULL)


class Module(types.ModuleType):
    """Says which name was asked for where it has none."""

    def __getattr__(self, name: str) -> Any:
        if name in contract()["pyservicemaker"]["classes"]:
            raise NotImplementedError(f"the double has no pyservicemaker.{name}")
        if not name.startswith("__"):
            violation(f"pyservicemaker has no {name}")
        raise AttributeError(f"module 'pyservicemaker' has no attribute {name!r}")


def _build() -> Any:
    module = Module("pyservicemaker")
    for one in (Pipeline, Probe, BatchMetadataOperator, BufferOperator):
        assert one.__name__ in contract()["pyservicemaker"]["classes"]
        setattr(module, one.__name__, one)
    return module


MODULE: Any = _build()
