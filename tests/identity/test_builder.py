"""The builder's contract: ids, order, rules that always hold."""

from __future__ import annotations

import numpy as np
import pytest

from facesearch_trt.errors import IdentityError
from facesearch_trt.identity.builder import IdentityBuilder, identify
from facesearch_trt.types import FaceBatch, Frame

from .scenes import ARCFACE, DLIB, SETTINGS, Actor, Cast, film, identities, pairs, still, walk

LOOKS = pytest.mark.parametrize("look", [ARCFACE, DLIB], ids=["arcface", "dlib"])


def returning():
    """Four people over three shots; all but one come back."""
    return [
        Actor(0, still(300, 300)),
        Actor(1, walk(600, 320, 2)),
        Actor(2, still(1500, 300, size=120)),
        Actor(1, still(400, 500, size=150), shot=1),
        Actor(3, still(1200, 500, size=150), shot=1),
        Actor(2, still(300, 300, size=60), shot=2),
        Actor(0, walk(1200, 320, -2), shot=2),
        Actor(3, still(1700, 700), shot=2),
    ]


@LOOKS
@pytest.mark.parametrize("seed", range(5))
def test_people_keep_their_id_over_cuts(look, seed):
    found, truth = identities(film(returning(), 90, Cast(look, seed), cuts=(30, 60), seed=seed), look)
    assert len(pairs(found.face_ids, truth)) == 4


@LOOKS
@pytest.mark.parametrize(("every", "rate"), [(3, 1), (1, 2), (2, 2)])
def test_grouping_does_not_depend_on_the_frame_rate(look, every, rate):
    found, truth = identities(film(returning(), 90, Cast(look), cuts=(30, 60), every=every, rate=rate), look)
    assert len(pairs(found.face_ids, truth)) == 4


@LOOKS
def test_face_ids_count_in_order_of_first_appearance(look):
    found, _ = identities(film(returning(), 90, Cast(look), cuts=(30, 60)), look)
    _, first = np.unique(found.face_ids, return_index=True)
    assert found.face_ids[np.sort(first)].tolist() == [0, 1, 2, 3]


def test_two_faces_of_a_frame_are_never_one_person_not_even_twins():
    actors = [Actor(0, still(300, 300)), Actor(0, still(900, 300)), Actor(0, still(600, 600), shot=1)]
    scene = list(film(actors, 60, Cast(ARCFACE), cuts=(30,)))
    found, _ = identities(scene, ARCFACE)
    row = 0
    for frame, _ in scene:
        ids = found.face_ids[row : row + len(frame.faces)].tolist()
        assert len(set(ids)) == len(ids)
        row += len(frame.faces)
    assert len(set(found.face_ids.tolist())) == 2


def test_a_clip_without_faces_is_a_clip_without_people():
    builder = IdentityBuilder(SETTINGS, 0.35, 0.4)
    for number in range(5):
        builder.add(Frame(number, number / 30, 640, 360))
    found = builder.finish()
    assert found.track_ids.shape == found.face_ids.shape == (0,)
    assert found.face_ids.dtype == found.track_ids.dtype == np.int32


def test_faces_without_embeddings_are_refused():
    faces = FaceBatch(np.ones((1, 4), np.float32), np.ones(1, np.float32), np.ones((1, 5, 2), np.float32))
    with pytest.raises(IdentityError, match="faces_to_embeddings"):
        IdentityBuilder(SETTINGS, 0.35, 0.4).add(Frame(0, 0.0, 64, 64, faces=faces))


def test_identify_passes_the_frames_on():
    frames = [frame for frame, _ in film([Actor(0, still(300, 300))], 5, Cast(ARCFACE))]
    builder = IdentityBuilder(SETTINGS, 0.35, 0.4)
    assert list(identify(frames, builder)) == frames
    assert builder.finish().face_ids.tolist() == [0] * 5


def test_quality_may_be_missing():
    builder = IdentityBuilder(SETTINGS, 0.35, 0.4)
    for frame, _ in film([Actor(0, still(300, 300)), Actor(1, still(800, 300))], 10, Cast(ARCFACE)):
        frame.faces.quality = None
        builder.add(frame)
    assert set(builder.finish().face_ids.tolist()) == {0, 1}
