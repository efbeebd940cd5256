"""Whole test clips of several kinds, made of portrait photos by testbench.py.

usage: python -m benchmarks.testbench_clips PHOTOS OUT [--kind street] [--seed 0] [--width 1280] [--height 720] [--rate
1]

PHOTOS has a directory per person with photos; the largest face of each is the portrait. OUT gets the clip as .mp4 and
its truth as .csv, in the form that `facesearch eval` reads.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from benchmarks.testbench import Actor, Array, Backdrop, Key, Portrait, Scene, film
from benchmarks.testbench_scenes import backdrop, boulevard, corridor, looks, one_of

Random = np.random.Generator


def street(
    people: dict[str, list[Portrait]], rng: Random, width: int, height: int, *, walkers: int = 7, length: int = 240
) -> list[Scene]:
    """One long shot: people cross in both directions at different depths, some come back later the other way."""
    names = [str(name) for name in rng.permutation(sorted(people))[:walkers]]
    actors: list[Actor] = []
    for name in names + names[: walkers // 3]:
        size = height * float(rng.uniform(0.08, 0.2))
        level = height * float(rng.uniform(0.3, 0.5))
        # Whoever comes back has left before.
        left = max((actor.keys[-1].time for actor in actors if actor.portrait.person == name), default=0.0)
        start = left + float(rng.uniform(0.0, 0.25)) * length
        speed = width / float(rng.uniform(0.3, 0.45) * length) * (1 if rng.random() < 0.5 else -1)
        begin = -2 * size if speed > 0 else width + 2 * size
        times = np.linspace(0, (width + 4 * size) / abs(speed), 9)
        heights = level + rng.uniform(-0.06, 0.06, len(times)) * size
        keys = tuple(
            Key(start + float(t), begin + speed * float(t), float(y), size) for t, y in zip(times, heights, strict=True)
        )
        actors.append(Actor(one_of(people[name], rng), keys, depth=-size, **looks(rng)))  # type: ignore[arg-type]
    return [Scene(length, backdrop(rng, width, height), tuple(actors))]


def talk(
    people: dict[str, list[Portrait]], rng: Random, width: int, height: int, *, cast: int = 5, shots: int = 9
) -> list[Scene]:
    """Shots of one to three people of a small cast, at different distances, with cuts, dissolves and fades."""
    names = [str(name) for name in rng.permutation(sorted(people))[:cast]]
    sets = [backdrop(rng, width, height, darkness=float(rng.uniform(0.4, 1.0))) for _ in range(3)]
    scenes: list[Scene] = []
    here = 0
    for shot in range(shots):
        seen = rng.permutation(names)[: int(rng.integers(1, 4))] if shot else np.array(names[:3])
        length = int(rng.integers(20, 50))
        size = height * float(rng.uniform(0.12, 0.45 if len(seen) == 1 else 0.28))
        actors = []
        for place, name in enumerate(seen):
            x = width * (place + 1) / (len(seen) + 1)
            y = height * float(rng.uniform(0.35, 0.45))
            drift = rng.normal(0, 0.25 * size, (4, 2))
            grow = rng.uniform(0.95, 1.1, 4)
            keys = tuple(
                Key(float(t), x + float(d[0]), y + float(d[1]), size * float(g))
                for t, d, g in zip(np.linspace(0, length, 4), drift, grow, strict=True)
            )
            actors.append(Actor(one_of(people[str(name)], rng), keys, depth=float(place), **looks(rng)))  # type: ignore[arg-type]
        # A jump cut stays in its set; pictures that are mixed are of two sets.
        enter = str(rng.choice(["cut", "cut", "cut", "dissolve", "fade"]))
        if enter != "cut" or rng.random() < 0.8:
            here = (here + int(rng.integers(1, 3))) % 3
        scenes.append(Scene(length, sets[here], tuple(actors), enter=enter))  # type: ignore[arg-type]
    return scenes


def crossing(people: dict[str, list[Portrait]], rng: Random, width: int, height: int) -> list[Scene]:
    """Pairs that cross at nearly the same size and height again and again: the nearer hides the farther."""
    scenes = []
    names = [str(name) for name in rng.permutation(sorted(people))[:4]]
    for first, second in ((0, 1), (2, 3), (1, 2)):
        size = height * float(rng.uniform(0.15, 0.25))
        y = height * 0.4
        times = np.linspace(0, 90, 7)
        swing = width * 0.28 * np.cos(np.pi * np.arange(7) / 2 * 1.0001)
        pair = []
        for name, sign, depth in ((names[first], 1, 0.0), (names[second], -1, 1.0)):
            keys = tuple(
                Key(float(t), width / 2 + sign * float(s), y + float(rng.normal(0, 0.05 * size)), size)
                for t, s in zip(times, swing, strict=True)
            )
            pair.append(Actor(one_of(people[name], rng), keys, depth=depth, **looks(rng)))  # type: ignore[arg-type]
        scenes.append(Scene(90, backdrop(rng, width, height), tuple(pair)))
    return scenes


def pan(photos: Sequence[Backdrop], rng: Random, width: int, height: int, *, length: int = 70) -> list[Scene]:
    """Group photos moved past the camera, there and back, some twice."""
    scenes = []
    for photo in [*photos, photos[0]]:
        tall, wide = photo.image.shape[:2]
        size = min(wide, tall * width / height) * float(rng.uniform(0.55, 0.8))
        y = (tall - size * height / width) * float(rng.uniform(0.1, 0.4))
        ends = [0.0, wide - size]
        if rng.random() < 0.5:
            ends.reverse()
        camera = (Key(0, ends[0], y, size), Key(length * 0.5, ends[1], y, size), Key(length, ends[0], y, size * 0.95))
        scenes.append(Scene(length, photo, camera=camera))
    return scenes


KINDS: dict[str, Callable[..., list[Scene]]] = {
    "street": street,
    "talk": talk,
    "crossing": crossing,
    "boulevard": boulevard,
    "corridor": corridor,
}
"""Makers of clips from portraits; ``pan`` and ``album`` take group photos."""


def portraits_of(photos: Path) -> dict[str, list[Portrait]]:
    """Return the largest face of each photo, by the name of its directory, as the default detector finds it."""
    from facesearch_trt.config import Options
    from facesearch_trt.wiring import Tools

    people: dict[str, list[Portrait]] = {}
    with Tools(Options()) as tools:
        for path in sorted(photos.glob("*/*")):
            image = cv2.imread(str(path)) if path.parent.name != "groups" else None
            if image is None:
                continue
            (faces,) = tools.detector.detect([image])
            if len(faces):
                sides = faces.boxes[:, 2:] - faces.boxes[:, :2]
                box = tuple(faces.boxes[int(sides.prod(axis=1).argmax())].tolist())
                people.setdefault(path.parent.name, []).append(Portrait(path.parent.name, image, box))
    return people


def group_photos(photos: Path) -> list[Backdrop]:
    """Return the pictures of a directory beside which a table of the same name says who is where: x1, y1, x2, y2,
    person."""
    found = []
    for path in sorted(photos.glob("*.csv")):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        faces = tuple((row["person"], tuple(float(row[side]) for side in ("x1", "y1", "x2", "y2"))) for row in rows)
        for picture in sorted(photos.glob(f"{path.stem}.*")):
            image = cv2.imread(str(picture)) if picture.suffix != ".csv" else None
            if image is not None:
                found.append(Backdrop(image, faces))  # type: ignore[arg-type]
    return found


def write_clip(
    scenes: Sequence[Scene], video: Path, truth: Path, width: int, height: int, *, rate: float = 1.0, seed: int = 0
) -> None:
    """Write a clip of 30 frames per second at rate 1, and who is where in it."""
    from facesearch_trt.graph.encode import write_video

    with truth.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["frame_num", "x1", "y1", "x2", "y2", "person"])

        def pictures() -> Iterator[Array]:
            for shown in film(scenes, width, height, rate=rate, seed=seed):
                rows.writerows(
                    [shown.frame_num, *(round(value, 2) for value in box), who] for box, who in shown.faces if who
                )
                yield shown.image

        write_video(video, pictures(), Fraction(30 * rate).limit_denominator(1000))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path), parser.add_argument("out", type=Path)
    parser.add_argument("--kind", choices=KINDS, default="street")
    for name, default in (("seed", 0), ("width", 1280), ("height", 720)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rate", type=float, default=1.0)
    args = parser.parse_args()
    people = portraits_of(args.photos)
    if len(people) < 4:
        parser.error(f"{args.photos}: faces of {len(people)} people were found; a clip takes at least 4")
    scenes = KINDS[args.kind](people, np.random.default_rng(args.seed), args.width, args.height)
    args.out.mkdir(parents=True, exist_ok=True)
    name = args.out / f"{args.kind}{args.seed}"
    video, truth = Path(f"{name}.mp4"), Path(f"{name}.csv")
    write_clip(scenes, video, truth, args.width, args.height, rate=args.rate, seed=args.seed)


if __name__ == "__main__":
    main()
