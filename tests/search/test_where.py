from __future__ import annotations

import pytest

from facesearch_trt.search.where import Where


def test_no_condition_is_empty() -> None:
    assert Where().sql() == ""


def test_conditions_are_joined() -> None:
    where = Where(clips=("a", "b"), from_s=1, to_s=2.5, min_quality=0.5)
    assert where.sql(["track"]) == (
        "(kind IN ('track')) AND (clip IN ('a', 'b')) AND (end_s >= 1.0) AND (start_s <= 2.5) AND (quality >= 0.5)"
    )


def test_a_quote_cannot_end_a_literal() -> None:
    assert Where(clips=("x' OR '1' = '1",)).sql() == "(clip IN ('x'' OR ''1'' = ''1'))"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_times_are_finite(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Where(from_s=value).sql()


def test_tracks_name_their_clips_once_more_for_the_scalar_index() -> None:
    assert Where(tracks=((7, 0), (7, 2), (9, 1))).sql() == (
        "(clip_key IN (7, 9)) AND ((clip_key = 7 AND face_id = 0) OR (clip_key = 7 AND face_id = 2)"
        " OR (clip_key = 9 AND face_id = 1))"
    )
