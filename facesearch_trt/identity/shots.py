"""Where one camera shot ends and the next begins: PySceneDetect proposes cuts, a look ahead confirms them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from ..types import Array, Frame

__all__ = ["LOOK_AHEAD", "mark_shots"]

LOOK_AHEAD = 6
"""Frames held back until a cut is sure; a flash or a covered lens of up to this many frames cuts nothing."""

_THUMB = (64, 36)
"""Width and height at which pictures are compared, px."""
_PROPOSE = 8.0
"""ContentDetector's score from which a change is looked at; its default of 27 misses cuts between two dark scenes."""
_ALIKE = 0.65
"""Correlation of two thumbnails, after the best shift, from which they show the same scene."""
_SPANS = (2 * LOOK_AHEAD, 4 * LOOK_AHEAD)
"""Numbers of frames over which a dissolve is looked for, even."""
_UNLIKE = 0.6
"""Correlation of the pictures at the ends of a dissolve that is not exceeded."""
_UNMIXED = 0.35
"""Part of a change that a mixture of its two ends may leave unexplained. Measured: dissolves between moving people
below 0.28, moving people and cameras above 0.42."""
_BLANK = 3.0
"""Standard deviation of luma below which a thumbnail shows nothing (black, white, fade)."""


_NOTHING = np.zeros(_THUMB[::-1], np.float32)


@dataclass(slots=True)
class _Held:
    frame: Frame
    luma: Array
    """float32 [36, 64]."""
    form: Array
    """The same with mean 0 and length 1, so that a dot product is a correlation."""
    blank: bool
    changed: bool
    """Whether PySceneDetect saw a change from the frame before."""


def mark_shots(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Yield the frames with their shot number, counted from 0.

    Takes every decoded frame, in order. PySceneDetect's ContentDetector, fed with thumbnails, proposes changes. A
    change is a cut where no shift of the picture, no change of its brightness and no frame within :data:`LOOK_AHEAD`
    frames brings the old scene back: so a fast pan, a step of the lighting, a flash and a fade do not cut. Frames
    without a picture stay in the shot of the frame before.

    Unrelated photos are one shot each, a series of the same scene is one shot.
    """
    held: deque[_Held] = deque()
    marker = _Marker()
    propose = _proposer()
    for index, frame in enumerate(frames):
        held.append(_hold(frame, index, propose))
        if len(held) > LOOK_AHEAD:
            yield marker.mark(held)
    while held:
        yield marker.mark(held)


class _Marker:
    def __init__(self) -> None:
        self._shot = 0
        self._before: _Held | None = None
        """The last frame that showed the scene."""
        self._past: deque[_Held] = deque(maxlen=max(_SPANS) - LOOK_AHEAD)
        """The latest frames of this shot, without their pictures."""

    def mark(self, held: deque[_Held]) -> Frame:
        """Take the first held frame out and return it with its shot; the others are what lies ahead."""
        now = held.popleft()
        if now.blank:
            return replace(now.frame, shot=self._shot)
        before = self._before
        goes_on = before is None or self._goes_on(before, now, held)
        if goes_on is None:
            # Something in front of the scene; the scene is still what it was before.
            return replace(now.frame, shot=self._shot)
        if not goes_on or self._dissolves(now, held):
            self._shot += 1
            self._past.clear()
        self._before = replace(now, frame=replace(now.frame, image=None))
        self._past.append(self._before)
        return replace(now.frame, shot=self._shot)

    def _goes_on(self, before: _Held, now: _Held, ahead: deque[_Held]) -> bool | None:
        """Return whether ``now`` shows the scene of ``before``; None where it does not but a frame ahead does."""
        if (now.frame.width, now.frame.height) != (before.frame.width, before.frame.height):
            return False
        # After an interruption the frame before is not the one PySceneDetect compared with.
        follows = before.frame.frame_num + 1 >= now.frame.frame_num
        if (follows and not now.changed) or _alike(before.luma, now.luma):
            return True
        return None if any(not later.blank and _alike(before.luma, later.luma) for later in ahead) else False

    def _dissolves(self, now: _Held, ahead: deque[_Held]) -> bool:
        """Return whether a dissolve is half over: the picture is a mixture of an earlier and a later one."""
        if len(ahead) < LOOK_AHEAD:
            return False
        for span in _SPANS:
            back = span - LOOK_AHEAD
            if len(self._past) < max(back, 2 * LOOK_AHEAD):
                continue
            middle = now if span == 2 * LOOK_AHEAD else self._past[LOOK_AHEAD - span // 2]
            if _is_mixture(self._past[-back], middle, ahead[-1]):
                return True
        return False


def _is_mixture(first: _Held, middle: _Held, last: _Held) -> bool:
    """Return whether ``middle`` is about half of each of two pictures that show different scenes."""
    if last.blank or np.vdot(first.form, last.form) > _UNLIKE or _alike(first.luma, last.luma):
        return False
    ends = np.stack([(held.luma - held.luma.mean()).ravel() for held in (first, last)], axis=1)
    mixed = (middle.luma - middle.luma.mean()).ravel()
    shares = np.linalg.lstsq(ends, mixed, rcond=None)[0]
    rest = mixed - ends @ shares
    way = ends[:, 1] - ends[:, 0]
    unexplained = float(np.sqrt(np.vdot(rest, rest) / max(float(np.vdot(way, way)), 1e-6)))
    both = float(shares.sum())
    return unexplained < _UNMIXED and both > 0.6 and 0.4 < float(shares[1]) / both < 0.7


def _hold(frame: Frame, index: int, propose: Any) -> _Held:
    if frame.image is None:
        return _Held(frame, _NOTHING, _NOTHING, True, False)
    thumb = _thumbnail(frame.image)
    luma = cv2.cvtColor(thumb, cv2.COLOR_BGR2GRAY).astype(np.float32)
    centred = luma - luma.mean()
    spread = float(np.sqrt(np.vdot(centred, centred)))
    blank = spread < _BLANK * luma.size**0.5
    return _Held(frame, luma, centred / max(spread, 1e-6), blank, bool(propose(index, thumb)))


def _thumbnail(image: Array) -> Array:
    # Pixels are dropped first: averaging all of a large picture would cost more than all the rest.
    rough = cv2.resize(image, (2 * _THUMB[0], 2 * _THUMB[1]), interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.resize(rough, _THUMB, interpolation=cv2.INTER_AREA))


def _proposer() -> Any:
    from scenedetect.common import FrameTimecode
    from scenedetect.detectors import ContentDetector

    detector = ContentDetector(threshold=_PROPOSE, min_scene_len=0)

    def propose(index: int, thumb: Array) -> list[Any]:
        # The rate has no effect on what this detector does with consecutive frames.
        return list(detector.process_frame(FrameTimecode(index, fps=25.0), thumb))

    return propose


def _alike(one: Array, other: Array) -> bool:
    height, width = one.shape
    up, left = height // 5, width // 5
    for a, b in ((one, other), (other, one)):
        middle = a[up : height - up, left : width - left]
        if cv2.matchTemplate(b, middle, cv2.TM_CCOEFF_NORMED).max() >= _ALIKE:
            return True
    return False
