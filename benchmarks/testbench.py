"""Composes clips with exactly known people from portrait photos: who is where in every frame.

A clip is a list of scenes. A scene has a backdrop that a camera moves over, and actors: cut-out portraits that move on
paths, nearer ones in front of farther ones. Everything is a function of time, so the same clip can be had at any frame
rate. ``testbench_clips.py`` makes whole clips of several kinds with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
Box = tuple[float, float, float, float]

LEAST_VISIBLE = 0.6
"""Share of a face's box that has to be in the frame and uncovered for the face to be in the truth."""


@dataclass(frozen=True)
class Portrait:
    """A photo of one person."""

    person: str
    image: Array
    """uint8 [H, W, 3] BGR."""
    box: Box
    """The face in it: x1 y1 x2 y2, px."""


@dataclass(frozen=True)
class Key:
    """Where something is at a time; between keys it moves smoothly."""

    time: float
    """Frames at rate 1 since the scene's start."""
    x: float
    """Middle of the face, or left edge of the camera's view, px."""
    y: float
    size: float
    """Height of the face, or width of the camera's view, px."""


@dataclass(frozen=True)
class Actor:
    """A portrait that moves through a scene. It is there from its first key to its last."""

    portrait: Portrait
    keys: tuple[Key, ...]
    depth: float = 0.0
    """Actors of less depth hide those of more."""
    mirrored: bool = False
    nod: float = 0.0
    """Largest roll, degrees; it swings slowly."""
    turn: float = 0.0
    """Largest squeeze of the width, as by a turn of the head, 0 to 0.5; it swings slowly."""
    gain: tuple[float, float] = (1.0, 1.0)
    """Brightness at the start and at the end."""
    blur: tuple[float, float] = (0.0, 0.0)
    """Standard deviation of the blur in face heights at the start and at the end."""
    phase: float = 0.0


@dataclass(frozen=True)
class Backdrop:
    """A picture behind the actors, with people of its own when it is a group photo."""

    image: Array
    faces: tuple[tuple[str, Box], ...] = ()


@dataclass(frozen=True)
class Scene:
    """One camera shot."""

    length: int
    """Frames at rate 1."""
    backdrop: Backdrop
    actors: tuple[Actor, ...] = ()
    camera: tuple[Key, ...] = ()
    """Views over the backdrop; none: all of it, stretched over the frame. Actors' keys are in frame px either way."""
    enter: Literal["cut", "dissolve", "fade"] = "cut"
    enter_frames: int = 12
    noise: float = 3.0
    """Standard deviation of the sensor's noise, grey levels."""


@dataclass
class Shown:
    """A frame and its truth."""

    frame_num: int
    image: Array
    faces: list[tuple[Box, str]] = field(default_factory=list)
    """Box, px, and person."""
    scene: int = 0


def film(scenes: Sequence[Scene], width: int, height: int, *, rate: float = 1.0, seed: int = 0) -> Iterator[Shown]:
    """Yield the frames of a clip; with ``rate`` 2 the same clip at twice the frame rate."""
    number, before = 0, None
    for place, scene in enumerate(scenes):
        for tick in range(round(scene.length * rate)):
            time = tick / rate
            image, faces = _render(scene, time, width, height)
            if before is not None and scene.enter != "cut" and time < scene.enter_frames:
                image = _blend(scene.enter, before, image, time / scene.enter_frames)
                # While two pictures are mixed nobody can say whose face it is.
                faces = []
            noise = np.random.default_rng([seed, number]).normal(0, scene.noise, (height, width, 1))
            image = np.clip(image + noise.astype(np.float32), 0, 255).astype(np.uint8)
            yield Shown(number, image, faces, place)
            number += 1
        before = _render(scene, scene.length, width, height)[0]


def _blend(how: str, before: Array, now: Array, share: float) -> Array:
    if how == "dissolve":
        return (1 - share) * before + share * now
    return before * (1 - 2 * share) if share < 0.5 else now * (2 * share - 1)


def _render(scene: Scene, time: float, width: int, height: int) -> tuple[Array, list[tuple[Box, str]]]:
    image, to_frame = _view(scene, time, width, height)
    canvas = image.astype(np.float32)
    owner = np.full((height, width), -1, np.int16)
    shown: list[tuple[Box, str, int]] = []
    for box, person in _backdrop_faces(scene.backdrop, to_frame):
        shown.append((box, person, -1))
    ranks = sorted(range(len(scene.actors)), key=lambda rank: -scene.actors[rank].depth)
    for rank in ranks:
        actor = scene.actors[rank]
        if actor.keys[0].time <= time <= actor.keys[-1].time:
            shown.append((_paint(canvas, owner, actor, time, rank), actor.portrait.person, rank))
    faces = []
    for box, person, rank in shown:
        if _visible(owner, box, rank) >= LEAST_VISIBLE:
            faces.append(((max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height)), person))
    return canvas, faces


def _view(scene: Scene, time: float, width: int, height: int) -> tuple[Array, Array]:
    image = scene.backdrop.image
    if scene.camera:
        x, y, size = at(scene.camera, time)
        factor = width / size
        matrix = np.array([[factor, 0, -x * factor], [0, factor, -y * factor]])
    else:
        matrix = np.array([[width / image.shape[1], 0, 0], [0, height / image.shape[0], 0]])
    shrunk = cv2.INTER_AREA if matrix[0, 0] < 1 else cv2.INTER_LINEAR
    view = cv2.warpAffine(image, matrix, (width, height), flags=shrunk, borderMode=cv2.BORDER_REFLECT)
    return view, matrix


def _backdrop_faces(backdrop: Backdrop, matrix: Array) -> Iterator[tuple[Box, str]]:
    for person, (x1, y1, x2, y2) in backdrop.faces:
        corners = np.array([[x1, y1, 1], [x2, y2, 1]]) @ matrix.T
        yield tuple(corners.ravel().tolist()), person


def at(keys: Sequence[Key], time: float) -> tuple[float, float, float]:
    """Return x, y and size at a time, linear between the keys."""
    times = [key.time for key in keys]
    x, y, size = (float(np.interp(time, times, [getattr(key, part) for key in keys])) for part in ("x", "y", "size"))
    return x, y, size


def _paint(canvas: Array, owner: Array, actor: Actor, time: float, rank: int) -> Box:
    """Draw an actor, note which pixels are his, and return his face's box."""
    height, width = owner.shape
    x, y, size = at(actor.keys, time)
    first, last = actor.keys[0].time, actor.keys[-1].time
    share = (time - first) / max(last - first, 1e-9)
    swing = np.sin(2 * np.pi * (time / 60 + actor.phase))
    matrix, face = _placing(actor, x, y, size, swing)
    left, top, right, bottom = _bounds(actor.portrait.image.shape, matrix, width, height)
    if right - left < 2 or bottom - top < 2:
        return _moved(face, matrix)
    local = matrix.copy()
    local[:, 2] -= [left, top]
    extent = (right - left, bottom - top)
    ways = cv2.INTER_AREA if abs(np.linalg.det(matrix[:, :2])) < 1 else cv2.INTER_LINEAR
    sprite = cv2.warpAffine(_smoothed(actor.portrait.image, matrix), local, extent, flags=ways).astype(np.float32)
    alpha = cv2.warpAffine(_mask(actor.portrait), local, extent, flags=cv2.INTER_LINEAR)
    blur = size * float(np.interp(share, [0, 1], actor.blur))
    if blur > 0.3:
        sprite = cv2.GaussianBlur(sprite, (0, 0), blur)
    sprite *= float(np.interp(share, [0, 1], actor.gain))
    part = canvas[top:bottom, left:right]
    part += (sprite - part) * alpha[..., None]
    owner[top:bottom, left:right][alpha > 0.5] = rank
    return _moved(face, matrix)


def _placing(actor: Actor, x: float, y: float, size: float, swing: float) -> tuple[Array, Box]:
    x1, y1, x2, y2 = actor.portrait.box
    scale = size / (y2 - y1)
    squeeze = scale * (1 - actor.turn * (1 + swing) / 2) * (-1 if actor.mirrored else 1)
    roll = np.radians(actor.nod * swing)
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    linear = turn @ np.diag([squeeze, scale])
    middle = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
    return np.hstack([linear, (np.array([x, y]) - linear @ middle)[:, None]]), actor.portrait.box


def _moved(box: Box, matrix: Array) -> Box:
    """Return the box around a face after an affine map; a rolled face's box is taken about its middle."""
    x1, y1, x2, y2 = box
    middle = matrix[:, :2] @ [(x1 + x2) / 2, (y1 + y2) / 2] + matrix[:, 2]
    half = np.linalg.norm(matrix[:, :2], axis=0) * [(x2 - x1) / 2, (y2 - y1) / 2]
    return (*(middle - half).tolist(), *(middle + half).tolist())


def _bounds(shape: tuple[int, ...], matrix: Array, width: int, height: int) -> tuple[int, int, int, int]:
    corners = np.array([[0, 0, 1], [shape[1], 0, 1], [0, shape[0], 1], [shape[1], shape[0], 1]]) @ matrix.T
    low = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    high = np.minimum(np.ceil(corners.max(axis=0)), [width, height]).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _smoothed(image: Array, matrix: Array) -> Array:
    """Blur before shrinking: warpAffine does not average."""
    factor = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    return cv2.GaussianBlur(image, (0, 0), 0.5 / factor - 0.5) if factor < 0.7 else image


def _mask(portrait: Portrait) -> Array:
    """Return float32 [H, W]: head and shoulders, soft at the edge."""
    height, width = portrait.image.shape[:2]
    x1, y1, x2, y2 = portrait.box
    w, h = x2 - x1, y2 - y1
    mask = np.zeros((height, width), np.float32)
    middle = (round((x1 + x2) / 2), round(y1 + 0.45 * h))
    cv2.ellipse(mask, middle, (round(0.85 * w), round(0.85 * h)), 0, 0, 360, 1.0, -1)
    neck = round(y2 - 0.1 * h)
    cv2.rectangle(mask, (round(x1 - 0.1 * w), neck), (round(x2 + 0.1 * w), round(y2 + 0.5 * h)), 1.0, -1)
    cv2.ellipse(mask, (middle[0], round(y2 + 1.1 * h)), (round(1.4 * w), round(0.8 * h)), 0, 0, 360, 1.0, -1)
    return cv2.GaussianBlur(mask, (0, 0), max(0.04 * h, 0.5))


def _visible(owner: Array, box: Box, rank: int) -> float:
    """Return the share of a box that is in the frame and covered by nobody nearer."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    x1, y1, x2, y2 = (max(0, round(value)) for value in box)
    part = owner[y1:y2, x1:x2]
    return float((part == rank).sum()) / max(area, 1.0) if part.size else 0.0
