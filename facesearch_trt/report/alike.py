"""Who resembles whom, from the means that the last grouping of people left; they are kept until it is done anew."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..identity.scale import unit
from ..people.files import STATE_FILE, State, read_state
from ..types import Array
from .views import PersonView, Snapshot

__all__ = ["Alike", "Resemblance"]


@dataclass(frozen=True, slots=True)
class Alike:
    """Somebody who may be the same person."""

    person: PersonView
    similarity: float
    """Cosine of the two people's mean embeddings."""


@dataclass(frozen=True, slots=True)
class _Means:
    people: Array
    """Their ids, int64 [P], rising."""
    vectors: Array
    """float32 [P, D], of length 1."""
    apart: dict[int, set[int]]
    """With whom somebody was seen together."""


class Resemblance:
    """Knows who resembles whom in a ROOT. May be used from several threads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._file: tuple[int, int, int] | None = None
        self._means: _Means | None = None

    def alike(self, person: PersonView, snapshot: Snapshot, count: int) -> list[Alike]:
        """Return who resembles a person most and was never seen together with that person; ignored people are left out."""
        means = self._known()
        if means is None or person.person_id is None:
            return []
        own = np.flatnonzero(means.people == person.person_id)
        if not len(own):
            return []
        cosines = means.vectors @ means.vectors[own[0]]
        apart = {person.person_id} | means.apart.get(person.person_id, set())
        found: list[Alike] = []
        for at in np.argsort(-cosines).tolist():
            other = snapshot.person_of.get(str(means.people[at]))
            if other is not None and int(means.people[at]) not in apart and not other.ignored:
                found.append(Alike(other, float(cosines[at])))
            if len(found) == count:
                break
        return found

    def _known(self) -> _Means | None:
        with self._lock:
            try:
                stat = (self._root / STATE_FILE).stat()
                # It is always replaced as a whole.
                file = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            except OSError:
                return None
            if file != self._file:
                state = read_state(self._root)
                self._means = None if state is None or not len(state.person_ids) else _means(state)
                self._file = file
            return self._means


def _means(state: State) -> _Means:
    vectors = np.concatenate([clip.vectors for clip in state.clips if len(clip.face_ids)])
    weights = np.concatenate([clip.weights for clip in state.clips])
    people, groups = np.unique(state.person_ids, return_inverse=True)
    sums = np.zeros((len(people), vectors.shape[1]))
    np.add.at(sums, groups, vectors * weights[:, None])
    apart: dict[int, set[int]] = defaultdict(set)
    start = 0
    for clip in state.clips:
        ids = state.person_ids[start : start + len(clip.face_ids)]
        start += len(clip.face_ids)
        for one, other in ids[clip.conflicts].tolist() if len(clip.conflicts) else []:
            apart[one].add(other)
            apart[other].add(one)
    return _Means(people, unit(sums).astype(np.float32), dict(apart))
