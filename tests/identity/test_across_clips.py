"""Grouping over many clips: exact where all pairs are looked at, nearly so where not, and never against the evidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.exact_clustering import agglomerate
from facesearch_trt.evaluation.grouping import agreement
from facesearch_trt.identity import linkage, neighbours
from facesearch_trt.identity.across_clips import Appearances, people_of_all_clips, similarity_needed
from facesearch_trt.identity.cohort import strangers_likeness
from facesearch_trt.identity.linkage import link
from facesearch_trt.identity.neighbours import similar_pairs
from facesearch_trt.identity.persons import carry_ids, match_rows
from facesearch_trt.identity.scale import unit

DIMENSION = 128
SIMILARITY, STRICT = 3.09 / DIMENSION**0.5, 3.54 / DIMENSION**0.5


def made(people: int, each: int, *, alike: float = 0.6, seed: int = 0):
    random = np.random.default_rng(seed)
    who = random.permutation(np.repeat(np.arange(people), each))
    centres = unit(random.standard_normal((people, DIMENSION)))
    noise = unit(random.standard_normal((len(who), DIMENSION)))
    return unit(np.sqrt(alike) * centres[who] + np.sqrt(1 - alike) * noise), who


NOTHING = np.zeros((0, 2), np.int64)


def test_pairs_are_all_pairs() -> None:
    vectors, _ = made(60, 5)
    one, other, value = similar_pairs(vectors, 0.4, most=300)
    table = vectors @ vectors.T
    expected = {(a, b) for a, b in zip(*np.nonzero(np.triu(table >= 0.4, 1)), strict=True)}
    assert set(zip(one.tolist(), other.tolist(), strict=True)) == expected
    np.testing.assert_allclose(value, table[one, other], atol=1e-6)


def test_of_many_pairs_the_nearest_stay() -> None:
    vectors, _ = made(1, 200)
    one, other, _ = similar_pairs(vectors, 0.0, most=3)
    table = vectors @ vectors.T
    np.fill_diagonal(table, -1)
    nearest = {(min(a, int(b)), max(a, int(b))) for a in range(200) for b in np.argsort(-table[a])[:3]}
    assert set(zip(one.tolist(), other.tolist(), strict=True)) == nearest


def test_grouping_is_the_exact_one() -> None:
    vectors, who = made(80, 4, alike=0.45)
    weights = np.random.default_rng(1).uniform(0.5, 3, len(vectors))
    conflicts = np.array([(a, b) for a in range(0, 300, 3) for b in (a + 1, a + 2) if who[a] != who[b]])
    need = 0.3
    found = link(vectors, weights, conflicts, lambda _: need)
    exact = agglomerate(vectors, weights, np.full(len(vectors), need), [tuple(pair) for pair in conflicts.tolist()])
    assert agreement(found.tolist(), exact.tolist()) == 1.0
    assert agreement(found.tolist(), who.tolist()) > 0.9


def test_grouping_over_lists_is_nearly_the_exact_one(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, who = made(1200, 5)
    exact = link(vectors, np.ones(len(vectors)), NOTHING, lambda _: 0.38)
    monkeypatch.setattr(neighbours, "EXACT_UP_TO", 100)
    monkeypatch.setattr(linkage, "EXACT_UP_TO", 100)
    found = link(vectors, np.ones(len(vectors)), NOTHING, lambda _: 0.38)
    assert agreement(found.tolist(), exact.tolist()) > 0.99
    assert agreement(found.tolist(), who.tolist()) > 0.99


def test_order_does_not_matter() -> None:
    vectors, _ = made(50, 6, alike=0.4)
    order = np.random.default_rng(3).permutation(len(vectors))
    first = people_of_all_clips(appearances(vectors), SIMILARITY, STRICT)
    second = people_of_all_clips(appearances(vectors[order]), SIMILARITY, STRICT)
    assert agreement(first[order].tolist(), second.tolist()) == 1.0


def appearances(vectors, trusted=None, conflicts=NOTHING) -> Appearances:
    count = len(vectors)
    return Appearances(vectors, np.ones(count), np.ones(count, bool) if trusted is None else trusted, conflicts)


def test_a_conflict_holds_through_others() -> None:
    # Row 0 and 1 are one by looks, and row 2 lies between them; but they were seen together.
    vectors, _ = made(1, 3, alike=0.9)
    found = people_of_all_clips(appearances(vectors, conflicts=np.array([[0, 1]])), SIMILARITY, STRICT)
    assert found[0] != found[1]
    assert found[2] in (found[0], found[1])


def test_who_looks_like_a_known_stranger_needs_more() -> None:
    # In the dark everybody looks alike: rows 0 and 1 were seen together, and row 2 is not more like 0 than 1 is.
    vectors = np.full((3, DIMENSION), 0, np.float32)
    vectors[:, 0] = 0.4**0.5
    vectors[range(3), range(1, 4)] = 0.6**0.5
    alone = people_of_all_clips(appearances(vectors[[0, 2]]), SIMILARITY, STRICT)
    assert alone[0] == alone[1]
    known = people_of_all_clips(appearances(vectors, conflicts=np.array([[0, 1]])), SIMILARITY, STRICT)
    assert len(set(known.tolist())) == 3


def test_poor_rows_join_on_clear_evidence_only() -> None:
    vectors, _ = made(2, 4, alike=0.8, seed=4)
    middle = unit(vectors.sum(axis=0)[None])
    trusted = np.r_[np.ones(8, bool), False, False]
    all_rows = np.concatenate([vectors, vectors[:1], middle])
    found = people_of_all_clips(appearances(all_rows, trusted), SIMILARITY, STRICT)
    assert found[8] == found[0]
    assert found[9] not in found[:9]
    assert len(set(found[:8].tolist())) == 2


def test_poor_rows_seen_together_are_not_one() -> None:
    vectors, _ = made(1, 4, alike=0.9)
    trusted = np.array([True, True, False, False])
    found = people_of_all_clips(appearances(vectors, trusted, np.array([[2, 3]])), SIMILARITY, STRICT)
    assert found[2] != found[3]
    assert found[0] in (found[2], found[3])


def test_poor_rows_of_nobody_known_are_one_where_they_are_very_much_alike() -> None:
    who = np.array([0, 0, 0, 1, 1, 1])
    for alike, groups, if_trusted in ((0.9, 2, 2), (0.4, 6, 2)):
        vectors = np.zeros((6, DIMENSION), np.float32)
        vectors[range(6), who] = alike**0.5
        vectors[range(6), range(2, 8)] = (1 - alike) ** 0.5
        poor = people_of_all_clips(appearances(vectors, np.zeros(6, bool)), SIMILARITY, STRICT)
        sure = people_of_all_clips(appearances(vectors), SIMILARITY, STRICT)
        assert (len(set(poor.tolist())), len(set(sure.tolist()))) == (groups, if_trusted)


def test_more_people_ask_for_more_likeness() -> None:
    assert similarity_needed(10, 0.35, 0.40) == similarity_needed(90, 0.35, 0.40) == 0.40
    grown = [similarity_needed(count, 0.35, 0.40) for count in (1_000, 100_000, 10**9)]
    assert 0.40 < grown[0] < grown[1] < grown[2] < 0.7


def test_nobody_at_all() -> None:
    none = Appearances(np.zeros((0, 8), np.float32), np.zeros(0), np.zeros(0, bool), NOTHING)
    assert len(people_of_all_clips(none, SIMILARITY, STRICT)) == 0


def test_ids_go_to_the_larger_part_and_the_older_stays() -> None:
    groups = np.array([0, 0, 1, 2, 2, 3])
    before = np.array([4, 4, 4, 2, 3, -1])
    ids, changes, next_id = carry_ids(groups, np.ones(6), before, next_id=5, known=[2, 3, 4])
    assert ids.tolist() == [4, 5, 2, 6]
    assert next_id == 7
    assert {(change.event, change.person_id, change.into) for change in changes} == {
        ("merged", 3, 2),
        ("split", 4, 5),
        ("new", 6, None),
    }


def test_rows_of_a_clip_that_was_done_again() -> None:
    vectors, _ = made(3, 1)
    other, _ = made(1, 1, seed=9)
    assert match_rows(vectors, np.concatenate([vectors[[2, 0]], other]), 0.5).tolist() == [2, 0, -1]


def dark_clips(clips: int, people: int, *, shared: float, seed: int = 0):
    """Everybody in every clip; all vectors share a direction, as faces in a poor light do."""
    random = np.random.default_rng(seed)
    light = unit(random.standard_normal(DIMENSION))
    centres = unit(random.standard_normal((people, DIMENSION)))
    who = np.tile(np.arange(people), clips)
    noise = unit(random.standard_normal((len(who), DIMENSION)))
    own = 0.75 * (1 - shared)
    rest = 1 - shared - own
    vectors = unit(np.sqrt(shared) * light + np.sqrt(own) * centres[who] + np.sqrt(rest) * noise)
    return vectors.astype(np.float32), who, np.repeat(np.arange(clips), people)


def test_people_in_one_poor_light_are_told_apart_by_how_alike_strangers_look_there() -> None:
    vectors, who, clips = dark_clips(8, 6, shared=0.36)
    trusted, weights = np.ones(len(who), bool), np.full(len(who), 9.0)
    plain = Appearances(vectors, weights, trusted, NOTHING)
    together = people_of_all_clips(plain, SIMILARITY, STRICT)
    assert len(set(together.tolist())) < 6
    apart = people_of_all_clips(replace(plain, clips=clips), SIMILARITY, STRICT)
    assert agreement(apart.tolist(), who.tolist()) == 1.0
    order = np.random.default_rng(1).permutation(len(who))
    shuffled = Appearances(
        vectors[order], weights, trusted, NOTHING, np.random.default_rng(2).permutation(8)[clips[order]]
    )
    again = people_of_all_clips(shuffled, SIMILARITY, STRICT)
    assert agreement(again.tolist(), apart[order].tolist()) == 1.0


def test_strangers_are_the_second_most_alike_of_another_clip_and_all_others_of_ones_own() -> None:
    vectors, _, clips = dark_clips(5, 4, shared=0.0)
    found = strangers_likeness(vectors, clips, np.ones(20, bool), 1.0)
    table = vectors @ vectors.T
    for row in range(20):
        best = []
        for clip in range(5):
            values = sorted(float(table[row, other]) for other in np.flatnonzero(clips == clip) if other != row)
            best.append(values[-1] if clips[row] == clip else values[-2])
        assert found[row] == pytest.approx(max(best), abs=1e-5)
    # Pieces of people are no strangers, and few clips say nothing.
    assert (strangers_likeness(vectors, clips, clips < 3, 1.0) == -1).all()
    assert (strangers_likeness(vectors, clips, np.zeros(20, bool), 1.0) == -1).all()


def test_of_many_clips_the_same_strangers_are_taken_in_any_order() -> None:
    vectors, _, clips = dark_clips(90, 4, shared=0.2)
    solid = np.ones(len(vectors), bool)
    found = strangers_likeness(vectors, clips, solid, 0.9)
    order = np.random.default_rng(3).permutation(len(vectors))
    names = np.random.default_rng(4).permutation(90)
    again = strangers_likeness(vectors[order], names[clips[order]], solid, 0.9)
    np.testing.assert_allclose(again, found[order], atol=1e-5)
