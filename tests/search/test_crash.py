"""Writers killed at random moments, and readers beside a writer."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from facesearch_trt.search.confidence import Thresholds
from facesearch_trt.search.index import Index
from facesearch_trt.search.where import Where
from facesearch_trt.search.writer import IndexWriter

from .endless_writer import faces_of
from .people import MODEL, Crowd, clip_of

WRITER = Path(__file__).with_name("endless_writer.py")
KILLS = int(os.environ.get("FACESEARCH_KILLS", "4"))
TOGETHER_S = float(os.environ.get("FACESEARCH_TOGETHER_S", "0"))


def _start(location: Path, seed: int) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(WRITER.parents[2])}
    return subprocess.Popen(
        [sys.executable, str(WRITER), str(location), str(seed)], stdout=subprocess.PIPE, text=True, env=environment
    )


class _Ledger:
    """What must be in the index, from what the writers said."""

    def __init__(self) -> None:
        self.sure: dict[str, int | None] = {}
        """Clip → version that was committed; None where it was deleted."""
        self.open: tuple[str, int | None] | None = None
        """What may or may not have been committed when the writer was killed."""

    def read(self, lines: list[str]) -> None:
        for line in lines:
            if not line.endswith("\n"):
                continue
            match line.split():
                case ["putting", name, version]:
                    self.open = (name, int(version))
                case ["deleting", name]:
                    self.open = (name, None)
                case ["put" | "deleted", name, *_]:
                    assert self.open is not None
                    assert self.open[0] == name
                    self.sure[name] = self.open[1]
                    self.open = None

    def settle(self, index: Index) -> None:
        """Check every clip, and take note of what became of the open one."""
        entries = index.clips()
        found = {entry.clip: int(entry.fingerprint) for entry in entries}
        assert len(found) == len(entries), "a clip is there twice"
        if self.open is not None and found.get(self.open[0]) == self.open[1]:
            self.sure[self.open[0]] = self.open[1]
        self.open = None
        assert found == {name: version for name, version in self.sure.items() if version is not None}
        tables = [index._of_model(model) for model in index.models()]
        rows = Counter(clip for table in tables for (clip,) in table.values("kind = 'track'", ["clip"]))
        assert rows == {name: faces_of(version) for name, version in found.items()}


def test_a_writer_killed_at_any_moment_leaves_every_clip_whole(tmp_path: Path) -> None:
    moments, ledger = random.Random(0), _Ledger()
    for seed in range(1, KILLS + 1):
        with _start(tmp_path, seed) as process:
            assert process.stdout is not None
            # Not before it writes, which takes a while on a busy machine.
            lines = [process.stdout.readline(), process.stdout.readline()]
            time.sleep(moments.uniform(0, 1.0))
            process.kill()
            ledger.read([*lines, *process.stdout.readlines()])
        ledger.settle(Index.open(tmp_path))
    assert len(ledger.sure) > 5
    with IndexWriter(tmp_path) as writer:
        writer.put([clip_of("last", Crowd(1, 16).pictures([0]))])
        writer.tidy()


class _Counter:
    """Counts, in a thread, the lines of a process that begin in a certain way; leaving it ends the process."""

    def __init__(self, process: subprocess.Popen[str], beginning: str) -> None:
        self.count = 0
        self._process = process
        self._thread = threading.Thread(target=self._read, args=(process, beginning))

    def _read(self, process: subprocess.Popen[str], beginning: str) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.count += line.startswith(beginning)

    def __enter__(self) -> _Counter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._thread.join()


def test_a_reader_beside_a_writer_is_never_wrong(tmp_path: Path) -> None:
    """One process writes, redoes, deletes, merges and builds; every answer of the other is of one commit."""
    steady = Crowd(1, 16, alike=0.99, seed=99).pictures([0, 0, 0])
    with IndexWriter(tmp_path) as writer:
        writer.put([clip_of("steady", steady, names=["Ann"] * 3, face_ids=[0, 0, 0])])
    index, thresholds = Index.open(tmp_path), Thresholds(0.9, 0.95)
    searches, end = 0, time.monotonic() + TOGETHER_S
    with _start(tmp_path, 5) as process, _Counter(process, "put ") as written:
        while time.monotonic() < end or written.count < 30 or searches < 10:
            assert process.poll() is None, "the writer has failed"
            answer = index.search(steady[:1], model=MODEL, thresholds=thresholds, where=Where(people=("Ann",)))
            assert [found.match.clip for found in answer.found] == ["steady"]
            assert len(answer.found[0].match.appearances) == 3
            rows = index._of_model(MODEL).values("", ["clip", "kind", "fingerprint"])
            counts = Counter(clip for clip, kind, _ in rows if kind == "track")
            for clip, kind, fingerprint in rows:
                if kind == "clip" and clip != "steady":
                    assert counts.pop(clip) == faces_of(int(fingerprint))
            assert counts == {"steady": 3}
            searches += 1
