from __future__ import annotations

import numpy as np
import pytest

from facesearch_trt.search.confidence import Strangers, Tail, Thresholds

from .people import Crowd

THRESHOLDS = Thresholds(0.35, 0.45)


def test_few_people_leave_it_to_the_catalogue() -> None:
    strangers = Strangers(np.full(20, 0.1), THRESHOLDS)
    assert strangers.odds(0.35, 1).basis == "catalogue"
    assert strangers.odds(0.35, 1).one_in == pytest.approx(1000)
    assert strangers.odds(0.45, 1).one_in == pytest.approx(5000)
    assert strangers.odds(-1.0, 1).one_in == 1.0


def test_rare_scores_are_rarer_than_said() -> None:
    """Said "1 in N" from a few thousand people, measured on 400,000 others: it may be rarer, never much commoner."""
    crowd = Crowd(6000, 64, seed=1)
    query, others = crowd.picture(0), crowd.pictures(np.arange(1, 5000))
    rng = np.random.default_rng(2)
    drawn = rng.standard_normal((400_000, 64)).astype(np.float32)
    scores = (drawn @ query) / np.linalg.norm(drawn, axis=1)
    tail = Tail(others @ query)
    for level in (0.0, 0.2, 0.3, 0.4, 0.45):
        measured, said = (scores >= level).mean(), tail.chance(level)
        assert measured * 0.7 < said < max(measured, 2.5e-6) * 40, (level, measured, said)


def test_no_more_is_claimed_than_was_compared() -> None:
    rng = np.random.default_rng(0)
    for count in (300, 3000):
        odds = Strangers(rng.normal(0, 0.05, count), THRESHOLDS).odds(0.95, 1)
        assert odds.at_least
        assert odds.one_in == pytest.approx(100 * count)
        assert odds.chance_hits < 1e-6, "the estimate itself goes on"


def test_the_more_cautious_statement_counts() -> None:
    # All others score far below: the index alone would say "never".
    scores = np.random.default_rng(0).normal(-0.5, 0.01, 1000)
    assert Strangers(scores, THRESHOLDS).odds(0.35, 1).one_in == pytest.approx(1000)
    # All others score just below the threshold: the catalogue alone would say 1 in 1,000.
    scores = np.random.default_rng(0).normal(0.3, 0.02, 1000)
    assert Strangers(scores, THRESHOLDS).odds(0.36, 1).one_in < 1000


def test_who_passes_the_threshold_is_no_stranger() -> None:
    scores = np.random.default_rng(0).normal(0, 0.05, 1000)
    with_hits = np.concatenate([scores, np.full(100, 0.8)])
    assert Strangers(with_hits, THRESHOLDS).odds(0.4, 10) == Strangers(scores, THRESHOLDS).odds(0.4, 10)


def test_chance_hits_grow_with_what_was_searched() -> None:
    odds = Strangers(np.zeros(0), THRESHOLDS).odds(0.35, 5000)
    assert odds.chance_hits == pytest.approx(5)


@pytest.mark.parametrize(
    ("similarity", "words"),
    [
        (0.35, "1 in 1,000 strangers"),
        (0.45, "1 in 5,000 strangers"),
        (0.99, "fewer than 1 in 5,000 strangers"),
        (-1.0, "nearly every stranger"),
    ],
)
def test_words(similarity: float, words: str) -> None:
    assert Strangers(np.zeros(0), THRESHOLDS).odds(similarity, 1).words() == words
