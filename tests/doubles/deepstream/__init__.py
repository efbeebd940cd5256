"""A strict double of DeepStream, made from the contract file alone.

Its elements carry NVIDIA's names, pads, caps and properties, and do their work with software decoding and ONNX
Runtime; its ``pyds`` has the contract's functions, classes and fields, its ``pyservicemaker`` the contract's classes.
It is there to catch what would fail on the real thing, so it raises where that would crash, stall or lie: see
:mod:`.rules`. What is not in the contract it does not know.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import gi

gi.require_version("Gst", "1.0")

from gi.repository import Gst  # noqa: E402

Gst.init(None)

from . import bindings, rules, servicemaker  # noqa: E402
from .elements import declare  # noqa: E402
from .rules import STATE, ContractViolation, State  # noqa: E402

__all__ = ["STATE", "ContractViolation", "State", "installed", "pyds", "pyservicemaker"]

pyds: Any = bindings.MODULE
pyservicemaker: Any = servicemaker.MODULE


def _classes() -> list[Any]:
    from .decoder import Decoder, UriSource
    from .infer import Infer
    from .streammux import StreamMux
    from .videoconvert import VideoConvert

    return [Decoder, UriSource, StreamMux, VideoConvert, Infer]


_features: list[Any] = []
_ABSENT: Any = object()


@contextmanager
def installed(*, jetson: bool = False, apis: Collection[str] = ("pyds",)) -> Iterator[State]:
    """Put the elements into GStreamer's registry and Python APIs (``pyds``, ``pyservicemaker``) into Python's modules, for
    a while.

    Leaving it checks that nothing broke the contract, also where GStreamer swallowed the exception.
    """
    # What errors of earlier tests hold, over their tracebacks: buffers too.
    gc.collect()
    rules.reset()
    STATE.jetson = jetson
    registry = Gst.Registry.get()
    if _features:
        for feature in _features:
            registry.add_feature(feature)
    else:
        _features.extend(declare(cls, getattr(cls, "RANK", Gst.Rank.NONE)) for cls in _classes())
    # None makes an import fail.
    modules: dict[str, Any] = dict.fromkeys(("pyds", "pyservicemaker"))
    modules.update({name: {"pyds": pyds, "pyservicemaker": pyservicemaker}[name] for name in apis})
    before = {name: sys.modules.get(name, _ABSENT) for name in modules}
    sys.modules.update(modules)
    try:
        yield STATE
    finally:
        for name, module in before.items():
            if module is _ABSENT:
                del sys.modules[name]
            else:
                sys.modules[name] = module
        for feature in _features:
            registry.remove_feature(feature)
    assert not STATE.violations, f"the contract was broken: {STATE.violations}"
