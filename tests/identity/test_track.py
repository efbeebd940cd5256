"""Tracks inside a shot."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from facesearch_trt.identity.builder import IdentityBuilder

from .scenes import ARCFACE, DLIB, SETTINGS, Actor, Cast, film, identities, pairs, still, walk

LOOKS = pytest.mark.parametrize("look", [ARCFACE, DLIB], ids=["arcface", "dlib"])


@LOOKS
def test_a_track_holds_all_faces_from_the_first(look):
    found, truth = identities(film([Actor(0, still(300, 300)), Actor(1, still(900, 300))], 40, Cast(look)), look)
    assert pairs(found.track_ids, truth) == {(0, 0), (1, 1)}
    assert np.bincount(found.track_ids).tolist() == [40, 40]


@LOOKS
@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("speed", [4, 12, 25])
def test_crossing_people_do_not_swap(look, every, speed):
    """Two walkers cross at the same height; while they overlap the one behind is not seen."""
    meet = 50
    for seed in range(4):
        hidden = range(meet - round(30 / speed), meet + round(30 / speed) + 1)
        front = walk(960 - speed * meet, 400, speed)
        behind_path = walk(960 + speed * meet, 405, -speed)
        actors = [Actor(0, front), Actor(1, lambda t, p=behind_path, h=hidden: None if int(t) in h else p(t))]
        found, truth = identities(film(actors, 100, Cast(look, seed), every=every, seed=seed), look)
        assert len(pairs(found.face_ids, truth)) == 2
        for track in set(found.track_ids.tolist()):
            assert len({person for one, person in zip(found.track_ids, truth, strict=True) if one == track}) == 1


@LOOKS
def test_a_cut_ends_every_track(look):
    actors = [Actor(0, still(500, 400)), Actor(1, still(500, 400), shot=1)]
    found, truth = identities(film(actors, 40, Cast(look), cuts=(20,)), look)
    assert pairs(found.track_ids, truth) == {(0, 0), (1, 1)}
    assert pairs(found.face_ids, truth) == {(0, 0), (1, 1)}


@LOOKS
def test_an_unseen_cut_does_not_carry_a_track_over(look):
    """The same place, another person, no shot change reported."""
    actors = [Actor(0, still(500, 400, end=20)), Actor(1, still(505, 400, start=20))]
    found, truth = identities(film(actors, 40, Cast(look)), look)
    assert len(pairs(found.track_ids, truth)) == 2
    assert len(set(found.track_ids.tolist())) == 2


def test_frames_without_faces_use_up_a_tracks_patience():
    gone = SETTINGS.max_age + 5
    for away, tracks in ((10, 1), (gone, 2)):
        actors = [Actor(0, still(500, 400, end=20)), Actor(0, still(500, 400, start=20 + away))]
        found, _ = identities(film(actors, 40 + away, Cast(ARCFACE)), ARCFACE)
        assert len(set(found.track_ids.tolist())) == tracks
        assert set(found.face_ids.tolist()) == {0}


def test_max_age_counts_frames_of_the_stream_whatever_every_is():
    for every in (1, 3, 5):
        actors = [Actor(0, still(500, 400, end=21)), Actor(0, still(500, 400, start=21 + SETTINGS.max_age + 10))]
        found, _ = identities(film(actors, 100, Cast(ARCFACE), every=every), ARCFACE)
        assert len(set(found.track_ids.tolist())) == 2


def test_clips_do_not_share_state():
    actors = [Actor(0, still(500, 400)), Actor(1, walk(700, 400, 3))]
    alone, _ = identities(film(actors, 30, Cast(ARCFACE)), ARCFACE)
    builders = [IdentityBuilder(SETTINGS, ARCFACE.similarity, ARCFACE.strict) for _ in range(2)]
    for frame, _ in film(actors, 30, Cast(ARCFACE)):
        for builder in builders:
            builder.add(frame)
    for builder in builders:
        found = builder.finish()
        assert np.array_equal(found.track_ids, alone.track_ids)
        assert np.array_equal(found.face_ids, alone.face_ids)


def test_faces_below_min_confidence_keep_no_track_but_get_an_id():
    settings = replace(SETTINGS, min_confidence=0.95)
    found, truth = identities(film([Actor(0, still(500, 400))], 10, Cast(ARCFACE)), ARCFACE, settings)
    assert len(set(found.track_ids.tolist())) == 10
    assert len(found.face_ids) == len(truth) == 10
    assert found.face_ids.min() >= 0


def test_the_weaker_of_two_overlapping_faces_is_not_tracked_when_asked():
    def doubled():
        for frame, people in film([Actor(0, still(500, 400)), Actor(0, still(506, 400))], 10, Cast(ARCFACE)):
            frame.faces.scores[1] = 0.6
            yield frame, people

    found, _ = identities(doubled(), ARCFACE, replace(SETTINGS, nms_max_overlap=0.5))
    counts = Counter(found.track_ids.tolist())
    assert max(counts.values()) == 10
    assert sorted(counts.values())[:-1] == [1] * 10


@LOOKS
@pytest.mark.parametrize("every", [1, 3])
def test_small_faces_under_a_camera_that_turns_back_are_followed_at_every_third_frame(look, every):
    """Faces of 30 px, too small to tell, shift by nearly half their size per frame; then the camera turns round."""

    def path(x: float, y: float):
        return lambda t: (x + (14 * t if t < 30 else 14 * 30 - 14 * (t - 30)), y, 30)

    actors = [Actor(0, path(300, 400)), Actor(1, path(700, 420)), Actor(2, path(1100, 380))]
    found, truth = identities(film(actors, 60, Cast(look), every=every), look)
    # Each may break in two where the camera turns; nobody is mixed with another.
    assert len(set(found.track_ids.tolist())) <= 6
    for track in set(found.track_ids.tolist()):
        assert len({person for one, person in zip(found.track_ids, truth, strict=True) if one == track}) == 1
