"""Measures of how well a grouping agrees with the true one. All take two equally long sequences of labels.

Sources: BCubed (Bagga and Baldwin 1998, with the plain averages of Amigó et al. 2009); weighted clustering purity and
NMI as used for face clustering in video (Tapaswi et al., ICCV 2019), NMI with the arithmetic mean of the entropies as
in scikit-learn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import comb, log

__all__ = ["Agreement", "agreement", "bcubed", "nmi", "pairwise", "purity"]

Labels = Sequence[Hashable]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Precision, recall and their harmonic mean, each 0 to 1."""

    precision: float
    recall: float
    f: float


def _harmonic(precision: float, recall: float) -> Agreement:
    both = precision + recall
    return Agreement(precision, recall, 2 * precision * recall / both if both else 0.0)


def bcubed(found: Labels, true: Labels) -> Agreement:
    """Average over the items of: which share of the item's group is its person, which share of its person is in its
    group."""
    cells, by_found, by_true = _counts(found, true)
    count = max(len(true), 1)
    precision = sum(n * n / by_found[one] for (one, _), n in cells.items()) / count
    recall = sum(n * n / by_true[other] for (_, other), n in cells.items()) / count
    return _harmonic(precision, recall)


def pairwise(found: Labels, true: Labels) -> Agreement:
    """Over pairs of items: which share of the pairs put together belongs together, and the reverse. No pairs at all are
    all right."""
    cells, by_found, by_true = _counts(found, true)
    both = sum(comb(n, 2) for n in cells.values())
    put, belong = (sum(comb(n, 2) for n in counts.values()) for counts in (by_found, by_true))
    return _harmonic(both / put if put else 1.0, both / belong if belong else 1.0)


def purity(found: Labels, true: Labels) -> float:
    """WCP: share of items that belong to their group's most frequent person. Splitting everything gives 1, so read it
    with the number of groups."""
    cells, _, _ = _counts(found, true)
    most: Counter[Hashable] = Counter()
    for (one, _), n in cells.items():
        most[one] = max(most[one], n)
    return sum(most.values()) / max(len(true), 1)


def nmi(found: Labels, true: Labels) -> float:
    """Mutual information over the mean of the two entropies; 1 where both are a single group."""
    cells, by_found, by_true = _counts(found, true)
    count = len(true)
    if not count:
        return 0.0
    entropies = [-sum(n / count * log(n / count) for n in counts.values()) for counts in (by_found, by_true)]
    mutual = sum(n / count * log(n * count / (by_found[one] * by_true[other])) for (one, other), n in cells.items())
    mean = sum(entropies) / 2
    return max(mutual, 0.0) / mean if mean > 1e-12 else 1.0


def agreement(one: Labels, other: Labels) -> float:
    """BCubed F between two groupings of the same items; symmetric, 1 for the same grouping under other names."""
    return bcubed(one, other).f


def _counts(
    found: Labels, true: Labels
) -> tuple[Counter[tuple[Hashable, Hashable]], Counter[Hashable], Counter[Hashable]]:
    if len(found) != len(true):
        raise ValueError(f"{len(found)} labels against {len(true)}")
    return Counter(zip(found, true, strict=True)), Counter(found), Counter(true)
