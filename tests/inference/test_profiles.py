"""Optimisation profiles: what they cover, and which one a shape gets."""

from __future__ import annotations

import pytest

from facesearch_trt.errors import EngineError
from facesearch_trt.inference.profiles import Profile, detector_profiles, embedder_profiles, fitting_profile


def test_one_profile_per_batch_size_each_from_one() -> None:
    profiles = embedder_profiles(112, [32, 1, 8, 8])
    assert [profile.maximum[0] for profile in profiles] == [1, 8, 32]
    assert all(profile.minimum == (1, 3, 112, 112) for profile in profiles)
    assert all(profile.optimum == profile.maximum for profile in profiles)


def test_a_detector_takes_any_shape_up_to_the_largest_square() -> None:
    (profile,) = detector_profiles([4], (640, 360), 1280, 32)
    assert profile.optimum == (4, 3, 384, 640)
    assert profile.covers((4, 3, 1280, 736)) and profile.covers((1, 3, 32, 1280))
    assert not profile.covers((5, 3, 384, 640)) and not profile.covers((1, 3, 384, 1312))
    assert not profile.covers((3, 384, 640))


def test_a_tuned_size_larger_than_the_largest_side_counts() -> None:
    (profile,) = detector_profiles([1], (1920, 1080), 640, 32)
    assert profile.covers((1, 3, 1088, 1920))


def test_the_smallest_fitting_batch_wins() -> None:
    profiles = [{"input": profile} for profile in embedder_profiles(112, [1, 8, 32])]
    side = (3, 112, 112)
    assert [fitting_profile(profiles, {"input": (batch, *side)}) for batch in (1, 2, 8, 9, 32)] == [0, 1, 1, 2, 2]
    assert fitting_profile(profiles, {"input": (33, *side)}) is None


@pytest.mark.parametrize("shapes", [((2, 1), (1, 1), (3, 1)), ((1, 1), (4, 1), (3, 1)), ((0, 1), (1, 1), (1, 1))])
def test_shapes_out_of_order_are_refused(shapes: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(EngineError, match="out of order"):
        Profile(*shapes)


@pytest.mark.parametrize("batches", [[], [0, 4]])
def test_batches_below_one_are_refused(batches: list[int]) -> None:
    with pytest.raises(EngineError, match="at least 1"):
        embedder_profiles(112, batches)


def test_lists_and_back() -> None:
    (profile,) = detector_profiles([4], (640, 360), 1280, 32)
    assert Profile.from_lists(profile.as_lists()) == profile
