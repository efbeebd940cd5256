"""A cut of power: what the disk has to have before what else, so that a record never vouches for what may be lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from facesearch_trt.store.schema import RECORD_FILE

from .synthetic import KEYS, single_pass

TABLES = {"frames.csv", "frame_tbl.csv", "shots.csv", "faces.csv", "quality.csv", "embeddings.pth"}


class Disk:
    """Notes, in order, what is synchronised, renamed and removed in a directory."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[tuple[str, str]] = []
        sync, rename, replace, unlink = os.fsync, Path.rename, os.replace, Path.unlink

        def note_sync(descriptor: int) -> None:
            self.events.append(("sync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
            sync(descriptor)

        def note_rename(path: Path, target: Any) -> Path:
            self.events.append(("rename", str(target)))
            return rename(path, target)

        def note_replace(path: Any, target: Any) -> None:
            self.events.append(("rename", str(target)))
            replace(path, target)

        def note_unlink(path: Path, missing_ok: bool = False) -> None:
            self.events.append(("remove", str(path)))
            unlink(path, missing_ok=missing_ok)

        monkeypatch.setattr(os, "fsync", note_sync)
        monkeypatch.setattr(Path, "rename", note_rename)
        monkeypatch.setattr(os, "replace", note_replace)
        monkeypatch.setattr(Path, "unlink", note_unlink)


@pytest.mark.parametrize("over_old_results", [False, True])
def test_the_order_of_a_commit(tmp_path: Path, over_old_results: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "clip.pipeline"
    if over_old_results:
        single_pass(directory, count=5, keys=dict.fromkeys(KEYS, "old"))
    disk = Disk(directory, monkeypatch)
    single_pass(directory, count=4)
    events = disk.events
    record = str(directory / RECORD_FILE)
    renamed = [number for number, event in enumerate(events) if event == ("rename", record)]
    assert len(renamed) == 2, "once without the steps that change, once complete"
    first, last = renamed
    synced = [number for number, event in enumerate(events) if event == ("sync", str(directory))]
    for name in TABLES:
        arrives = events.index(("rename", str(directory / name)), first)
        # Its content is on the disk before it gets its name, and its name before the record says that it is there.
        content = max(
            number for number, (kind, path) in enumerate(events) if kind == "sync" and Path(path).name == name
        )
        assert content < arrives < last
        assert any(arrives < number < last for number in synced)
    changes = [
        number
        for number, (kind, path) in enumerate(events)
        if first < number < last and kind in ("rename", "remove") and Path(path).parent == directory
    ]
    if over_old_results:
        # The record that vouched for the old results is gone before any of them is.
        assert any(first < number < min(changes) for number in synced)
        assert not any(
            path == str(directory / name) for kind, path in events[:first] if kind != "sync" for name in TABLES
        )
    # And at the end the disk has the record's name, too.
    assert synced[-1] > last
