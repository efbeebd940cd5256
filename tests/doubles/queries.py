"""How pads of the doubles' elements answer queries."""

from __future__ import annotations

from typing import Any

import gi

gi.require_version("Gst", "1.0")

from gi.repository import Gst  # noqa: E402


def answered(pad: Any, parent: Any, query: Any) -> bool:
    """Answer caps queries from the pad's template; everything else is the default."""
    if query.type == Gst.QueryType.CAPS:
        caps, wanted = pad.get_pad_template_caps(), query.parse_caps()
        query.set_caps_result(caps if wanted is None else wanted.intersect(caps))
        return True
    if query.type == Gst.QueryType.ACCEPT_CAPS:
        query.set_accept_caps_result(query.parse_accept_caps().can_intersect(pad.get_pad_template_caps()))
        return True
    if query.type == Gst.QueryType.ALLOCATION:
        return False
    return bool(pad.query_default(parent, query))
