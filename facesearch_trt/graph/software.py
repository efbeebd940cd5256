"""Decodes a video on the CPU: GStreamer with software decoders alone.

Which element decodes is decided here, from the plugins that are known to run on the CPU, so that a machine with a GPU
decodes the same pictures as one without. Audio and subtitles are never decoded.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import cv2

from ..errors import DecodeError
from ..types import Array, Frame
from .buffers import mapped
from .clip_source import ClipSource, Taken
from .gst import codec_name, gstreamer
from .orientation import upright
from .pixel_aspect import evened, pixel_aspect
from .plug import best_factory

__all__ = ["SoftwareSource", "bgr_of", "decoder_element", "package_of", "software_decoder"]

log = logging.getLogger(__name__)

_SOFTWARE_PLUGINS = {
    "libav",
    "aom",
    "dav1d",
    "de265",
    "jpeg",
    "openh264",
    "openjpeg",
    "png",
    "rsdav1d",
    "svtav1",
    "theora",
    "vpx",
    "webp",
}
"""Plugins whose decoders run on the CPU. A list of what is allowed: hardware decoders do not all say what they are."""

_PACKAGE_OF = {
    "video/x-av1": "gstreamer1.0-plugins-bad",
    "video/x-vp8": "gstreamer1.0-plugins-good",
    "video/x-vp9": "gstreamer1.0-plugins-good",
    "image/jpeg": "gstreamer1.0-plugins-good",
    "video/x-theora": "gstreamer1.0-plugins-base",
}
_FALLBACK_PACKAGE = "gstreamer1.0-libav"

_DECODER_THREADS = max(1, min(4, os.cpu_count() or 1))
"""More than 4 gain little on one clip and each holds frames; with more cores several clips are decoded at once."""


class SoftwareSource(ClipSource[Array]):
    """The frames of one video, decoded on the CPU; see :class:`.clip_source.ClipSource`."""

    graph = "software"

    def _conversion(self) -> str:
        return "videoconvert ! video/x-raw,format=BGRx"

    def _decoder_for(self, caps: Any) -> Any:
        return decoder_element(caps, self._path)

    def _take(self, sample: Any, orientation: str) -> Array:
        return bgr_of(sample, orientation)

    def _frames(self, taken: Iterator[Taken[Array]]) -> Iterator[Frame]:
        for one in taken:
            yield Frame(one.frame_num, one.pts_s, one.picture.shape[1], one.picture.shape[0], one.picture)


def software_decoder(caps: Any) -> Any | None:
    """Return the factory of the decoder that is taken for a stream's caps, None where the CPU has none."""
    return best_factory(gstreamer().ELEMENT_FACTORY_TYPE_DECODER, caps, _SOFTWARE_PLUGINS)


def package_of(media_type: str) -> str:
    """Return the Debian or Ubuntu package with a software decoder for a media type (``video/x-vp9``)."""
    return _PACKAGE_OF.get(media_type, _FALLBACK_PACKAGE)


def decoder_element(caps: Any, where: object) -> Any:
    """Return a new decoder for a stream's caps. Raises DecodeError, naming ``where``, where the CPU has none."""
    factory = software_decoder(caps)
    if factory is None:
        package = package_of(caps.get_structure(0).get_name())
        raise DecodeError(
            f"there is no software decoder for {codec_name(caps)}",
            where=where,
            remedy=f"Install it: apt-get install {package}. Where that is done, convert the clip, to H.264 in MP4 for example.",
        )
    log.debug("%s: decoded by %s", where, factory.get_name())
    decoder = factory.create(None)
    for name, value in (("max-threads", _DECODER_THREADS), ("threads", _DECODER_THREADS), ("max-errors", -1)):
        if decoder.find_property(name) is not None:
            decoder.set_property(name, value)
    return decoder


def bgr_of(sample: Any, orientation: str) -> Array:
    """Return a BGRx sample's picture, uint8 [H, W, 3] BGR, upright, with square pixels and read-only.

    BGRx with the fourth byte cut off by OpenCV costs 0.6 of a conversion to BGR by GStreamer, and that cut is the one
    copy which lets the buffer go back to its pool at once, however long the picture lives.
    """
    caps = sample.get_caps()
    structure = caps.get_structure(0)
    width, height = structure.get_value("width"), structure.get_value("height")
    with mapped(sample.get_buffer()) as content:
        # Rows of four-byte pixels need no padding, so none is looked for.
        image = cv2.cvtColor(content.reshape(height, width, 4), cv2.COLOR_BGRA2BGR)
    image = upright(evened(image, pixel_aspect(caps)), orientation)
    image.flags.writeable = False
    return image
