"""Build time, size, memory, speed and recall of the index as it grows, against exact search with numpy and against
FAISS.

usage: bench_index.py [--sizes 10000,100000,1000000] [--dimension 512] [--queries 200] [--work DIR]
                      [--out benchmarks/results/index.json] [--skip ENGINE,...]

Synthetic identities: unit vectors around random centres in all directions, 50 of a person on average (1 to some 300,
geometric), cosine of two of one person 0.6. Strangers are spread evenly, which is the hardest case for an approximate
index: of the 100 nearest rows, those beyond the person's own are strangers that hardly differ in distance.

Each engine runs in a process of its own over the same vectors, so that its memory is its own:

index       this program: clips of 25 rows, put in batches of 64 as `facesearch index` does, then searched for the top 100
numpy       all vectors in memory, one matrix product per query, exact
faiss-flat  FAISS, exact
faiss-sq8   FAISS, IVF with 8-bit codes, all cells probed
faiss-hnsw  FAISS, HNSW with 32 links; built up to 100,000 rows only, for it takes 40 minutes for a million

For the index also: what one more clip, a clip done again, and the erasure of a person cost at each size.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

TOP = 100
ENGINES = ("numpy", "index", "faiss-flat", "faiss-sq8", "faiss-hnsw")
HNSW_UP_TO = 100_000
CLIP_ROWS, BATCH_CLIPS = 25, 64
ALIKE = 0.6
MODEL = "synthetic"


def main() -> None:
    """Measure every engine at every size and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--work", type=Path, help="directory for the vectors and indexes; a temporary one by default")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--skip", default="")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.engine:
        print(json.dumps(MEASURES[args.engine](args.work)))
        return
    results: dict[str, Any] = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "versions": _versions(),
        "dimension": args.dimension,
        "queries": args.queries,
        "sizes": {},
    }
    for size in map(int, args.sizes.split(",")):
        with tempfile.TemporaryDirectory(dir=args.work) as name:
            work = Path(name)
            make(work, size, args.dimension, args.queries)
            results["sizes"][size] = rows = {}
            for engine in ENGINES:
                if engine in args.skip.split(",") or (engine == "faiss-hnsw" and size > HNSW_UP_TO):
                    continue
                rows[engine] = _in_a_process(engine, work)
                print(size, engine, json.dumps(rows[engine]), flush=True)
                if args.out:
                    args.out.parent.mkdir(parents=True, exist_ok=True)
                    args.out.write_text(json.dumps(results, indent=1) + "\n")


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("lancedb", "numpy", "faiss-cpu")}


def make(work: Path, size: int, dimension: int, queries: int) -> None:
    """Write vectors.npy [N, D], people.npy [N], queries.npy [Q, D], asked.npy [Q]."""
    random = np.random.default_rng(size)
    counts = random.geometric(1 / 50, size // 20)
    people = np.repeat(np.arange(len(counts)), counts)[:size].copy()
    random.shuffle(people)
    centres = _unit(random.standard_normal((people.max() + 1, dimension), np.float32))
    vectors = np.lib.format.open_memmap(work / "vectors.npy", "w+", np.float32, (size, dimension))
    for start in range(0, size, 50_000):
        vectors[start : start + 50_000] = _pictures(random, centres[people[start : start + 50_000]])
    vectors.flush()
    asked = people[random.choice(size, queries, replace=False)]
    np.save(work / "people.npy", people)
    np.save(work / "queries.npy", _pictures(random, centres[asked]))
    np.save(work / "asked.npy", asked)


def _pictures(random: np.random.Generator, centres: np.ndarray) -> np.ndarray:
    noise = _unit(random.standard_normal(centres.shape, np.float32))
    return _unit(np.sqrt(np.float32(ALIKE)) * centres + np.sqrt(np.float32(1 - ALIKE)) * noise)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _in_a_process(engine: str, work: Path) -> dict[str, Any]:
    load = os.getloadavg()[0]
    done = subprocess.run(
        [sys.executable, __file__, "--engine", engine, "--work", str(work)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {
        **json.loads(done.stdout.splitlines()[-1]),
        "load_before": round(load, 1),
        "load_after": round(os.getloadavg()[0], 1),
    }


def _memory_mb(field: str) -> int:
    """Return VmRSS, RssAnon or VmHWM of this process."""
    with Path("/proc/self/status").open() as file:
        return next(int(line.split()[1]) // 1024 for line in file if line.startswith(f"{field}:"))


def _searched(work: Path, search: Callable[[np.ndarray], np.ndarray]) -> dict[str, Any]:
    """Time ``search`` (query → row numbers) and compare with the exact answer, which the first engine leaves behind."""
    queries, people, asked = (np.load(work / f"{name}.npy") for name in ("queries", "people", "asked"))
    for query in queries[:10]:
        search(query)
    found, times_ms = [], []
    for query in queries:
        start = time.perf_counter()
        found.append(search(query))
        times_ms.append((time.perf_counter() - start) * 1e3)
    result: dict[str, Any] = {
        "p50_ms": round(float(np.percentile(times_ms, 50)), 1),
        "p99_ms": round(float(np.percentile(times_ms, 99)), 1),
        "rss_mb": _memory_mb("VmRSS"),
        "rss_own_mb": _memory_mb("RssAnon"),
    }
    exact_file = work / "exact.npy"
    if not exact_file.exists():
        np.save(exact_file, np.array(found))
    exact = np.load(exact_file)
    recall = [len(set(one.tolist()) & set(other.tolist())) / TOP for one, other in zip(found, exact, strict=True)]
    own = np.bincount(people)
    hits = [(people[one] == who).sum() / min(TOP, own[who]) for one, who in zip(found, asked, strict=True)]
    best = [(people[one] == who).sum() / min(TOP, own[who]) for one, who in zip(exact, asked, strict=True)]
    result["recall_top_100"] = round(float(np.mean(recall)), 4)
    result["persons_rows_found"] = round(float(np.mean(hits)), 4)
    result["persons_rows_found_exactly"] = round(float(np.mean(best)), 4)
    return result


def measure_numpy(work: Path) -> dict[str, Any]:
    """Exact search over a matrix in memory."""
    start = time.perf_counter()
    vectors = np.load(work / "vectors.npy")
    build_s = time.perf_counter() - start

    def search(query: np.ndarray) -> np.ndarray:
        scores = vectors @ query
        top = np.argpartition(-scores, TOP)[:TOP]
        return top[np.argsort(-scores[top])]

    return {"build_s": round(build_s, 1), **_searched(work, search)}


def measure_faiss(kind: str) -> Callable[[Path], dict[str, Any]]:
    """Return a measure of a FAISS index."""

    def measure(work: Path) -> dict[str, Any]:
        import faiss

        vectors = np.load(work / "vectors.npy", mmap_mode="r")
        size, dimension = vectors.shape
        start = time.perf_counter()
        cells = max(1, size // 4096)
        factory = {"flat": "Flat", "sq8": f"IVF{cells},SQ8", "hnsw": "HNSW32"}[kind]
        index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
        if not index.is_trained:
            sample = np.random.default_rng(0).choice(size, min(size, cells * 256), replace=False)
            index.train(np.ascontiguousarray(vectors[np.sort(sample)]))
        if kind == "sq8":
            index.nprobe = cells
        if kind == "hnsw":
            index.hnsw.efConstruction, index.hnsw.efSearch = 200, 256
        for at in range(0, size, 50_000):
            index.add(np.ascontiguousarray(vectors[at : at + 50_000]))
        build_s = time.perf_counter() - start
        faiss.write_index(index, str(work / "faiss"))
        disk_mb = (work / "faiss").stat().st_size // 2**20
        (work / "faiss").unlink()
        del vectors

        def search(query: np.ndarray) -> np.ndarray:
            return np.asarray(index.search(query[None], TOP)[1][0])

        return {"build_s": round(build_s, 1), "disk_mb": disk_mb, **_searched(work, search)}

    return measure


def measure_index(work: Path) -> dict[str, Any]:
    """Build this program's index, then search it in a process that did not build it, then change it."""
    built = _in_a_process("index-build", work)
    searched = _in_a_process("index-search", work)
    changed = _in_a_process("index-change", work)
    shutil.rmtree(work / "index")
    loads = [part.pop(key) for part in (built, searched, changed) for key in ("load_before", "load_after")]
    return {**built, **searched, **changed, "load_within": [min(loads), max(loads)]}


def build_index(work: Path) -> dict[str, Any]:
    """Put all vectors, as clips of 25 tracks of people whose ids are known."""
    from facesearch_trt.search.writer import IndexWriter

    vectors, people = np.load(work / "vectors.npy", mmap_mode="r"), np.load(work / "people.npy")
    start = time.perf_counter()
    commits_ms = []
    with IndexWriter(work / "index") as writer:
        for batch in range(0, len(vectors), CLIP_ROWS * BATCH_CLIPS):
            firsts = range(batch, min(batch + CLIP_ROWS * BATCH_CLIPS, len(vectors)), CLIP_ROWS)
            clips = [
                _clip(first, vectors[first : first + CLIP_ROWS], people[first : first + CLIP_ROWS]) for first in firsts
            ]
            before = time.perf_counter()
            writer.put(clips)
            commits_ms.append((time.perf_counter() - before) * 1e3)
        put_s = time.perf_counter() - start
        writer.tidy()
    build_s = time.perf_counter() - start
    tenth = max(1, len(commits_ms) // 10)
    return {
        "build_s": round(build_s, 1),
        "put_s": round(put_s, 1),
        "commits": len(commits_ms),
        "commit_ms_first_tenth": round(float(np.median(commits_ms[:tenth])), 1),
        "commit_ms_last_tenth": round(float(np.median(commits_ms[-tenth:])), 1),
        "build_peak_rss_mb": _memory_mb("VmHWM"),
        "disk_at_once_mb": _disk_mb(work / "index"),
    }


def search_index(work: Path) -> dict[str, Any]:
    """Top 100 of the table, and whole answers with appearances and odds."""
    start = time.perf_counter()
    from facesearch_trt.search.confidence import Thresholds
    from facesearch_trt.search.index import Index

    index = Index.open(work / "index")
    table = index._of_model(MODEL)
    queries = np.load(work / "queries.npy")
    table.nearest(queries[0], "", TOP)
    first_s = time.perf_counter() - start

    def search(query: np.ndarray) -> np.ndarray:
        rows = table.nearest(query, "", TOP)
        return np.array([int(row["clip"]) + row["track_id"] for row in rows])

    result = {
        "open_and_first_query_s": round(first_s, 2),
        "approximate": table.has_approximate_index(),
        **_searched(work, search),
    }
    answers_ms = []
    for query in queries[:50]:
        start = time.perf_counter()
        index.search(query, model=MODEL, thresholds=Thresholds(0.4, 0.45), top=20)
        answers_ms.append((time.perf_counter() - start) * 1e3)
    result["whole_answer_p50_ms"] = round(float(np.percentile(answers_ms, 50)), 1)
    result["whole_answer_p99_ms"] = round(float(np.percentile(answers_ms, 99)), 1)
    return result


def change_index(work: Path) -> dict[str, Any]:
    """One more clip, a clip done again, a person erased; the median of several, but for the erasure."""
    from facesearch_trt.search.where import Where
    from facesearch_trt.search.writer import IndexWriter

    vectors, people = np.load(work / "vectors.npy", mmap_mode="r"), np.load(work / "people.npy")
    with IndexWriter(work / "index") as writer:

        def timed(change: Callable[[], object]) -> float:
            start = time.perf_counter()
            change()
            return (time.perf_counter() - start) * 1e3

        def put(name: int, at: int) -> float:
            rows = _clip(name, vectors[at : at + CLIP_ROWS], people[at : at + CLIP_ROWS])
            return timed(lambda: writer.put([rows]))

        more = [put(10**9 + number, number * CLIP_ROWS) for number in range(100)]
        again = [put(number * CLIP_ROWS, number * CLIP_ROWS + CLIP_ROWS) for number in range(20)]
        erase_s = timed(lambda: writer.delete(Where(person_ids=(str(people[0]),)))) / 1e3
    return {
        "one_more_clip_ms": round(float(np.median(more)), 1),
        "clip_done_again_ms": round(float(np.median(again)), 1),
        "person_erased_s": round(erase_s, 1),
        "disk_mb": _disk_mb(work / "index"),
    }


def _clip(name: int, vectors: np.ndarray, people: np.ndarray) -> Any:
    from facesearch_trt.search.rows import ClipEntry, ClipRows

    count = len(vectors)
    numbers = np.arange(count)
    return ClipRows(
        ClipEntry("/videos", str(name), MODEL, "1", f"/videos/{name}.mp4", 0.0, 60.0),
        kind=["track"] * count,
        track_id=numbers,
        face_id=numbers,
        person_id=[str(person) for person in people],
        name=[None] * count,
        start_s=numbers * 2.0,
        end_s=numbers * 2.0 + 1.5,
        faces=np.full(count, 40),
        pts_s=numbers * 2.0 + 1,
        frame_num=numbers * 60,
        face_num=numbers * 40,
        boxes=np.zeros((count, 4), np.float32),
        quality=np.full(count, 0.6, np.float32),
        chip=[f"faces/frame_{number:04d}_face_00.png" for number in numbers],
        vectors=np.asarray(vectors),
    )


def _disk_mb(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) // 2**20


MEASURES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "numpy": measure_numpy,
    "index": measure_index,
    "index-build": build_index,
    "index-search": search_index,
    "index-change": change_index,
    **{f"faiss-{kind}": measure_faiss(kind) for kind in ("flat", "sq8", "hnsw")},
}

if __name__ == "__main__":
    main()
