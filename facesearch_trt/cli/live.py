"""``facesearch live``: records cameras, each into clips of a set length, until it is stopped."""

from __future__ import annotations

import argparse
import logging
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ..cameras import Camera, read_addresses, record_camera, stream_of
from ..config import Options
from ..errors import FaceSearchError, InputError, UsageError
from ..graph.live import LiveStream
from ..people.update import update_people
from ..running.runner import Outcome, exit_status
from ..types import Clip
from ..wiring import Tools
from .flags import add_option_flags, options_from
from .people import people_line
from .progress import outcome_line
from .text import sentence

__all__ = ["Grouping", "register"]

_LOG = logging.getLogger(__name__)

_FOREIGN = frozenset({"force", "report", "ray_cpus", "ray_gpu_share", "isolate", "clips_at_once"})
_ROOM = 64
"""Frames of a camera that may wait, two seconds or so: what a clip's end takes."""


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    help_text = (
        "record cameras (RTSP) as clips of a set length, each with all results, until stopped with Ctrl-C or SIGTERM"
    )
    parser = subparsers.add_parser("live", help=help_text, description=sentence(help_text))
    add = parser.add_argument
    add("--input_directory", "--input-directory", type=Path, required=True, metavar="ROOT", help="where the clips go")
    add(
        "--uri",
        action="append",
        default=[],
        metavar="[NAME=]ADDRESS",
        help="a camera, rtsp://…; may be given several times",
    )
    add("--uris", type=Path, metavar="FILE", help="file with a camera per line; keeps passwords off the command line")
    add("--clip-s", type=float, default=600.0, metavar="S", help="length of a clip [600]")
    add("--for-s", type=float, metavar="S", help="stop after so many seconds; without it only when told to")
    add(
        "--retry-s",
        type=float,
        default=5.0,
        metavar="S",
        help="pause before a camera that went away is asked again [5]",
    )
    add("--latency-ms", type=int, default=500, metavar="MS", help="of the jitter buffer [500]")
    add_option_flags(parser, leave_out=_FOREIGN)
    parser.set_defaults(call=_live)


def _live(args: argparse.Namespace) -> int:
    cameras = [Camera.from_text(text) for text in args.uri] + (read_addresses(args.uris) if args.uris else [])
    names = [camera.name for camera in cameras]
    if not cameras or len(set(names)) < len(names):
        raise UsageError(
            "cameras need names of their own" if cameras else "no camera was given",
            found=", ".join(names) or None,
            remedy="Name them: --uri NAME=rtsp://HOST/PATH, or list them in a file given with --uris.",
        )
    if min(args.clip_s, args.retry_s, 1.0 if args.for_s is None else args.for_s) <= 0 or args.latency_ms < 0:
        raise UsageError("times have to be above 0")
    options = options_from(args)
    root: Path = args.input_directory
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            "cannot be made a directory", where=root, found=error.strerror, remedy="Give another --input_directory."
        ) from error
    return _record(cameras, root, options, args)


def _record(cameras: list[Camera], root: Path, options: Options, args: argparse.Namespace) -> int:
    with Tools(options, cameras=len(cameras)) as tools, ExitStack() as stack:
        # Loaded before the first frame comes, which would have to wait.
        tools.load_tracker_ahead()
        _ = tools.detector, tools.embedder, tools.sources.graph

        grouping = Grouping(root, tools)
        streams = [
            stream_of(camera, tools, room=_ROOM, latency_ms=args.latency_ms, retry_s=args.retry_s) for camera in cameras
        ]
        executor = stack.enter_context(ThreadPoolExecutor(len(cameras), thread_name_prefix="camera"))
        with _stopped(streams, args.for_s):
            for stream in streams:
                stack.enter_context(stream)
            jobs = [
                executor.submit(
                    record_camera, camera, stream, root, tools, _Lines(), length_s=args.clip_s, done=grouping
                )
                for camera, stream in zip(cameras, streams, strict=True)
            ]
            # What concerns every clip ends the recording of all cameras.
            wait(jobs, return_when=FIRST_EXCEPTION)
        outcomes = [outcome for job in jobs for outcome in job.result()]
    print(f"{len(cameras)} cameras: {len(outcomes)} clips", flush=True)
    return max(exit_status(outcomes), int(grouping.failed))


class Grouping:
    """Decides who is who after each clip. What hinders it is told and does not end the recording.

    Parameters
    ----------
    tools: whose thresholds and embedder it goes by.
    """

    def __init__(self, root: Path, tools: Tools) -> None:
        self._root, self._tools = root, tools
        self._lock = threading.Lock()
        self.failed = False
        """Whether it was hindered."""

    def __call__(self) -> None:
        """Bring people.csv up to date. May be called from several threads."""
        with self._lock:
            try:
                found = update_people(self._root, *self._tools.similarities, self._tools.embedder_entry.name)
            except FaceSearchError as error:
                self.failed = True
                _LOG.error("who is who was not decided, the recording goes on: %s", error)
            else:
                print(people_line(found), flush=True)


@contextmanager
def _stopped(streams: list[LiveStream], after_s: float | None) -> Iterator[None]:
    """Stop the streams on Ctrl-C, SIGTERM, or after so many seconds."""

    def stop(*_: object) -> None:
        for stream in streams:
            stream.stop()

    timer = threading.Timer(after_s, stop) if after_s is not None else None
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    if timer is not None:
        timer.start()
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
        stop()


class _Lines:
    """Writes a line when a clip begins and one when it ends."""

    def started(self, clip: Clip, frames_expected: int | None) -> None:
        """Say which clip begins."""
        print(f"{clip.name}: recording", flush=True)

    def advanced(self, clip: Clip, frames: int, faces: int) -> None:
        """Frames are not told."""

    def finished(self, outcome: Outcome) -> None:
        """Say what became of the clip."""
        print(outcome_line(outcome), flush=True)
