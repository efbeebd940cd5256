from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch_trt.search.moments import PLAYERS, clock, moment_link, play_command, seconds_from_clock


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00.000"), (59.9996, "0:01:00.000"), (3723.5, "1:02:03.500"), (-1, "0:00:00.000")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@given(st.floats(0, 1e6))
def test_a_clock_reads_back(seconds: float) -> None:
    assert seconds_from_clock(clock(seconds)) == pytest.approx(seconds, abs=0.0006)


@pytest.mark.parametrize(("text", "seconds"), [("12.5", 12.5), ("1:02.5", 62.5), ("1:00:02", 3602), ("90", 90)])
def test_times_as_people_write_them(text: str, seconds: float) -> None:
    assert seconds_from_clock(text) == seconds


@pytest.mark.parametrize("text", ["", "a", "-1", "1:2:3:4", "1.5:3", "nan", "1:", "1e3", "."])
def test_no_times(text: str) -> None:
    with pytest.raises(ValueError, match="not a time"):
        seconds_from_clock(text)


def test_a_link_to_a_moment() -> None:
    assert moment_link("/videos/a b#1.mp4", 3.5) == "file:///videos/a%20b%231.mp4#t=3.500"


@pytest.mark.parametrize("player", PLAYERS)
def test_a_hostile_name_stays_one_argument(player: str) -> None:
    name = "/videos/$(touch x); 'a' \"b\"\n.mp4"
    words = shlex.split(play_command(player, name, 3.5))
    assert words[0] == player
    assert words[-1] == name
    assert shlex.split(play_command(player, "-rf.mp4", 0))[-1] == "./-rf.mp4"
