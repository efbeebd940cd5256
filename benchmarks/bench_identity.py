"""Time, memory and agreement of the grouping across clips as the number of people-of-clips grows.

usage: bench_identity.py [--sizes 1000,10000,100000] [--dimension 512] [--out benchmarks/results/identity.json]

Sizes that are not measured keep their result in the file. The load of the machine (mean of the last minute, at the end)
is noted with each; processor seconds are what to compare on a machine that others use.

Synthetic identities: unit vectors around random centres, 6.7 appearances of a person on average (1 to 40, geometric),
cosine of two appearances of one person 0.6. One in twenty appearances is poor (cosine 0.3 with its person's, not
trusted). Appearances come in clips of up to 27; those of one clip were seen together, so a person is in a clip once.
Each size runs in a process of its own, so that its peak of memory is its own. Up to 20,000 appearances the grouping is
also compared with the exact one (``exact_clustering.py``, all pairs, one merge after the other).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.exact_clustering import agglomerate
from facesearch_trt.evaluation.grouping import agreement, bcubed
from facesearch_trt.identity.across_clips import Appearances, people_of_all_clips, similarity_needed
from facesearch_trt.identity.scale import unit

SIMILARITY_SAME, SIMILARITY_POOR = 0.6, 0.3
EXACT_UP_TO = 20_000
CLIP = 27


def make(count: int, dimension: int, seed: int = 0) -> tuple[Appearances, np.ndarray]:
    """Return appearances and the true person of each."""
    random = np.random.default_rng(seed)
    sizes = np.minimum(random.geometric(1 / 6.7, count), 40)
    people = np.repeat(np.arange(len(sizes)), sizes)[:count].copy()
    random.shuffle(people)
    poor = random.random(count) < 0.05
    vectors = np.empty((count, dimension), np.float32)
    for start in range(0, count, 50_000):
        part = slice(start, start + 50_000)
        kind, centre = np.unique(people[part], return_inverse=True)
        centres = np.stack(
            [np.random.default_rng([seed, 1, int(k)]).standard_normal(dimension, np.float32) for k in kind]
        )
        own = random.standard_normal((len(centre), dimension), np.float32)
        # Two appearances' cosine is the product of the shares that they have of their centre.
        share = np.where(poor[part], SIMILARITY_POOR / SIMILARITY_SAME, 1.0) * SIMILARITY_SAME
        weight = np.where(poor[part], share / np.sqrt(SIMILARITY_SAME), np.sqrt(SIMILARITY_SAME)).astype(np.float32)
        vectors[part] = unit(weight[:, None] * unit(centres)[centre] + np.sqrt(1 - weight**2)[:, None] * unit(own))
    clips = np.arange(count) // CLIP
    return Appearances(vectors, np.where(poor, 0.05, 5.0), ~poor, _together(people), clips), people


def _together(people: np.ndarray) -> np.ndarray:
    """Return the pairs of each clip's rows that are two people; three of each clip's people were seen at once."""
    rows = np.arange(len(people) - 2)
    pairs = np.concatenate([np.stack([rows, rows + step], axis=1) for step in (1, 2)])
    same_clip = pairs[:, 0] // CLIP == pairs[:, 1] // CLIP
    return pairs[same_clip & (people[pairs[:, 0]] != people[pairs[:, 1]])]


def measure(count: int, dimension: int) -> dict[str, Any]:
    """Group so many appearances and say how long it took and how right it was."""
    # The cosines of strangers have a standard deviation of 1 / sqrt(D); 3.09 and 3.54 of it are the two thresholds.
    similarity, strict = 3.09 / dimension**0.5, 3.54 / dimension**0.5
    appearances, people = make(count, dimension)
    made = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start, processor = time.perf_counter(), time.process_time()
    found = people_of_all_clips(appearances, similarity, strict)
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    good = appearances.trusted
    scores = bcubed(found.tolist(), people.tolist())
    scores_good = bcubed(found[good].tolist(), people[good].tolist())
    result = {
        "appearances": count,
        "dimension": dimension,
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
        "peak_mib": round(peak),
        "data_mib": round(made),
        "people": len(np.unique(people)),
        "groups": len(np.unique(found)),
        "bcubed_f": round(scores.f, 4),
        "bcubed_f_good": round(scores_good.f, 4),
        "bcubed_precision_good": round(scores_good.precision, 4),
        "agreement_with_exact": None,
        "load": round(os.getloadavg()[0], 1),
    }
    if count <= EXACT_UP_TO:
        rows = np.flatnonzero(good)
        groups = len(np.unique(found))
        place = np.full(count, -1)
        place[rows] = np.arange(len(rows))
        pairs = place[appearances.conflicts]
        need = np.full(len(rows), similarity_needed(groups, similarity, strict))
        exact = agglomerate(
            appearances.vectors[rows],
            np.sqrt(appearances.weights[rows]),
            need,
            [tuple(pair) for pair in pairs[(pairs >= 0).all(axis=1)].tolist()],
        )
        result["agreement_with_exact"] = round(agreement(found[rows].tolist(), exact.tolist()), 4)
    return result


def main() -> None:
    """Run each size in a process of its own and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000,100000,1000000")
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "identity.json")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args.dimension)))
        return
    old = json.loads(args.out.read_text(encoding="utf-8"))["results"] if args.out.exists() else []
    results: list[dict[str, Any]] = []
    for size in map(int, args.sizes.split(",")):
        command = [
            sys.executable,
            "-m",
            "benchmarks.bench_identity",
            "--one",
            str(size),
            "--dimension",
            str(args.dimension),
        ]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        results.append(json.loads(done.stdout))
        print(json.dumps(results[-1]), flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    measured = {result["appearances"] for result in results}
    results = sorted(
        [*results, *(row for row in old if row["appearances"] not in measured)], key=lambda row: int(row["appearances"])
    )
    content = {"processors": len(os.sched_getaffinity(0)), "numpy": np.__version__, "results": results}
    args.out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
