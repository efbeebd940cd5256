"""Shares of a run: together they are all clips, none twice, whatever else is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch_trt.errors import OptionError
from facesearch_trt.running.sharing import parse_shard, shard_of
from facesearch_trt.types import Clip


def clips(names: list[str]) -> list[Clip]:
    return [Clip(name, None, "video", Path(f"{name}.pipeline")) for name in names]


@given(st.lists(st.text(min_size=1), unique=True), st.integers(1, 9), st.text(min_size=1))
def test_every_clip_is_in_one_share_and_stays_there(names: list[str], count: int, added: str) -> None:
    found = clips(names)
    shares = [shard_of(found, index, count) for index in range(1, count + 1)]
    assert sorted(clip.name for share in shares for clip in share) == sorted(names)
    more = clips([*names, added])
    for index, share in enumerate(shares, start=1):
        assert [clip for clip in shard_of(more, index, count) if clip.name != added or added in names] == share or (
            added in names
        )


def test_shares_are_of_about_the_same_size() -> None:
    found = clips([f"clip{number}" for number in range(1000)])
    assert all(200 < len(shard_of(found, index, 4)) < 300 for index in range(1, 5))


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "/", "-1/3", "1/2/3"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(OptionError, match="--shard"):
        parse_shard(text)


def test_a_share() -> None:
    assert parse_shard("3/8") == (3, 8)
