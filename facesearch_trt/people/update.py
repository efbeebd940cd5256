"""Who is who over all clips of a ROOT: reads what changed, groups, keeps ids stable, writes ``people.csv``."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..errors import FaceSearchError, IdentityError
from ..identity.across_clips import group_means, people_of_all_clips, similarity_needed
from ..identity.persons import Change, carry_ids
from .clips import ClipPeople, clip_fingerprint, finished_clips, read_clip_people
from .decided import decided_rows, followed, with_new_ids
from .decisions import DECISIONS_FILE, Decisions, load_decisions, save_decisions
from .files import (
    NAMES_FILE,
    PEOPLE_FILE,
    NamedPerson,
    State,
    locked,
    read_names,
    read_people_table,
    read_state,
    table_bytes,
    write_state,
    write_whole,
)
from .gallery import Gallery, load_gallery, names_from_gallery
from .log import append_log, merged_into, read_log
from .rows import appearances, ids_before, means_of

__all__ = ["PeopleSummary", "known_people", "resolve", "update_people"]

_log = logging.getLogger(__name__)
_VERSION = 3
"""Changes when the same clips give other people."""


@dataclass(slots=True)
class PeopleSummary:
    """What an update of a ROOT's people did."""

    clips: int = 0
    people: int = 0
    named: int = 0
    changed: bool = False
    """False where nothing had changed since the last time."""
    changes: list[Change] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Clips whose results cannot be read, and why; they are left out."""


def update_people(
    root: Path, similarity: float, similarity_strict: float, embedder_name: str | None = None, *, force: bool = False
) -> PeopleSummary:
    """Bring ``people.csv`` of a ROOT up to date with its finished clips, its ``people.yaml`` and its gallery.

    Only clips that changed are read. Ids stay with the people that they were given to; what became of an id is written
    to ``people_log.csv``. Where nothing changed nothing is done.

    Parameters
    ----------
    similarity, similarity_strict: the embedder's calibrated thresholds; see models.entries.EmbedderEntry.
    embedder_name: the embedder that all clips' embeddings have to be of; None: they only have to be of the same.
    force: do it although nothing changed.

    Raises IdentityError for embeddings of different models, OptionError for decisions that are not possible,
    TableError for a damaged table, StoreError where the files cannot be written.
    """
    directories = finished_clips(root)
    with locked(root):
        decisions = load_decisions(root)
        summary = PeopleSummary()
        prints = _fingerprints(directories, summary)
        gallery = load_gallery(root)
        stamp = _stamp(root, prints, (similarity, similarity_strict), gallery)
        old = read_state(root, stamp=stamp)
        if old is not None and old.stamp == stamp and not force:
            people = read_people_table(root)
            summary.clips, summary.people = len(prints), len(set(people.values()))
            summary.named = len(read_names(root))
            return summary
        old = read_state(root)
        clips = _read(directories, prints, old, summary)
        if not clips and old is None and not (root / PEOPLE_FILE).exists():
            return summary
        _check_models(root, clips, embedder_name, gallery)
        decisions.check(known_people(root, old), root / DECISIONS_FILE)
        state = _group(root, clips, old, decisions, merged_into(root), (similarity, similarity_strict), summary)
        names = _names(state, decisions, merged_into(root), gallery, similarity_strict)
        append_log(root, summary.changes, "clips, decisions or thresholds changed")
        decisions = with_new_ids(decisions, state)
        if any(split.into is not None for split in decisions.split) and save_decisions(decisions) != save_decisions(
            load_decisions(root)
        ):
            write_whole(root / DECISIONS_FILE, save_decisions(decisions))
        _write(root, state, names)
        state.stamp = _stamp(root, {clip.clip: clip.fingerprint for clip in clips}, state.similarities, gallery)
        write_state(root, state)
        summary.clips, summary.people, summary.named = len(clips), len(set(state.person_ids.tolist())), len(names)
        summary.changed = True
        return summary


def known_people(root: Path, state: State | None = None) -> set[int]:
    """Return every person_id that was ever given in a ROOT. Raises TableError."""
    if state is None:
        state = read_state(root, head=True)
    if state is not None:
        return set(range(state.next_id))
    given = set(read_people_table(root).values())
    for row in read_log(root):
        given |= {int(row["person_id"])} | ({int(row["into"])} if row["into"] else set())
    return given


def resolve(root: Path, person: int) -> int:
    """Return the person_id that a person has now, who may have been merged into another. Raises TableError."""
    return followed(person, merged_into(root))


def _fingerprints(directories: dict[str, Path], summary: PeopleSummary) -> dict[str, str]:
    prints = {}
    for clip, directory in directories.items():
        try:
            prints[clip] = clip_fingerprint(directory)
        except FaceSearchError as error:
            summary.failed.append((clip, str(error)))
    return prints


def _stamp(root: Path, prints: dict[str, str], similarities: tuple[float, float], gallery: Gallery | None) -> str:
    content = [_VERSION, sorted(prints.items()), list(similarities), None if gallery is None else gallery.stamp]
    digest = hashlib.sha256(json.dumps(content).encode())
    for name in (DECISIONS_FILE, PEOPLE_FILE, NAMES_FILE):
        path = root / name
        digest.update(path.read_bytes() if path.is_file() else b"\0")
    return digest.hexdigest()[:32]


def _read(
    directories: dict[str, Path], prints: dict[str, str], old: State | None, summary: PeopleSummary
) -> list[ClipPeople]:
    remembered = {} if old is None else {clip.clip: clip for clip in old.clips}
    clips = []
    for name, fingerprint in prints.items():
        clip = remembered.get(name)
        if clip is None or clip.fingerprint != fingerprint:
            try:
                clip = read_clip_people(directories[name])
            except FaceSearchError as error:
                summary.failed.append((name, str(error)))
                continue
        clips.append(clip)
    return clips


def _check_models(root: Path, clips: Sequence[ClipPeople], embedder: str | None, gallery: Gallery | None) -> None:
    by_model: dict[str, list[str]] = {}
    for clip in clips:
        by_model.setdefault(clip.model, []).append(clip.clip)
    if not by_model:
        return
    # The one that was asked for, else the one of most clips.
    wanted = embedder or max(by_model, key=lambda model: len(by_model[model]))
    others = [clip for model, names in by_model.items() if model != wanted for clip in names]
    if others:
        raise IdentityError(
            "embeddings of different models cannot be compared",
            where=root,
            asked=f"{wanted} in every clip",
            found="; ".join(
                f"{model}: {', '.join(names[:3])}{' …' * (len(names) > 3)}" for model, names in by_model.items()
            ),
            remedy=f"Do these again: run_pipeline.py --input_directory {root} --embedder {wanted}, or give --embedder or"
            " --pack as they were made; move results whose clips are gone elsewhere.",
        )
    if gallery is not None and gallery.model != wanted:
        raise IdentityError(
            "the gallery's embeddings are of another model",
            where=root,
            asked=wanted,
            found=gallery.model,
            remedy=f"Enrol it again: facesearch people {root} --gallery DIR --embedder {wanted}",
        )


def _group(
    root: Path,
    clips: list[ClipPeople],
    old: State | None,
    decisions: Decisions,
    into: dict[int, int],
    similarities: tuple[float, float],
    summary: PeopleSummary,
) -> State:
    rows, before = appearances(clips), ids_before(root, clips, old, similarities[1])
    together, conflicts, denied_rows = decided_rows(clips, before, decisions, into)
    rows = replace(rows, conflicts=np.concatenate([rows.conflicts, conflicts]))
    groups = people_of_all_clips(rows, *similarities, together=together)
    count = int(groups.max(initial=-1)) + 1
    means = group_means(rows, groups, count) if count else np.zeros((0, 1), np.float32)
    known = known_people(root, old)
    denied: dict[int, frozenset[int]] = {}
    for row, persons in denied_rows.items():
        denied[int(groups[row])] = denied.get(int(groups[row]), frozenset()) | persons
    model = clips[0].model if clips else ("" if old is None else old.model)
    # Vectors of another model say nothing of these.
    gone = dict(old.gone) if old is not None and old.model == model else {}
    earlier = set(before[before >= 0].tolist()) if old is None else set(old.person_ids.tolist())
    ids, summary.changes, next_id = carry_ids(
        groups,
        rows.weights,
        before,
        next_id=max(known, default=-1) + 1,
        gone=gone,
        means=means,
        least=similarity_needed(count, *similarities),
        denied=denied,
        known=sorted(earlier),
    )
    for change in summary.changes:
        if change.event == "back":
            gone.pop(change.person_id, None)
    if old is not None and old.model == model:
        retired = [change.person_id for change in summary.changes if change.event == "retired"]
        gone.update(means_of(old, retired))
    return State("", model, similarities, next_id, clips, ids[groups] if count else np.zeros(0, np.int64), gone)


def _names(
    state: State, decisions: Decisions, into: dict[int, int], gallery: Gallery | None, least: float
) -> list[NamedPerson]:
    persons, groups = np.unique(state.person_ids, return_inverse=True)
    alive = set(persons.tolist())
    given = {followed(person, into): name for person, name in decisions.names.items()}
    names = [NamedPerson(person, name, None, "decision") for person, name in given.items() if person in alive]
    ignored = {followed(person, into) for person in decisions.ignore}
    if gallery is not None and len(persons):
        rows = appearances(state.clips)
        means = group_means(rows, groups, len(persons))
        pairs = {tuple(sorted(pair)) for pair in groups[rows.conflicts].tolist()} if len(rows.conflicts) else set()
        for place, name, similarity in names_from_gallery(gallery, means, least, pairs):
            person = int(persons[place])
            if person not in given and person not in ignored:
                names.append(NamedPerson(person, name, similarity, "gallery"))
    return sorted(names, key=lambda name: name.person_id)


def _write(root: Path, state: State, names: list[NamedPerson]) -> None:
    rows = appearances(state.clips)
    persons, groups = np.unique(state.person_ids, return_inverse=True)
    similarity = np.zeros(0)
    if len(persons):
        similarity = np.einsum("ij,ij->i", rows.vectors, group_means(rows, groups, len(persons))[groups])
    keys = ((clip.clip, face_id) for clip in state.clips for face_id in clip.face_ids.tolist())
    table = (
        (clip, face_id, person, f"{value:.4f}")
        for (clip, face_id), person, value in zip(keys, state.person_ids.tolist(), similarity.tolist(), strict=True)
    )
    if names or (root / NAMES_FILE).exists():
        lines = ((n.person_id, n.name, "" if n.similarity is None else f"{n.similarity:.4f}", n.source) for n in names)
        write_whole(root / NAMES_FILE, table_bytes(("person_id", "name", "similarity", "source"), lines))
    write_whole(root / PEOPLE_FILE, table_bytes(("clip", "face_id", "person_id", "similarity"), table))
