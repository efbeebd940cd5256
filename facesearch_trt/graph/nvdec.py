"""Which streams NVIDIA's decoder takes: as its GStreamer element says, and where that says little, as the hardware does."""

from __future__ import annotations

from typing import Any

from .gst import gstreamer
from .plug import without_framing

__all__ = ["form_of", "is_usual", "takes"]

_USUAL = "4:2:0"
_COMMON: dict[str, tuple[tuple[str, ...], int]] = {
    "video/x-h264": ((_USUAL,), 8),
    "video/x-h265": ((_USUAL, "4:4:4"), 12),
    "video/x-vp9": ((_USUAL,), 12),
    "video/x-av1": ((_USUAL,), 10),
}
"""Media type → chroma formats and largest depth in bits that NVDEC decodes on its generations from Turing to Ada, after the table of
the Video Codec SDK's guide to NVDEC. Blackwell decodes more, which only an element that lists profiles tells of."""


def takes(factory: Any, caps: Any) -> bool:
    """Return whether a decoder takes a stream.

    Parameters
    ----------
    factory: of an element on NVDEC.
    caps: of the coded stream, as its parser says.
    """
    gst = gstreamer()
    wanted = without_framing(caps)
    for template in factory.get_static_pad_templates():
        if template.direction != gst.PadDirection.SINK:
            continue
        offered = template.get_caps()
        for index in range(offered.get_size()):
            structure = offered.get_structure(index)
            alone = gst.Caps.new_empty()
            alone.append_structure(structure.copy())
            if alone.can_intersect(wanted) and (structure.has_field("profile") or _is_common(caps)):
                return True
    return False


def is_usual(caps: Any) -> bool:
    """Return whether a coded stream's pictures are of 8 bits and 4:2:0, as nearly all are; what its caps leave open counts as such."""
    return _within(caps, (_USUAL,), 8)


def form_of(caps: Any) -> str:
    """Return for people what is not usual about a coded stream's pictures: ``4:2:2, 10 bits``; empty where nothing is or is known."""
    structure = caps.get_structure(0)
    if is_usual(caps):
        return ""
    return f"{structure.get_value('chroma-format')}, {structure.get_value('bit-depth-luma')} bits"


def _is_common(caps: Any) -> bool:
    limits = _COMMON.get(caps.get_structure(0).get_name())
    return limits is None or _within(caps, *limits)


def _within(caps: Any, chroma: tuple[str, ...], bits: int) -> bool:
    structure = caps.get_structure(0)
    depths = (structure.get_value(field) for field in ("bit-depth-luma", "bit-depth-chroma"))
    # A picture without colours has no depth of theirs, and its format is "4:0:0".
    return structure.get_value("chroma-format") in (None, *chroma) and all((depth or 0) <= bits for depth in depths)
