"""Plugs elements into a pipeline while it plays: from a stream that turned up, over its parser and decoder, to what comes after.

Elements that are plugged by GStreamer's own bins lose errors (see :mod:`.autoplug`); here every error reaches the bus or ``fail``.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Container
from typing import Any

from .gst import codec_name, gstreamer

__all__ = ["Plug", "best_factory", "without_framing"]

_POLL_S = 0.001
_LINKING_S = 10.0
"""How long the linking of an element may take when the pipeline is to be stopped."""
_FRAMING = ("stream-format", "alignment", "parsed", "framed", "codec_data")
"""Fields of caps that a parser may change."""


class Plug:
    """Links ``parser ! decoder ! after`` to the first video stream that turns up.

    Others, sound and subtitles stay unlinked: nothing decodes them.

    Parameters
    ----------
    pipeline: a ``Gst.Bin`` in state NULL that holds ``after``; its sinks, if it has any, have ``async=false``.
    decoder_for: returns a new decoder element for a stream's caps; raises DecodeError where there is none.
    after: the element that gets what the decoder makes.
    fail: told of an error that no element would post on the bus.
    """

    def __init__(
        self, pipeline: Any, *, decoder_for: Callable[[Any], Any], after: Any, fail: Callable[[Exception], None]
    ) -> None:
        self.linked_caps: Any = None
        """Caps of the video stream; None until it is found."""
        self.others: list[str] = []
        """Names of the codings of all other streams."""
        self.further: list[str] = []
        """Codings of the videos beside the first."""
        self.later: list[str] = []
        """Codings of the videos that began in mid-file, when a transport stream changed its programme."""
        self._pipeline = pipeline
        self._decoder_for = decoder_for
        self._after = after
        self._fail = fail
        self._complete = False
        self._closed = False
        self._lock = threading.Lock()
        self._handlers: list[tuple[Any, int]] = []

    def close(self) -> None:
        """Link nothing more; to be called before the pipeline is stopped. A second call does nothing.

        It also breaks the cycle of the pipeline and its callbacks, which Python's collector does not see.
        """
        self._closed = True
        # A callback that is at work is waited for, but not for ever.
        if self._lock.acquire(timeout=_LINKING_S):
            self._lock.release()
        for element, handler in self._handlers:
            element.disconnect(handler)
        self._handlers.clear()
        self._pipeline = self._after = None

    def _connect(self, element: Any, signal: str, callback: Callable[..., None]) -> None:
        def guarded(*args: Any) -> None:
            try:
                if self._has_started():
                    with self._lock:
                        if not self._closed:
                            callback(*args)
            # What a callback of GStreamer raises would be printed and lost.
            except Exception as error:
                self._fail(error)

        self._handlers.append((element, element.connect(signal, guarded)))

    def _has_started(self) -> bool:
        """Wait until the pipeline plays; return whether it does.

        While one thread takes the pipeline from state to state, no other may change the state of its children: each
        would hold a lock that the other waits for. Seen once in 400 to 1,000 starts.
        """
        gst = gstreamer()
        pipeline = self._pipeline
        while not self._closed:
            _, state, pending = pipeline.get_state(0)
            if pending == gst.State.VOID_PENDING and state == gst.State.PLAYING:
                return True
            if pending in (gst.State.NULL, gst.State.READY):
                break
            time.sleep(_POLL_S)
        return False

    def _found_stream(self, pad: Any, caps: Any = None) -> None:
        """Link a video stream; runs in a thread of GStreamer, before the stream's first data."""
        gst = gstreamer()
        caps = caps or pad.get_current_caps() or pad.query_caps(None)
        name = caps.get_structure(0).get_name()
        is_video = name.startswith(("video/", "image/"))
        if self.linked_caps is not None or not is_video:
            (self.later if is_video and self._complete else self.others).append(codec_name(caps))
            if is_video and not self._complete:
                self.further.append(codec_name(caps))
            return
        self.linked_caps = caps
        chain = []
        if name != "video/x-raw":
            parser = best_factory(gst.ELEMENT_FACTORY_TYPE_PARSER, caps)
            if parser is not None:
                chain.append(self._add(parser.create(None)))
                caps = without_framing(caps)
            chain.append(self._add(self._decoder_for(caps)))
        chain.append(self._after)
        for element, following in itertools.pairwise(chain):
            element.link(following)
        # From the end to the start: an element that gets data is ready for it.
        for element in reversed(chain[:-1]):
            element.sync_state_with_parent()
        self._before_link(pad)
        pad.link(chain[0].get_static_pad("sink"))

    def _before_link(self, pad: Any) -> None:
        """Change what comes out of a stream's pad; called before its first data."""

    def _add(self, element: Any) -> Any:
        self._pipeline.add(element)
        return element


def best_factory(kind: int, caps: Any, plugins: Container[str] | None = None) -> Any | None:
    """Return the factory of that kind with the highest rank that takes ``caps`` and is of one of ``plugins``."""
    gst = gstreamer()
    factories = gst.ElementFactory.list_get_elements(kind, gst.Rank.MARGINAL)
    fitting = gst.ElementFactory.list_filter(factories, caps, gst.PadDirection.SINK, False)
    allowed = [factory for factory in fitting if plugins is None or factory.get_plugin_name() in plugins]
    return max(allowed, key=lambda factory: factory.get_rank(), default=None)


def without_framing(caps: Any) -> Any:
    """Return a coded stream's caps without the fields that a parser may change."""
    copy = caps.copy()
    structure = copy.get_structure(0).copy()
    for field in _FRAMING:
        structure.remove_field(field)
    empty = gstreamer().Caps.new_empty()
    empty.append_structure(structure)
    return empty
