"""A network camera's pictures: RTSP, decoded on the CPU."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from ..errors import DecodeError, InputError
from ..types import Array
from .buffers import pts_s_of
from .elements import element
from .gst import Graph, gstreamer, launch
from .plug import Plug, best_factory
from .software import bgr_of, decoder_element

__all__ = ["camera_pictures", "checked_address", "without_password"]

_SCHEMES = ("rtsp", "rtsps")
_AHEAD = 4
"""Frames between the decoder and whoever takes them."""
_TCP = "tcp+tls"
"""Over UDP a lost packet tears the picture."""


def checked_address(uri: str) -> str:
    """Return a camera's address. Raises InputError where it is none that can be opened."""
    parts = urlsplit(uri)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise InputError(
            "this is no address of a camera",
            asked=without_password(uri),
            remedy="Give it as rtsp://HOST[:PORT]/PATH or rtsps://…; a name and password go before the host: rtsp://NAME:PASSWORD@HOST/PATH.",
        )
    return uri


def without_password(uri: str) -> str:
    """Return an address as it may be shown and kept: without name and password."""
    return re.sub(r"(?<=//)[^/]*@", "", uri)


def camera_pictures(uri: str, *, stall_timeout_s: float, latency_ms: int) -> Iterator[tuple[Array, float]]:
    """Yield a camera's pictures, uint8 [H, W, 3] BGR read-only, and their times in seconds, until the camera ends.

    Times count from the beginning of the connection. The caller must take the pictures as they come: one who is slow
    makes the camera's own buffers overflow.

    Parameters
    ----------
    stall_timeout_s: seconds without a picture after which the connection is given up.
    latency_ms: of the jitter buffer.

    Raises DecodeError where the camera cannot be reached, has no video or sends what cannot be decoded, and StallError.
    """
    where = without_password(uri)
    pipeline = launch(
        f"queue name=decoded max-size-buffers={_AHEAD} max-size-bytes=0 max-size-time=0"
        " ! videoconvert ! video/x-raw,format=BGRx"
        f" ! appsink name=sink sync=false async=false qos=false enable-last-sample=false drop=false max-buffers={_AHEAD}"
    )
    graph = Graph(pipeline, where=where, stall_timeout_s=stall_timeout_s)
    plug = _CameraPlug(
        pipeline,
        uri,
        latency_ms=latency_ms,
        decoder_for=lambda caps: decoder_element(caps, where),
        after=pipeline.get_by_name("decoded"),
        fail=graph.fail,
    )
    sink = pipeline.get_by_name("sink")
    # Closed in the opposite order: nothing is linked any more while the graph stops.
    with graph, contextlib.closing(plug):
        time_s = 0.0
        while (sample := _next(graph, sink, plug)) is not None:
            time_s = max(time_s, pts_s_of(sample) or 0.0)
            image = bgr_of(sample, "none")
            # The sample holds the buffer, which the converter could use for its next frame.
            del sample
            yield image, time_s
        if plug.linked_caps is None:
            raise DecodeError("the camera sends no video", where=where, found=", ".join(plug.others) or None)


def _next(graph: Graph, sink: Any, plug: Plug) -> Any:
    try:
        return graph.pull(sink, hopeless=lambda: plug.linked_caps is None)
    except DecodeError as error:
        raise DecodeError(
            "the camera cannot be read",
            where=error.where,
            found=error.found or error.what,
            remedy="Check the address, name and password, and that it plays elsewhere.",
        ) from error


class _CameraPlug(Plug):
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
