"""Runs a GStreamer graph: its bus, its end, its watchdog and its teardown. The only module that imports gi.

A graph is built by the module that knows what is in it (:mod:`.software` and its siblings) with the ``Gst`` namespace
that :func:`gstreamer` returns, and run by :class:`Graph`.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import BackendError, DecodeError, StallError, pip_install
from .bounded import bounded

__all__ = [
    "PACKAGES",
    "Graph",
    "codec_name",
    "colour_codes",
    "colour_of",
    "gstreamer",
    "launch",
    "plane_layout",
    "words_of",
]

log = logging.getLogger(__name__)
T = TypeVar("T")

PACKAGES = (
    "gstreamer1.0-plugins-base",
    "gstreamer1.0-plugins-good",
    "gstreamer1.0-plugins-bad",
    "gstreamer1.0-libav",
    "gir1.2-gstreamer-1.0",
    "gir1.2-gst-plugins-base-1.0",
)
"""Debian and Ubuntu packages that the software graph needs."""

_INSTALL = f"Install the Debian or Ubuntu packages: apt-get install {' '.join(PACKAGES)}."
OLDEST = (1, 20)
"""Oldest GStreamer with all that the graphs use."""

_SLICE_S = 0.1
"""How long one wait for a frame lasts before the bus is read; bounds how late an error is seen."""
_DRAIN_S = 1.0
"""After an error, how long frames that were decoded before it may take to arrive."""
_STOP_S = 10.0
"""How long a graph may take to stop before it is left behind."""
_KEPT_WARNINGS = 20
_INITIALISING = threading.Lock()
_REMEDY = "Check that it plays elsewhere; if it does, convert it, to H.264 in MP4 for example."


@functools.cache
def gstreamer() -> Any:
    """Return the initialised ``Gst`` namespace.

    Raises BackendError where PyGObject, GStreamer or its typelibs are missing or too old, with the packages to install.
    """
    # The first ones wait here for each other; that all of them go through it does no harm.
    with _INITIALISING:
        return _initialised()


def _initialised() -> Any:
    try:
        import gi
    except ImportError as error:
        raise BackendError(
            "cannot decode videos: PyGObject is missing",
            found=error,
            remedy=f"Install it: {pip_install('PyGObject<3.52')}",
        ) from error
    try:
        for namespace in ("Gst", "GstApp", "GstVideo", "GstPbutils"):
            gi.require_version(namespace, "1.0")
        # GstApp gives appsinks their methods: it has to be imported, not used.
        from gi.repository import Gst, GstApp, GstPbutils, GstVideo

        Gst.init(None)
        # PyGObject makes a class when it is first asked for, and two threads that ask at once get two: what is of the one
        # is then refused where the other is expected. So all are made here, in 25 ms.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some are deprecated
            for namespace in (Gst, GstApp, GstPbutils, GstVideo):
                for name in dir(namespace):
                    getattr(namespace, name, None)
    except (ImportError, ValueError, AttributeError, gi.repository.GLib.Error) as error:
        raise BackendError("cannot decode videos: GStreamer is not usable", found=error, remedy=_INSTALL) from error
    if Gst.version()[:2] < OLDEST:
        raise BackendError(
            "GStreamer is too old",
            asked=f"{OLDEST[0]}.{OLDEST[1]} or newer",
            found=Gst.version_string(),
            remedy=_INSTALL,
        )
    return Gst


def launch(description: str) -> Any:
    """Return the pipeline that a description in gst-launch's language stands for.

    Raises BackendError where GStreamer lacks one of its elements.
    """
    gst = gstreamer()
    from gi.repository import GLib

    try:
        return gst.parse_launch(description)
    except GLib.Error as error:
        raise BackendError("GStreamer is incomplete", found=error.message, remedy=_INSTALL) from error


def codec_name(caps: Any) -> str:
    """Return what a user would call the coding of a stream: ``H.264 (High Profile)``."""
    from gi.repository import GstPbutils

    return str(GstPbutils.pb_utils_get_codec_description(caps) or caps.get_structure(0).get_name())


def plane_layout(buffer: Any, caps: Any) -> tuple[list[int], list[int]]:
    """Return offsets and bytes per row of a raw picture's planes: those that its buffer tells, else its format's usual
    ones."""
    from gi.repository import GstVideo

    told = GstVideo.buffer_get_video_meta(buffer) or GstVideo.VideoInfo.new_from_caps(caps)
    return list(told.offset), list(told.stride)


def colour_of(caps: Any) -> tuple[str, bool]:
    """Return the YUV matrix of a raw picture by GStreamer's name (``bt709``), and whether Y goes from 0 to 255."""
    from gi.repository import GstVideo

    colour = GstVideo.VideoInfo.new_from_caps(caps).colorimetry
    return str(colour.matrix.value_nick), colour.range.value_nick == "0-255"


def colour_codes(colorimetry: str) -> tuple[int, int, int, int] | None:
    """Return range, matrix, transfer and primaries of a colorimetry's text (``bt709``) as GStreamer's numbers, 0 where
    it does not say; None where it cannot be read. Joined by colons they are such a text too."""
    from gi.repository import GstVideo

    colour = GstVideo.VideoColorimetry()
    if not colour.from_string(colorimetry):
        return None
    return int(colour.range), int(colour.matrix), int(colour.transfer), int(colour.primaries)


class Graph:
    """A running pipeline: a context manager that starts it, watches it and always stops it.

    Parameters
    ----------
    pipeline: a ``Gst.Pipeline`` in state NULL.
    where: the clip or file, for messages.
    stall_timeout_s: seconds without progress after which :meth:`wait` gives up. Only time spent in :meth:`wait`
        counts: a consumer may take as long as it likes between two calls.
    """

    def __init__(self, pipeline: Any, *, where: object, stall_timeout_s: float) -> None:
        self.warnings: list[str] = []
        """What elements warned of so far, the first of each text, at most 20."""
        self.warning_count = 0
        self._pipeline = pipeline
        self._bus = pipeline.get_bus()
        self._where = where
        self._stall_timeout_s = stall_timeout_s
        self._failure: Exception | None = None
        self._failed_at_s = 0.0
        self._at_end = False

    def __enter__(self) -> Graph:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        gst = gstreamer()
        # In a thread: to open a file on a dead network mount can block for ever.
        pipeline = self._pipeline
        result = bounded(lambda: pipeline.set_state(gst.State.PLAYING), self._stall_timeout_s)
        if result is None:
            raise self._stalled("has not opened it")
        if result == gst.StateChangeReturn.FAILURE:
            self._read_bus()
            raise self._failure or DecodeError("the decoder does not start", where=self._where)

    def fail(self, error: Exception) -> None:
        """Make :meth:`wait` raise ``error`` once what was decoded before is through.

        May be called by any thread; the first error stays.
        """
        if self._failure is None:
            self._failed_at_s = time.monotonic()
            self._failure = error

    def wait(self, ready: Callable[[float], T | None], ended: Callable[[], bool]) -> T | None:
        """Return the next thing that the graph makes, None after the last.

        Parameters
        ----------
        ready: waits at most so many seconds and returns a thing, or None where there is none yet.
        ended: whether no further thing will come.

        Raises DecodeError with the failing element's own words, after everything that was made before has been
        returned, and StallError after ``stall_timeout_s`` without a thing.
        """
        started_s = time.monotonic()
        while True:
            thing = ready(_SLICE_S)
            if thing is not None:
                return thing
            over = ended()
            self._read_bus()
            now_s = time.monotonic()
            if self._failure is not None and (over or now_s - max(self._failed_at_s, started_s) > _DRAIN_S):
                raise self._failure
            if over:
                return None
            if now_s - started_s > self._stall_timeout_s:
                raise self._stalled("made no progress")

    def pull(self, sink: Any, *, hopeless: Callable[[], bool] = lambda: False) -> Any | None:
        """Return the next sample of an appsink, None after the last; raises as :meth:`wait`.

        ``hopeless`` tells whether, after an error, there is nothing left to wait for.
        """
        second_ns = gstreamer().SECOND
        return self.wait(
            lambda timeout_s: sink.try_pull_sample(int(timeout_s * second_ns)),
            lambda: sink.is_eos() or (self._failure is not None and hopeless()),
        )

    def finish(self) -> None:
        """Wait until every sink has written all; raises as :meth:`wait`. For graphs that end in a file."""
        self.wait(time.sleep, lambda: self._at_end)

    def duration_s(self) -> float | None:
        """Return what the container says of its length, None where it does not.

        To be asked once the first thing has come.
        """
        gst = gstreamer()
        known, duration_ns = self._pipeline.query_duration(gst.Format.TIME)
        return duration_ns / gst.SECOND if known and duration_ns >= 0 else None

    def stop(self) -> None:
        """Stop and free everything; a second call does nothing."""
        if self._pipeline is None:
            return
        pipeline, self._pipeline = self._pipeline, None
        gst = gstreamer()
        self._read_bus()
        # A read that hangs in the kernel cannot be interrupted; to be left with one thread is better than to hang
        # with it.
        if bounded(lambda: pipeline.set_state(gst.State.NULL), _STOP_S) is None:
            log.warning("%s: a read hangs in the system; its thread is left behind", self._where)
        self._bus.set_flushing(True)

    def _stalled(self, what: str) -> StallError:
        return StallError(
            f"the decoder {what} for {self._stall_timeout_s:g} s",
            where=self._where,
            remedy="Check that its disk or network mount answers, or raise --stall-timeout-s.",
        )

    def _read_bus(self) -> None:
        kinds = gstreamer().MessageType
        while (message := self._bus.pop_filtered(kinds.ERROR | kinds.WARNING | kinds.EOS)) is not None:
            if message.type == kinds.EOS:
                self._at_end = True
                continue
            words = words_of(message)
            if message.type == kinds.ERROR:
                log.debug("%s: error: %s", self._where, words)
                self.fail(DecodeError("cannot be decoded", where=self._where, found=words, remedy=_REMEDY))
                continue
            self.warning_count += 1
            if words not in self.warnings and len(self.warnings) < _KEPT_WARNINGS:
                log.debug("%s: warning: %s", self._where, words)
                self.warnings.append(words)


def words_of(message: Any) -> str:
    """Return what an error or warning on the bus says, in the element's own words.

    Its debug text comes without the source position and object path that lead it.
    """
    is_error = message.type == gstreamer().MessageType.ERROR
    error, debug = message.parse_error() if is_error else message.parse_warning()
    element = message.src.get_name() if message.src is not None else "GStreamer"
    # "file.c(123): function (): /path/of/element:" and then, on its own line, what a reader can use.
    detail = " ".join((debug or "").strip().splitlines()[1:]).strip()
    return f"{element}: {error.message}" + (f" ({detail})" if detail else "")
