"""Measures of grouping, against definitions written out and known values."""

from __future__ import annotations

from itertools import combinations
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch_trt.evaluation.grouping import agreement, bcubed, nmi, pairwise, purity

LABELS = st.integers(1, 25).flatmap(lambda n: st.tuples(*[st.lists(st.integers(0, 4), min_size=n, max_size=n)] * 2))


@given(LABELS)
def test_bcubed_is_the_average_over_the_items(labels):
    found, true = labels
    items = range(len(true))
    share = []
    for one in items:
        group = [other for other in items if found[other] == found[one]]
        person = [other for other in items if true[other] == true[one]]
        both = len(set(group) & set(person))
        share.append((both / len(group), both / len(person)))
    scores = bcubed(found, true)
    assert scores.precision == pytest.approx(sum(p for p, _ in share) / len(share))
    assert scores.recall == pytest.approx(sum(r for _, r in share) / len(share))


@given(LABELS)
def test_pairwise_counts_pairs(labels):
    found, true = labels
    pairs = list(combinations(range(len(true)), 2))
    put = {pair for pair in pairs if found[pair[0]] == found[pair[1]]}
    belong = {pair for pair in pairs if true[pair[0]] == true[pair[1]]}
    scores = pairwise(found, true)
    assert scores.precision == pytest.approx(len(put & belong) / len(put) if put else 1)
    assert scores.recall == pytest.approx(len(put & belong) / len(belong) if belong else 1)


@given(LABELS)
def test_names_do_not_matter(labels):
    found, true = labels
    renamed = [f"id {label}" for label in found]
    for measure in (bcubed, pairwise, purity, nmi):
        assert measure(renamed, true) == measure(found, true)
    assert agreement(found, renamed) == pytest.approx(1)


def test_known_values():
    # The example of Manning et al., Introduction to Information Retrieval, figure 16.4: purity 0.71, NMI 0.36.
    found = [1] * 6 + [2] * 6 + [3] * 5
    true = list("xxxxxo") + list("xoooo#") + list("xx###")
    assert purity(found, true) == pytest.approx(12 / 17)
    assert nmi(found, true) == pytest.approx(0.36, abs=0.005)


def test_extremes():
    assert nmi([1, 1], ["a", "a"]) == 1
    assert nmi([1, 2, 1, 2], ["a", "a", "b", "b"]) == pytest.approx(0, abs=1e-12)
    assert nmi([1, 1, 2, 2], ["a", "a", "a", "a"]) == pytest.approx(0, abs=1e-12)
    assert purity([1, 2, 3], ["a", "a", "b"]) == 1
    assert bcubed([], []).f == 0
    assert nmi([0, 1], ["a", "b"]) == pytest.approx(log(2) / log(2))
    with pytest.raises(ValueError, match="2 labels against 1"):
        bcubed([1, 2], ["a"])
