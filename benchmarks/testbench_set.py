"""A directory of clips of three kinds, with truth: streets at 1080p, group photos under a moving camera, and a dozen
clips with the same people.

usage: python -m benchmarks.testbench_set PHOTOS OUT [--seed 100] [--rate 1] [--streets 2] [--albums 2] [--shared 12]

PHOTOS has a directory per person with portraits, and may have a directory ``groups`` of group photos, each with a table
``x1, y1, x2, y2, person`` of the same name beside it. OUT gets the clips, and OUT/truth what ``facesearch eval`` reads:

    facesearch run --input_directory OUT --frames none
    facesearch eval --truth OUT/truth OUT

The same seed makes the same clips; with ``--rate 2`` they show the same at twice the frame rate. A set whose seed was
never looked at while the program was changed is held out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.testbench import Scene
from benchmarks.testbench_clips import group_photos, portraits_of, talk, write_clip
from benchmarks.testbench_scenes import album, boulevard, corridor

SIZES = {"boulevard": (1920, 1080), "album": (1280, 720), "day": (640, 360)}
"""Width and height of the clips of a kind, px."""


def clips(
    photos: Path, seed: int, streets: int, albums: int, shared: int
) -> Iterator[tuple[str, list[Scene], int, int]]:
    """Yield each clip's name, scenes, width and height."""
    everybody = portraits_of(photos)
    groups = group_photos(photos / "groups")
    if len(everybody) < 4 or (albums and not groups):
        raise SystemExit(
            f"{photos}: {len(everybody)} people (4 are needed) and {len(groups)} group photos with a table"
        )
    for number in range(streets):
        rng = np.random.default_rng([seed, 1, number])
        yield f"boulevard{number}", boulevard(everybody, rng, *SIZES["boulevard"]), *SIZES["boulevard"]
    for number in range(albums):
        rng = np.random.default_rng([seed, 2, number])
        yield f"album{number}", album(groups, rng, *SIZES["album"]), *SIZES["album"]
    names = [str(name) for name in np.random.default_rng([seed, 3]).permutation(sorted(everybody))[:14]]
    cast = {name: everybody[name] for name in names}
    for number in range(shared):
        rng = np.random.default_rng([seed, 4, number])
        scenes = (
            talk(cast, rng, *SIZES["day"], cast=4, shots=4) if number % 4 == 3 else corridor(cast, rng, *SIZES["day"])
        )
        yield f"day{number:02d}", scenes, *SIZES["day"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path), parser.add_argument("out", type=Path)
    for name, default in (("seed", 100), ("streets", 2), ("albums", 2), ("shared", 12)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rate", type=float, default=1.0)
    args = parser.parse_args()
    (args.out / "truth").mkdir(parents=True, exist_ok=True)
    for name, scenes, width, height in clips(args.photos, args.seed, args.streets, args.albums, args.shared):
        video, truth = args.out / f"{name}.mp4", args.out / "truth" / f"{name}.csv"
        if not video.exists():
            write_clip(scenes, video, truth, width, height, rate=args.rate, seed=args.seed)


if __name__ == "__main__":
    main()
