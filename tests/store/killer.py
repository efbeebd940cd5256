"""Kills passes at every moment at which they touch the file system, and redoes them; prints what was left wrong.

Usage: python -m tests.store.killer SCENARIO DIRECTORY. A process of its own, since it forks and kills its children.
Each kill point is one audit event of a child (a file opened, made, renamed, removed), or, in the scenario ``anywhere``,
one call of a Python function, which is as good as any moment in between.
"""

# ruff: noqa: T201

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from facesearch_trt.store import STEPS, ClipStore, StepName

from .synthetic import KEYS, contents, single_pass, stepwise

NEW_KEYS: dict[StepName, str] = {step: f"new {key}" for step, key in KEYS.items()}
_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"}

# The order of the work is under test here, not the disk.
os.fsync = lambda descriptor: None


def _die_at_event(number: int) -> None:
    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal number
        if event in _EVENTS:
            number -= 1
            if number == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _die_at_call(number: int) -> None:
    def hook(frame: object, event: str, argument: object) -> None:
        nonlocal number
        number -= 1
        if number == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(hook)


def _in_child(work: Callable[[], object]) -> int:
    """Return the exit status, or minus the signal, of a child that does the work."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _new_single(directory: Path) -> None:
    """Do what a run does: all, unless it is done already."""
    store = ClipStore(directory)
    store.tidy()
    if not all(store.is_done(step, key) for step, key in NEW_KEYS.items()):
        single_pass(directory, count=6, seed=1, keep="faces", keys=NEW_KEYS)


def _new_steps(directory: Path) -> None:
    """Do what the four steps do one after the other: those that are not done."""
    ClipStore(directory).tidy()
    stepwise(directory, count=6, seed=1, keep="faces", keys=NEW_KEYS)


def main(scenario: str, root: Path) -> None:
    """Print one line for each thing that was left wrong, then how many kills there were."""
    redo = _new_steps if scenario == "steps" else _new_single
    die = _die_at_call if scenario == "anywhere" else _die_at_event
    directory, wanted_in, old_in = root / "clip.pipeline", root / "wanted.pipeline", root / "old.pipeline"
    assert _in_child(lambda: redo(wanted_in)) == 0
    assert _in_child(lambda: single_pass(old_in, count=8)) == 0
    wanted, old = contents(wanted_in), contents(old_in)
    moments = {
        "first": [*range(1, 10_000, 2)],
        # Four passes with 250 events: every fourth is enough of a sample.
        "steps": [*range(1, 10_000, 4)],
        "anywhere": [*range(3, 2000, 101), *range(2000, 100_000, 1499)],
    }
    kills = untouched = 0
    for number in moments.get(scenario, range(1, 10_000)):
        shutil.rmtree(directory, ignore_errors=True)
        if scenario != "first":
            shutil.copytree(old_in, directory)
        status = _in_child(lambda n=number: (die(n), redo(directory)))
        if status == 0:
            break
        assert status == -signal.SIGKILL, status
        kills += 1
        problems = _after_kill(directory, old, wanted, scenario)
        untouched += contents(directory) == old if directory.exists() else 0
        if _in_child(lambda: redo(directory)) != 0:
            problems.append("the next pass failed")
        elif contents(directory) != wanted:
            problems.append(f"differs: {_difference(contents(directory), wanted)}")
        for problem in problems:
            print(f"kill {number}: {problem}")
    else:
        print("the pass never came to its end")
    print(f"kills {kills} untouched {untouched}")


def _after_kill(directory: Path, old: dict[str, bytes], wanted: dict[str, bytes], scenario: str) -> list[str]:
    """Look at what the next run finds: either all of the old, or nothing claimed that is not there."""
    store = ClipStore(directory)
    store.tidy()
    found = contents(directory) if directory.exists() else {}
    record = store.record()
    done = () if record is None else tuple(step for step in STEPS if step in record.steps)
    problems = []
    if any(name.startswith(".") for name in found):
        problems.append(f"tidy left {[name for name in found if name.startswith('.')]}")
    if done == STEPS and found not in (old, wanted):
        problems.append(f"complete, but differs: {_difference(found, wanted)}")
    if scenario != "steps" and done not in ((), STEPS):
        problems.append(f"half a pass is complete: {done}")
    # A step that counts as done can be read.
    if "frames" in done:
        if "faces" in done:
            with_embeddings = "embeddings" in done
            for _ in store.load_faces(with_chips=True, with_embeddings=with_embeddings):
                pass
        if "identity" in done:
            store.load_identity()
    return problems


def _difference(found: dict[str, bytes], wanted: dict[str, bytes]) -> str:
    changed = [name for name in wanted if name in found and found[name] != wanted[name]]
    missing, extra = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    return f"changed {changed}, missing {missing}, extra {extra}"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
