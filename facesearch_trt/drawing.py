"""A clip's video again, with boxes and names drawn into it, or with people made unrecognisable.

The sound is not taken over. Memory grows with the clip's faces, 40 bytes each, not with its frames.
"""

from __future__ import annotations

import logging
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from .errors import InputError
from .exporting import ClipExport, called
from .graph.encode import write_timed_video
from .store.schema import FACES_IDENTIFIED, FRAMES
from .store.tables import read_rows
from .types import Array, Clip, Frame
from .wiring import Tools

__all__ = ["Blur", "TrackBoxes", "annotate", "boxes_by_frame", "make_unrecognisable", "write_drawn_video"]

_LOG = logging.getLogger(__name__)

_HOLD_S = 0.2
"""A face is blurred so long before and after it was found: detectors lose faces that turn or blur."""
_GAP_S = 1.0
"""Between two detections of a track that are no further apart, boxes are interpolated."""
_MARGIN = 0.35
"""Of a box's sides, that is blurred around it: boxes go from forehead to chin, hair and ears tell as much."""
_BLOCKS = 5
"""Blocks across a face that is made unrecognisable; each is the mean of its pixels, so that nothing finer is left."""
_COLOURS = [(240, 201, 76), (133, 37, 247), (102, 209, 255), (160, 214, 6), (107, 140, 247), (255, 136, 179)]
"""BGR."""


@dataclass(frozen=True, slots=True)
class Blur:
    """Whom to make unrecognisable."""

    mode: Literal["all", "only", "except"] = "all"
    people: frozenset[int] = frozenset()
    """``person_id`` of those whom ``only`` and ``except`` are about."""

    def wanted(self, person_id: int | None) -> bool:
        """Return whether somebody is blurred; who is not known is, except with ``only``."""
        if self.mode == "all":
            return True
        return (person_id in self.people) == (self.mode == "only")


@dataclass(frozen=True, slots=True)
class TrackBoxes:
    """Where a face is, by frame."""

    face_id: int
    frames: Array
    """int64 [N], rising."""
    boxes: Array
    """float32 [N, 4], x1 y1 x2 y2, px."""


def write_drawn_video(
    clip: ClipExport, source: Clip, path: Path, tools: Tools, *, blur: Blur | None = None, labels: bool = True
) -> int:
    """Write a clip's video with boxes and names of all who are not ignored (``blur`` None), or with people made
    unrecognisable; return its frames.

    Raises InputError for a clip without a video or one whose boxes are of pictures of another size, DecodeError, StoreError,
    BackendError where there is no encoder.
    """
    if source.kind != "video":
        raise InputError("is no video", where=source.source, remedy="Give --clip with the name of a video.")
    record = clip.store.record()
    if blur is not None and record is not None and any("erased" in warning for warning in record.warnings):
        _LOG.warning("%s: people were erased from its results, so they are not known and not blurred", clip.name)
    fps, every = clip.fps(), int((record.options if record else {}).get("every", 1))
    held, gap = max(every, round(_HOLD_S * fps)), max(2 * every, round(_GAP_S * fps))
    tracks = _tracks(clip, blur)
    # A box is drawn where a face was seen, and blurred where it may have been.
    shown = boxes_by_frame(tracks, hold=0, gap=held) if blur is None else boxes_by_frame(tracks, hold=held, gap=gap)
    names = {track.face_id: _label(clip, track.face_id) for track in tracks} if labels else {}
    sizes = {(width, height) for _, _, width, height, _ in read_rows(clip.store.directory / FRAMES.file, FRAMES)}
    count = 0

    def drawn(frames: Iterable[Frame]) -> Iterator[tuple[Array, float]]:
        nonlocal count
        for frame in frames:
            assert frame.image is not None
            if sizes and (frame.width, frame.height) not in sizes:
                raise InputError(
                    "its results are of frames of another size, so that nobody would be where they say",
                    where=clip.store.directory,
                    asked=", ".join(f"{width}x{height}" for width, height in sorted(sizes)),
                    found=f"{frame.width}x{frame.height}",
                    remedy="Process the clip again: run_pipeline.py --force.",
                )
            # Encoders take even sides.
            height, width = frame.height & ~1, frame.width & ~1
            image = frame.image[:height, :width].copy()
            for face_id, box in shown(frame.frame_num):
                if blur is None:
                    annotate(image, box, names.get(face_id, ""), _COLOURS[face_id % len(_COLOURS)])
                else:
                    make_unrecognisable(image, box)
            count += 1
            yield image, frame.pts_s

    with tools.sources.open(source, detect=False) as frames:
        write_timed_video(path, drawn(frames), fps, hardware=True)
    return count


def boxes_by_frame(tracks: Collection[TrackBoxes], *, hold: int, gap: int) -> Callable[[int], list[tuple[int, Array]]]:
    """Return a function that gives, for frames in rising order, who is where.

    Parameters
    ----------
    hold: frames before and after a detection in which its box still stands.
    gap: frames between two detections of a track up to which boxes are interpolated.
    """
    starts = sorted(tracks, key=lambda track: int(track.frames[0]))
    active: list[TrackBoxes] = []
    following = 0

    def at(frame: int) -> list[tuple[int, Array]]:
        nonlocal following, active
        while following < len(starts) and starts[following].frames[0] - hold <= frame:
            active.append(starts[following])
            following += 1
        active = [track for track in active if track.frames[-1] + hold >= frame]
        return [(track.face_id, box) for track in active if (box := _box_at(track, frame, hold, gap)) is not None]

    return at


def _box_at(track: TrackBoxes, frame: int, hold: int, gap: int) -> Array | None:
    after = int(np.searchsorted(track.frames, frame, "left"))
    if after < len(track.frames) and track.frames[after] == frame:
        return np.asarray(track.boxes[after])
    before = after - 1
    if before >= 0 and after < len(track.frames) and track.frames[after] - track.frames[before] <= gap:
        share = (frame - track.frames[before]) / (track.frames[after] - track.frames[before])
        return np.asarray(track.boxes[before] * (1 - share) + track.boxes[after] * share)
    if before >= 0 and frame - track.frames[before] <= hold:
        return np.asarray(track.boxes[before])
    if after < len(track.frames) and track.frames[after] - frame <= hold:
        return np.asarray(track.boxes[after])
    return None


def make_unrecognisable(image: Array, box: Array) -> None:
    """Replace what is around a box of a picture, uint8 [H, W, 3], by a few blocks, each the mean of its pixels."""
    x1, y1, x2, y2 = (float(side) for side in box)
    across, along = (x2 - x1) * _MARGIN, (y2 - y1) * _MARGIN
    left, top = max(0, int(x1 - across)), max(0, int(y1 - along))
    right, bottom = min(image.shape[1], int(x2 + across) + 1), min(image.shape[0], int(y2 + along) + 1)
    if right <= left or bottom <= top:
        return
    part = image[top:bottom, left:right]
    blocks = round(_BLOCKS * (1 + 2 * _MARGIN))
    small = cv2.resize(part, (min(blocks, part.shape[1]), min(blocks, part.shape[0])), interpolation=cv2.INTER_AREA)
    part[:] = cv2.resize(small, (part.shape[1], part.shape[0]), interpolation=cv2.INTER_LINEAR)


def annotate(image: Array, box: Array, label: str, colour: tuple[int, int, int]) -> None:
    """Draw a box and a name into a picture, uint8 [H, W, 3] BGR."""
    unit = max(1, round(image.shape[0] / 360))
    x1, y1, x2, y2 = (round(float(side)) for side in box)
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, 2 * unit, cv2.LINE_AA)
    if not label:
        return
    scale, font = 0.45 * unit, cv2.FONT_HERSHEY_SIMPLEX
    (width, height), _ = cv2.getTextSize(label, font, scale, unit)
    top = y1 - height - 8 * unit if y1 > height + 10 * unit else y2 + 2 * unit
    cv2.rectangle(image, (x1, top), (x1 + width + 8 * unit, top + height + 6 * unit), colour, -1)
    cv2.putText(image, label, (x1 + 4 * unit, top + height + 3 * unit), font, scale, (0, 0, 0), unit, cv2.LINE_AA)


def _tracks(clip: ClipExport, blur: Blur | None) -> list[TrackBoxes]:
    names = FACES_IDENTIFIED.names
    frame, track, who, x1 = (names.index(name) for name in ("frame_num", "track_id", "face_id", "x1"))
    found: dict[int, list[tuple[int, int, list[float]]]] = defaultdict(list)
    alone = -1
    for row in read_rows(clip.store.directory / FACES_IDENTIFIED.file, FACES_IDENTIFIED):
        key = row[track]
        if key < 0:
            # A face without a track stands alone.
            key, alone = alone, alone - 1
        found[key].append((row[frame], row[who], row[x1 : x1 + 4]))
    tracks = []
    for rows in found.values():
        face_id = rows[0][1]
        if clip.ignored(face_id) if blur is None else not blur.wanted(clip.who(face_id)[0]):
            continue
        frames = np.array([row[0] for row in rows], np.int64)
        tracks.append(TrackBoxes(face_id, frames, np.array([row[2] for row in rows], np.float32)))
    return tracks


def _label(clip: ClipExport, face_id: int) -> str:
    person_id, name = clip.who(face_id)
    # OpenCV's font knows no other letters.
    plain = unicodedata.normalize("NFKD", name or "").encode("ascii", "ignore").decode("ascii").strip()
    return called(plain, person_id, face_id, number=True)
