"""Who is one person, decided on evidence."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from benchmarks.exact_clustering import agglomerate
from facesearch_trt.errors import IdentityError
from facesearch_trt.evaluation.grouping import agreement
from facesearch_trt.identity.scale import SimilarityScale, unit

from .scenes import ARCFACE, DLIB, Actor, Cast, film, identities, pairs, still, walk

LOOKS = pytest.mark.parametrize("look", [ARCFACE, DLIB], ids=["arcface", "dlib"])


def by_hand(vectors, weights, needs, conflicts):
    """Average linkage written out: look at all pairs of clusters again before each merge."""
    clusters = [[row] for row in range(len(vectors))]
    fights = {frozenset(pair) for pair in conflicts}

    def excess(one, other):
        both = np.ix_(one, other)
        share = np.outer(weights, weights)[both]
        need = max(np.average(needs[part], weights=weights[part]) for part in (one, other))
        return np.average((vectors @ vectors.T)[both], weights=share) - need

    while True:
        able = [
            (excess(one, other), one, other)
            for one, other in itertools.combinations(clusters, 2)
            if not any(frozenset(pair) in fights for pair in itertools.product(one, other))
        ]
        best = max(able, default=(-1, None, None), key=lambda pair: pair[0])
        if best[0] < 0:
            break
        clusters = [part for part in clusters if part not in best[1:]] + [best[1] + best[2]]
    labels = np.empty(len(vectors), int)
    for number, part in enumerate(clusters):
        labels[part] = number
    return labels.tolist()


def crowd(seed, count=40, people=8, dimension=16):
    rng = np.random.default_rng(seed)
    who = rng.integers(0, people, count)
    vectors = unit(rng.standard_normal((people, dimension))[who] + 0.7 * rng.standard_normal((count, dimension)))
    weights, needs = rng.uniform(0.2, 3, count), rng.uniform(0.35, 0.6, count)
    conflicts = [tuple(rng.choice(count, 2, replace=False).tolist()) for _ in range(60)]
    return vectors, weights, needs, conflicts


@pytest.mark.parametrize("seed", range(5))
def test_clustering_is_exact_average_linkage(seed):
    vectors, weights, needs, conflicts = crowd(seed)
    found = agglomerate(vectors, weights, needs, conflicts)
    assert agreement(found.tolist(), by_hand(vectors, weights, needs, conflicts)) == pytest.approx(1)
    assert all(found[one] != found[other] for one, other in conflicts)


@pytest.mark.parametrize("seed", range(5))
def test_clustering_does_not_depend_on_the_order(seed):
    vectors, weights, needs, conflicts = crowd(seed)
    order = np.random.default_rng(seed).permutation(len(vectors))
    place = np.argsort(order)
    moved = [(int(place[one]), int(place[other])) for one, other in conflicts]
    shuffled = agglomerate(vectors[order], weights[order], needs[order], moved)
    assert agreement(
        shuffled.tolist(), agglomerate(vectors, weights, needs, conflicts)[order].tolist()
    ) == pytest.approx(1)


def test_few_neighbours_find_the_same_clear_groups():
    rng = np.random.default_rng(0)
    who = rng.integers(0, 12, 600)
    vectors = unit(rng.standard_normal((12, 64))[who] + 0.5 * rng.standard_normal((600, 64)))
    needs, ones = np.full(600, 0.4), np.ones(600)
    assert agreement(agglomerate(vectors, ones, needs, [], neighbours=5).tolist(), who.tolist()) == pytest.approx(1)


def test_nothing_makes_no_groups():
    assert agglomerate(np.zeros((0, 4), np.float32), np.zeros(0), np.zeros(0), []).shape == (0,)


def test_the_scale_serves_both_embedders():
    for look in (ARCFACE, DLIB):
        scale = SimilarityScale.of(look.similarity, look.strict)
        assert scale(look.similarity) == pytest.approx(1)
        assert scale.cosine(scale(0.9)) == pytest.approx(0.9)
        assert abs(scale(look.strangers)) < 0.4
        assert scale(look.session) > 1.3
    with pytest.raises(IdentityError, match="not in order"):
        SimilarityScale.of(0.5, 0.5)


@LOOKS
def test_faces_that_tell_nothing_are_glued_to_nobody(look):
    """An audience out of focus: all alike, seen together with each other, then alone in other shots."""
    cast = Cast(look, 3)
    audience = [Actor(9, still(200 + 150 * k, 300, size=60), shot=0, quality=0.3) for k in range(4)]
    speaker = [Actor(0, still(1200, 300, size=200), shot=shot) for shot in range(3)]
    alone = [Actor(9, still(400, 300, size=60), shot=1, quality=0.3), Actor(1, still(300, 500, size=150), shot=2)]
    scene = list(film([*audience, *speaker, *alone], 90, cast, cuts=(30, 60)))
    found, truth = identities(scene, look)
    of = {
        person: {one for one, who in zip(found.face_ids.tolist(), truth, strict=True) if who == person}
        for person in (0, 1, 9)
    }
    assert len(of[0]) == len(of[1]) == 1
    assert not of[9] & (of[0] | of[1])
    assert len(of[9]) >= 4


@LOOKS
@pytest.mark.parametrize("seed", range(3))
def test_a_track_is_cut_where_one_face_turns_into_another(look, seed):
    """What a dissolve does to a tracker."""
    cast = Cast(look, seed)

    def morph():
        for frame, people in film([Actor(0, still(500, 300))], 60, cast, seed=seed):
            share = np.clip((frame.frame_num - 24) / 12, 0, 1)
            other = cast.embedding(1, 0, frame.frame_num)
            frame.faces.embeddings[0] = (1 - share) * frame.faces.embeddings[0] + share * other
            yield frame, people if share < 0.5 else [1]

    found, _ = identities(morph(), look)
    ids = found.face_ids.tolist()
    assert len(set(ids[:24])) == 1
    assert len(set(ids[36:])) == 1
    assert ids[0] != ids[-1]


@LOOKS
def test_a_small_face_is_followed_and_joined_to_nobody_by_its_looks(look):
    """20 px, moving by more than half its width from frame to frame: one track, one person."""
    actors = [Actor(0, walk(100, 300, 12, size=20), quality=0.1), Actor(1, still(900, 700, size=150))]
    found, truth = identities(film(actors, 60, Cast(look)), look)
    assert len(pairs(found.face_ids, truth)) == 2


@LOOKS
@pytest.mark.parametrize("seed", range(3))
def test_many_unrelated_photos_of_a_few_people(look, seed):
    """A folder of images: every picture a shot, every track a single face."""
    rng = np.random.default_rng(seed)
    actors = [Actor(int(rng.integers(5)), still(400, 300, size=120), shot=shot) for shot in range(40)]
    scene = film(actors, 40, Cast(look, seed), cuts=tuple(range(1, 40)))
    found, truth = identities(scene, look)
    assert agreement(found.face_ids.tolist(), truth) > 0.99


@LOOKS
def test_the_result_does_not_depend_on_the_frame_rate_on_a_busy_street(look):
    rng = np.random.default_rng(7)
    actors = []
    for person in range(10):
        begin, speed = rng.uniform(0, 60), rng.choice([-1, 1]) * rng.uniform(8, 16)
        x = -60.0 if speed > 0 else 1980.0
        actors.append(
            Actor(
                person, walk(x, rng.uniform(200, 600), speed, size=rng.uniform(45, 110), start=begin, end=begin + 170)
            )
        )
    runs = {}
    for every, rate in ((1, 1.0), (3, 1.0), (1, 2.0)):
        scene = list(film(actors, 240, Cast(look, 7), every=every, rate=rate))
        found, truth = identities(scene, look)
        assert agreement(found.face_ids.tolist(), truth) >= 0.97
        times = [frame.frame_num / rate for frame, people in scene for _ in people]
        runs[every, rate] = {
            (time, who): one for time, who, one in zip(times, truth, found.face_ids.tolist(), strict=True)
        }
    for other in ((3, 1.0), (1, 2.0)):
        shared = sorted(runs[1, 1.0].keys() & runs[other].keys())
        assert agreement([runs[1, 1.0][key] for key in shared], [runs[other][key] for key in shared]) >= 0.97
