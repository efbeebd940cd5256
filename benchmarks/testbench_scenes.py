"""Scenes of the kinds that are hard in practice: a street with small walkers under a moving camera, and group photos
under a camera that pans and zooms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.testbench import Actor, Array, Backdrop, Key, Portrait, Scene, at

Random = np.random.Generator

_STEP = 4.0
"""Frames between the keys of a path that the camera's own movement was taken from."""


def backdrop(rng: Random, width: int, height: int, *, darkness: float = 1.0) -> Backdrop:
    """Return a made-up wall with large shapes: nothing that looks like a face."""
    import cv2

    image = cv2.resize(rng.integers(40, 200, (4, 6, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(25):
        place = rng.integers(0, [width, height])
        extent = rng.integers(width // 40, width // 6, 2)
        colour = rng.integers(30, 220, 3).tolist()
        cv2.rectangle(image, place.tolist(), (place + extent).tolist(), colour, -1 if rng.random() < 0.6 else 3)
    return Backdrop((cv2.GaussianBlur(image, (0, 0), 2) * darkness).astype(np.uint8))


def looks(rng: Random, *, harsh: float = 0.0) -> dict[str, object]:
    """Return how a person looks in a scene: light, pose and sharpness.

    ``harsh``, 0 to 1, adds darkness and blur.
    """
    gain = float(rng.uniform(0.6 - 0.2 * harsh, 1.25))
    blur = float(rng.uniform(0.01, 0.03 + 0.015 * harsh)) if rng.random() < 0.25 + 0.3 * harsh else 0.0
    return {
        "mirrored": bool(rng.random() < 0.4),
        "nod": float(rng.uniform(0, 12)),
        "turn": float(rng.uniform(0, 0.25)),
        "gain": (gain, gain * float(rng.uniform(0.7, 1.2))),
        "blur": (0.0, blur) if rng.random() < 0.5 else (blur, 0.0),
        "phase": float(rng.random()),
    }


def one_of(portraits: Sequence[Portrait], rng: Random) -> Portrait:
    """Return one of a person's portraits."""
    return portraits[int(rng.integers(len(portraits)))]


def boulevard(
    people: Mapping[str, Sequence[Portrait]],
    rng: Random,
    width: int,
    height: int,
    *,
    walkers: int = 9,
    length: int = 240,
) -> list[Scene]:
    """A street from afar: small walkers cross at many depths or come nearer, some come back, the camera pans over them.

    Faces are 3 to 11 % of the frame's height: 32 to 120 px at 1080p.
    """
    wall = backdrop(rng, round(width * 1.5), round(height * 1.2))
    # The camera looks one way, pans to the other end, and comes halfway back.
    room = wall.image.shape[1] - width
    ends = [0.0, float(room), room / 2]
    if rng.random() < 0.5:
        ends = [room - end for end in ends]
    level = (wall.image.shape[0] - height) / 2
    stops = (0.15, 0.55, 0.95)
    camera = tuple(Key(share * length, end, level, width) for share, end in zip(stops, ends, strict=True))
    names = [str(name) for name in rng.permutation(sorted(people))[:walkers]]
    actors: list[Actor] = []
    for turn, name in enumerate([*names, *names[: walkers // 3]]):
        left = max((actor.keys[-1].time for actor in actors if actor.portrait.person == name), default=0.0)
        start = left + float(rng.uniform(0.0, 0.3)) * length
        if turn % 3 == 2:
            keys = _nearing(rng, wall.image.shape[1], height, start, length)
        else:
            keys = _crossing(rng, wall.image.shape[1], height, start, length)
        portrait = one_of(people[name], rng)
        seen = _as_seen(keys, camera)
        actors.append(Actor(portrait, seen, depth=-max(k.size for k in keys), **looks(rng)))  # type: ignore[arg-type]
    return [Scene(length, wall, tuple(actors), camera=camera)]


def _crossing(rng: Random, wide: int, height: int, start: float, length: int) -> tuple[Key, ...]:
    size = height * float(rng.uniform(0.03, 0.09))
    level = height * float(rng.uniform(0.35, 0.6))
    speed = wide / float(rng.uniform(0.5, 0.9) * length) * (1 if rng.random() < 0.5 else -1)
    begin = -2 * size if speed > 0 else wide + 2 * size
    times = np.linspace(0, (wide + 4 * size) / abs(speed), 13)
    # A step's rise and fall.
    levels = level + rng.uniform(-0.08, 0.08, len(times)) * size
    return tuple(
        Key(start + float(t), begin + speed * float(t), float(y), size) for t, y in zip(times, levels, strict=True)
    )


def _nearing(rng: Random, wide: int, height: int, start: float, length: int) -> tuple[Key, ...]:
    size = height * float(rng.uniform(0.03, 0.05))
    grown = size * float(rng.uniform(1.6, 2.4))
    x = float(rng.uniform(0.15, 0.85)) * wide
    drift = float(rng.uniform(-0.25, 0.25)) * wide
    last = float(rng.uniform(0.4, 0.7)) * length
    steps = np.linspace(0, 1, 9)
    sizes = size * (grown / size) ** steps
    levels = height * (0.42 + 0.1 * steps) + rng.uniform(-0.08, 0.08, len(steps)) * sizes
    return tuple(
        Key(start + last * float(s), x + drift * float(s), float(y), float(z))
        for s, y, z in zip(steps, levels, sizes, strict=True)
    )


def _as_seen(keys: tuple[Key, ...], camera: tuple[Key, ...]) -> tuple[Key, ...]:
    """Return a path over the backdrop as it is in the frame of a camera that pans."""
    seen = []
    for time in [*np.arange(keys[0].time, keys[-1].time, _STEP).tolist(), keys[-1].time]:
        x, y, size = at(keys, time)
        seen.append(Key(time, x - at(camera, time)[0], y, size))
    return tuple(seen)


def album(
    photos: Sequence[Backdrop], rng: Random, width: int, height: int, *, shown: int = 4, length: int = 60
) -> list[Scene]:
    """Group photos under a camera that pans along, zooms in and out, and dims; the first is shown once more at the end."""
    chosen = [photos[int(number)] for number in rng.permutation(len(photos))[:shown]]
    scenes = []
    for turn, photo in enumerate([*chosen, chosen[0]]):
        dimmed = replace(photo, image=_dimmed(photo.image, float(rng.uniform(0.55, 1.1))))
        camera = _zoom(photo, rng, width, height, length) if turn % 2 else _along(photo, rng, width, height, length)
        scenes.append(Scene(length, dimmed, camera=camera, enter="dissolve" if turn and rng.random() < 0.3 else "cut"))
    return scenes


def _dimmed(image: Array, gain: float) -> Array:
    return np.clip(image.astype(np.float32) * gain, 0, 255).astype(np.uint8)


def _along(photo: Backdrop, rng: Random, width: int, height: int, length: int) -> tuple[Key, ...]:
    tall, wide = photo.image.shape[:2]
    size = min(wide, tall * width / height) * float(rng.uniform(0.5, 0.8))
    y = (tall - size * height / width) * float(rng.uniform(0.05, 0.4))
    ends = [0.0, wide - size]
    if rng.random() < 0.5:
        ends.reverse()
    return (
        Key(0, ends[0], y, size),
        Key(length * 0.6, ends[1], y, size),
        Key(length, (ends[0] + ends[1]) / 2, y, size),
    )


def _zoom(photo: Backdrop, rng: Random, width: int, height: int, length: int) -> tuple[Key, ...]:
    tall, wide = photo.image.shape[:2]
    whole = min(wide, tall * width / height)
    _, (x1, y1, x2, y2) = photo.faces[int(rng.integers(len(photo.faces)))]
    near = min(whole * float(rng.uniform(0.35, 0.6)), whole)
    views = []
    for time, size in ((0.0, whole), (length * 0.5, near), (length * 0.65, near), (float(length), whole * 0.9)):
        x = min(max((x1 + x2) / 2 - size / 2, 0), wide - size)
        y = min(max((y1 + y2) / 2 - 0.4 * size * height / width, 0), tall - size * height / width)
        views.append(Key(time, x, y, size))
    return tuple(views)


def corridor(
    people: Mapping[str, Sequence[Portrait]], rng: Random, width: int, height: int, *, cast: int = 4, length: int = 45
) -> list[Scene]:
    """Two or three short shots of some people in one light, near or far, sharp or not: a clip of one day among many."""
    names = [str(name) for name in rng.permutation(sorted(people))[:cast]]
    harsh = float(rng.uniform(0, 1))
    wall = backdrop(rng, width, height, darkness=float(rng.uniform(0.4, 1.0)))
    scenes = []
    for shot in range(int(rng.integers(2, 4))):
        seen = names if shot == 0 else [str(name) for name in rng.permutation(names)[: int(rng.integers(1, cast + 1))]]
        size = height * float(rng.uniform(0.1, 0.24))
        actors = []
        for place, name in enumerate(seen):
            x = width * (place + 1) / (len(seen) + 1)
            drift = rng.normal(0, 0.3 * size, (4, 2))
            grow = rng.uniform(0.85, 1.2, 4)
            keys = tuple(
                Key(float(t), x + float(d[0]), height * 0.42 + float(d[1]), size * float(g))
                for t, d, g in zip(np.linspace(0, length, 4), drift, grow, strict=True)
            )
            look = looks(rng, harsh=harsh)
            actors.append(Actor(one_of(people[name], rng), keys, depth=float(place), **look))  # type: ignore[arg-type]
        scenes.append(Scene(length, wall, tuple(actors), noise=2 + 4 * harsh))
    return scenes
