"""Builds elements from the contract: their properties, pads and caps, and nothing beyond."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")

from gi.repository import GLib, GObject, Gst  # noqa: E402

from tests.doubles.queries import answered  # noqa: E402

from . import contract  # noqa: E402
from .rules import STATE, ContractViolation, violation  # noqa: E402

_TYPES = {
    "boolean": GObject.TYPE_BOOLEAN,
    "enum": GObject.TYPE_INT,
    "int": GObject.TYPE_INT,
    "uint": GObject.TYPE_UINT,
    "uint64": GObject.TYPE_UINT64,
    "string": GObject.TYPE_STRING,
}


def properties_of(name: str) -> dict[str, tuple[Any, ...]]:
    """Return an element's properties as PyGObject declares them. Pointers and unknown types are left out."""
    declared: dict[str, tuple[Any, ...]] = {}
    for key, facts in contract.element(name)["properties"].items():
        if facts["type"] not in _TYPES:
            continue
        kind, default = facts["type"], facts.get("initial_value", facts.get("default"))
        flags = GObject.ParamFlags.READWRITE if facts.get("writable", True) else GObject.ParamFlags.READABLE
        limits: tuple[Any, ...] = ()
        if kind == "enum":
            limits = (min(facts["enum"].values()), max(facts["enum"].values()), default)
        elif kind in ("int", "uint", "uint64"):
            limits = (facts["min"], facts["max"], default)
        else:
            limits = (default if kind == "string" else bool(default),)
        declared[key] = (_TYPES[kind], key, key, *limits, flags)
    return declared


def templates_of(name: str) -> dict[str, Any]:
    """Return an element's pad templates by name, for this machine (x86 or Jetson)."""
    platform = "jetson" if STATE.jetson else "dgpu"
    directions = {"sink": Gst.PadDirection.SINK, "src": Gst.PadDirection.SRC}
    presences = {
        "always": Gst.PadPresence.ALWAYS,
        "request": Gst.PadPresence.REQUEST,
        "sometimes": Gst.PadPresence.SOMETIMES,
    }
    return {
        key: Gst.PadTemplate.new(
            key,
            directions[facts["direction"]],
            presences[facts["presence"]],
            _caps(facts["caps"] if "caps" in facts else facts["caps_by_platform"][platform]),
        )
        for key, facts in contract.element(name)["pads"].items()
    }


def _caps(structures: list[dict[str, Any]]) -> Any:
    return Gst.Caps.from_string("; ".join(_structure(facts) for facts in structures))


def _structure(facts: dict[str, Any]) -> str:
    parts = [facts["media"] + (f"({', '.join(facts['features'])})" if facts["features"] else "")]
    if "formats" in facts and facts["formats"] != ["ANY"]:
        parts.append(f"format={{ {', '.join(facts['formats'])} }}")
    for key in ("stream-format", "alignment"):
        if key in facts:
            parts.append(f"{key}={{ {', '.join(facts[key])} }}")
    if "mpegversion" in facts:
        parts.append(f"mpegversion={{ {', '.join(map(str, facts['mpegversion']))} }}")
    return ", ".join(parts)


class Checked:
    """What every element of the double has: properties that obey the contract, and a way to fail aloud."""

    NAME = ""

    def start(self) -> None:
        """Keep the properties' values; call it in ``__init__``."""
        self._values: dict[str, Any] = {}

    def value(self, name: str) -> Any:
        """Return a property's value."""
        if name in self._values:
            return self._values[name]
        facts = contract.element(self.NAME)["properties"][name]
        return facts.get("initial_value", facts.get("default"))

    def do_get_property(self, spec: Any) -> Any:
        return self.value(spec.name)

    def do_set_property(self, spec: Any, value: Any) -> None:
        facts = contract.element(self.NAME)["properties"][spec.name]
        if facts["type"] == "enum" and value not in facts["enum"].values():
            raise violation(f"{self.NAME}: {spec.name} has no value {value}")
        if facts.get("platform", "all") not in ("all", "jetson" if STATE.jetson else "dgpu"):
            raise violation(f"{self.NAME} has {spec.name} on {facts['platform']} only")
        _, state, _ = self.get_state(0)  # type: ignore[attr-defined]
        if facts.get("mutable") == "ready" and state > Gst.State.READY:
            raise violation(f"{self.NAME}: {spec.name} cannot be changed while the pipeline runs")
        self._values[spec.name] = value

    def fail(self, text: str) -> None:
        """Post an error as GStreamer's elements do."""
        quark = GLib.quark_from_string("gst-stream-error-quark")
        error = GLib.Error.new_literal(quark, text, 1)
        self.post_message(Gst.Message.new_error(self, error, f"{self.NAME}(1): f (): /x:\n{text}"))  # type: ignore[attr-defined]


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn an exception of a streaming method into an error on the bus and a flow return."""

    @functools.wraps(function)
    def run(self: Any, *arguments: Any) -> Any:
        try:
            return function(self, *arguments)
        except ContractViolation as error:
            self.fail(str(error))
        except Exception as error:
            violation(f"the double's {self.NAME} failed: {error!r}")
            self.fail(f"{error!r}")
        return Gst.FlowReturn.ERROR

    return run


def declare(cls: type[Any], rank: int = 0) -> Any:
    """Register an element class under its contract name and return its factory."""
    facts = contract.element(cls.NAME)
    cls.set_metadata(f"Double of {cls.NAME}", cls.KLASS, "stands in for DeepStream's element", "tests")
    cls.TEMPLATES = templates_of(cls.NAME)
    for template in cls.TEMPLATES.values():
        cls.add_pad_template(template)
    Gst.Element.register(None, facts.get("factory_name", cls.NAME), rank, cls)
    return Gst.ElementFactory.find(cls.NAME)


class Nvmm(Gst.Element):
    """Helper inside bins of the double: calls what passes NVMM memory, or system memory again; the bytes stay what
    they are.
    """

    __gtype_name__ = "DoubleNvmm"

    def __init__(self) -> None:
        super().__init__()
        self.sink = Gst.Pad.new_from_template(self.TEMPLATES["sink"], "sink")
        self.src = Gst.Pad.new_from_template(self.TEMPLATES["src"], "src")
        self.sink.set_chain_function_full(lambda pad, parent, buffer: self._chain(buffer))
        self.sink.set_event_function_full(self._event)
        self.sink.set_query_function_full(self._query)
        self.add_pad(self.sink)
        self.add_pad(self.src)
        self._width = 0
        self._count = 0

    def _chain(self, buffer: Any) -> Any:
        self._count += 1
        if self._width == STATE.stalling_width and self._count > 2:
            return Gst.FlowReturn.OK
        return self.src.push(buffer)

    def _event(self, pad: Any, parent: Any, event: Any) -> bool:
        if event.type == Gst.EventType.EOS and self._width == STATE.stalling_width:
            return True
        if event.type == Gst.EventType.CAPS:
            caps = event.parse_caps().copy()
            self._width = caps.get_structure(0).get_value("width")
            caps.set_features(0, Gst.CapsFeatures.from_string("memory:NVMM"))
            return self.src.push_event(Gst.Event.new_caps(caps))
        return self.src.push_event(event)

    def _query(self, pad: Any, parent: Any, query: Any) -> bool:
        return answered(pad, parent, query)


Nvmm.TEMPLATES = {
    "sink": Gst.PadTemplate.new(
        "sink", Gst.PadDirection.SINK, Gst.PadPresence.ALWAYS, Gst.Caps.from_string("video/x-raw, format=NV12")
    ),
    "src": Gst.PadTemplate.new(
        "src",
        Gst.PadDirection.SRC,
        Gst.PadPresence.ALWAYS,
        Gst.Caps.from_string("video/x-raw(memory:NVMM), format=NV12"),
    ),
}
Nvmm.set_metadata("NVMM stamp", "Filter", "calls system memory NVMM", "tests")
for _template in Nvmm.TEMPLATES.values():
    Nvmm.add_pad_template(_template)
