"""Network cameras: their addresses, and the way from RTSP to a decoder."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from ..errors import DecodeError, InputError
from .elements import element
from .gst import gstreamer
from .plug import Plug, best_factory

__all__ = ["CameraPlug", "camera_error", "checked_address", "without_password"]

_SCHEMES = ("rtsp", "rtsps")
_TCP = "tcp+tls"
"""Over UDP a lost packet tears the picture."""


def checked_address(uri: str) -> str:
    """Return a camera's address. Raises InputError, which shows no password, where it is none that can be opened."""
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        parts = None
    if parts is None or "#" in uri:
        raise InputError(
            "the address of a camera ends within its name and password, or its port is no number",
            remedy="Write these signs there as they are written in addresses: # %23, / %2F, ? %3F, @ %40, : %3A, [ %5B, ] %5D.",
        )
    if parts.scheme not in _SCHEMES or not parts.hostname:
        shown = without_password(uri)
        raise InputError(
            "this is no address of a camera",
            asked=None if "@" in shown else shown,
            remedy="Give it as rtsp://HOST[:PORT]/PATH or rtsps://…; a name and password go before the host: rtsp://NAME:PASSWORD@HOST/PATH.",
        )
    return uri


def without_password(uri: str) -> str:
    """Return an address as it may be shown and kept: without name and password."""
    return re.sub(r"(?<=//)[^/]*@", "", uri)


def camera_error(error: DecodeError) -> DecodeError:
    """Return what to tell of a camera whose graph failed with ``error``."""
    return DecodeError(
        "the camera cannot be read",
        where=error.where,
        found=error.found or error.what,
        remedy="Check the address, name and password, and that it plays elsewhere.",
    )


class CameraPlug(Plug):
    """Links ``rtspsrc ! depayloader ! parser ! decoder ! after``; the parameters are those of :class:`Plug`."""

    def __init__(
        self,
        pipeline: Any,
        uri: str,
        *,
        latency_ms: int,
        decoder_for: Callable[[Any], Any],
        after: Any,
        fail: Callable[[Exception], None],
    ) -> None:
        super().__init__(pipeline, decoder_for=decoder_for, after=after, fail=fail)
        properties = {"location": uri, "latency": latency_ms}
        source = self._add(
            element("rtspsrc", None, properties, remedy="Install it: apt-get install gstreamer1.0-plugins-good.")
        )
        gstreamer().util_set_object_arg(source, "protocols", _TCP)
        self._connect(source, "pad-added", lambda _, pad: self._found_packets(pad))

    def _found_packets(self, pad: Any) -> None:
        caps = pad.get_current_caps() or pad.query_caps(None)
        structure = caps.get_structure(0)
        if structure.get_value("media") != "video" or self.linked_caps is not None:
            self.others.append(str(structure.get_value("encoding-name")))
            return
        factory = best_factory(gstreamer().ELEMENT_FACTORY_TYPE_DEPAYLOADER, caps)
        if factory is None:
            raise DecodeError("its packets cannot be read", found=structure.get_value("encoding-name"))
        depayloader = self._add(factory.create(None))
        coded = depayloader.get_static_pad("src")
        self._found_stream(coded, coded.query_caps(None))
        depayloader.sync_state_with_parent()
        pad.link(depayloader.get_static_pad("sink"))
