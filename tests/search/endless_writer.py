"""Indexes clips without end and says what it does, to be killed. Run as ``endless_writer.py LOCATION SEED``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from facesearch_trt.search import policy
from facesearch_trt.search.where import Where
from facesearch_trt.search.writer import IndexWriter

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.search.people import Crowd, clip_of

CLIPS = 60


def faces_of(version: int) -> int:
    """Return how many rows a clip's version has."""
    return 2 + version % 5


def main(location: str, seed: int) -> None:
    """Put, redo, delete and tidy up; a line before and after each commit."""
    # Everything that is rare in use happens often here.
    policy.APPROXIMATE_FROM_ROWS, policy._SMALL_FRAGMENTS, policy._MANY_SMALL_FRAGMENTS = 120, 6, 6
    policy._SEGMENTS, policy.RETAIN_S = 3, 0
    crowd, rng = Crowd(30, 16, seed=seed), np.random.default_rng(seed)
    say("open")
    with IndexWriter(location, wait_s=30) as writer:
        version = 1000 * seed
        while True:
            version += 1
            name = f"clip{rng.integers(CLIPS)}"
            if version % 17 == 0:
                say("deleting", name)
                writer.delete(Where(clips=(name,)))
                say("deleted", name)
                continue
            rows = clip_of(name, crowd.pictures(rng.integers(0, 30, faces_of(version))), fingerprint=str(version))
            say("putting", name, version)
            writer.put([rows])
            say("put", name, version)
            if version % 7 == 0:
                writer.tidy()


def say(*words: object) -> None:
    """Print a line at once, in one piece."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
