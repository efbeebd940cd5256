"""A network camera's frames, decoded on the CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from ..errors import DecodeError
from ..types import Frame
from .buffers import pts_s_of
from .camera import CameraPlug, camera_error, without_password
from .colours import complete_colours
from .gst import Graph, launch
from .software import bgr_of, decoder_element

__all__ = ["software_camera"]

_AHEAD = 4
"""Frames between the decoder and whoever takes them."""


def software_camera(uri: str, *, stall_timeout_s: float, latency_ms: int) -> Generator[Frame, None, None]:
    """Yield a camera's frames until it ends, each with a read-only picture; ``pts_s`` counts from the beginning of the connection.

    The caller must take the frames as they come: one who is slow makes the camera's own buffers overflow.

    Parameters
    ----------
    stall_timeout_s: seconds without a frame after which the connection is given up.
    latency_ms: of the jitter buffer.

    Raises DecodeError where the camera cannot be reached, has no video or sends what cannot be decoded, and StallError.
    """
    where = without_password(uri)
    pipeline = launch(
        f"queue name=decoded max-size-buffers={_AHEAD} max-size-bytes=0 max-size-time=0"
        " ! videoconvert ! video/x-raw,format=BGRx"
        f" ! appsink name=sink sync=false async=false qos=false enable-last-sample=false drop=false max-buffers={_AHEAD}"
    )
    complete_colours(pipeline.get_by_name("decoded").get_static_pad("sink"))
    graph = Graph(pipeline, where=where, stall_timeout_s=stall_timeout_s)
    plug = CameraPlug(
        pipeline,
        uri,
        latency_ms=latency_ms,
        decoder_for=lambda caps: decoder_element(caps, where),
        after=pipeline.get_by_name("decoded"),
        fail=graph.fail,
    )
    sink = pipeline.get_by_name("sink")
    number, pts_s = 0, 0.0
    # Closed in the opposite order: nothing is linked any more while the graph stops.
    with graph, contextlib.closing(plug):
        while True:
            try:
                sample = graph.pull(sink, hopeless=lambda: plug.linked_caps is None)
            except DecodeError as error:
                raise camera_error(error) from error
            if sample is None:
                break
            pts_s = max(pts_s, pts_s_of(sample) or 0.0)
            image = bgr_of(sample, "none")
            # The sample holds the buffer, which the converter could use for its next frame.
            del sample
            yield Frame(number, pts_s, image.shape[1], image.shape[0], image)
            number += 1
        if plug.linked_caps is None:
            raise DecodeError("the camera sends no video", where=where, found=", ".join(plug.others) or None)
