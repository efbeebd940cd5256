"""Makes elements, and says what is missing where one is not there."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import BackendError
from .gst import gstreamer

__all__ = ["element", "has_element", "is_jetson", "link"]


def has_element(factory: str) -> bool:
    """Return whether GStreamer knows an element here."""
    return gstreamer().ElementFactory.find(factory) is not None


def element(factory: str, name: str | None, properties: Mapping[str, object], *, remedy: str | None = None) -> Any:
    """Return a new element with its properties set; ``caps`` may be given as text.

    Raises BackendError where GStreamer has no such element.
    """
    gst = gstreamer()
    made = gst.ElementFactory.make(factory, name)
    if made is None:
        raise BackendError(
            f"GStreamer has no element {factory} here", remedy=remedy or "facesearch doctor lists what is missing."
        )
    for key, value in properties.items():
        made.set_property(key, gst.Caps.from_string(value) if key == "caps" else value)
    return made


def link(elements: list[Any]) -> None:
    """Link elements one after the other. Raises BackendError where two do not fit."""
    for one, other in itertools.pairwise(elements):
        if not one.link(other):
            raise BackendError(f"GStreamer cannot link {one.get_name()} to {other.get_name()}")


def is_jetson() -> bool:
    """Return whether this is a Jetson, whose memory is one for CPU and GPU. A server with an NVIDIA CPU is none."""
    if Path("/etc/nv_tegra_release").exists():
        return True
    compatible = Path("/proc/device-tree/compatible")
    try:
        return b"nvidia,tegra" in compatible.read_bytes()
    except OSError:
        return False
