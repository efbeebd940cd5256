"""How likely a stranger would score what was found.

A similarity says nothing by itself: 0.8 is a stranger for one network and the same person for another, and a blurred
photo resembles everybody. So the query is compared with other people of the index, one picture each, and the tail of
these scores tells how rare a score is. A tail beyond a high level falls about exponentially (Pickands 1975, Balkema and
de Haan 1974, with shape 0); the normal distribution that similarities look like falls faster, so the statement errs on
the cautious side.

Where the index has too few people, the catalogue's two thresholds of the model stand in, and they are a limit in any
case: the more cautious of the two statements counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..types import Array

__all__ = ["LEAST_STRANGERS", "MOST_STRANGERS", "Odds", "Strangers", "Tail", "Thresholds"]

LEAST_STRANGERS = 200
"""Other people that an index must have for a statement of its own: then at least 20 make the tail."""
MOST_STRANGERS = 4096
"""Other people that are compared at most."""

_TAIL = 0.1
"""Share of the scores that the tail is fitted to."""
_AT_SIMILARITY, _AT_STRICT = 1e-3, 2e-4
"""Chance of a stranger at the catalogue's thresholds: about 1 in 1,000 by definition, and less than one in the some
5,000 pairs with which the strict one was found."""
_RAREST_OF_CATALOGUE = 2e-4
"""The catalogue's thresholds were found with some 5,000 pairs of strangers: more cannot be claimed from them."""
_BEYOND = 100
"""A tail is continued to chances this many times rarer than one in all the strangers that were compared."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The catalogue's cosines of one model."""

    similarity: float
    """False accepts about 1 in 1,000."""
    strict: float
    """No false accept when it was measured."""


@dataclass(frozen=True, slots=True)
class Odds:
    """What a similarity is worth."""

    one_in: float
    """One in so many strangers, compared once, would score this or more; from 1."""
    at_least: bool
    """Whether it is rarer than that, by how much cannot be told from what was compared."""
    chance_hits: float
    """How many strangers would be expected to score this or more among all rows that were compared, as if no two of
    them were of one person."""
    basis: Literal["index", "catalogue"]
    """What it was taken from: the other people of the index, or the thresholds in the catalogue."""

    def words(self) -> str:
        """Return it in words: ``1 in 2,000 strangers``."""
        if self.one_in < 2:
            return "nearly every stranger"
        # Rounded down to two digits; what is a round number but for the last bit stays one.
        unit = 10 ** max(0, math.floor(math.log10(self.one_in)) - 1)
        words = f"1 in {math.floor(self.one_in / unit + 1e-6) * unit:,} strangers"
        return f"fewer than {words}" if self.at_least else words


class Tail:
    """How often a score is reached, from a sample of scores: counted in the bulk, continued beyond it.

    Parameters
    ----------
    scores: float [N], at least :data:`LEAST_STRANGERS` of them.
    """

    def __init__(self, scores: Array) -> None:
        self._scores = np.sort(np.asarray(scores, np.float64))
        tail = self._scores[-round(len(scores) * _TAIL) :]
        self._level = float(tail[0])
        self._scale = max(float((tail[1:] - tail[0]).mean()), 1e-6)

    def chance(self, score: float) -> float:
        """Return the share of scores that are this or more."""
        if score < self._level:
            return float((self._scores >= score).mean())
        return _TAIL * math.exp(-(score - self._level) / self._scale)


class Strangers:
    """The distribution of one query's similarity to people that it does not show.

    Parameters
    ----------
    scores: float [N], cosine to one picture each of other people; who passes the everyday threshold does not count as
        another one.
    thresholds: the catalogue's.
    """

    def __init__(self, scores: Array, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        others = np.asarray(scores)[np.asarray(scores) < thresholds.similarity]
        self._count = len(others)
        self._tail = Tail(others) if len(others) >= LEAST_STRANGERS else None

    def odds(self, similarity: float, compared: int) -> Odds:
        """Return what a similarity is worth when ``compared`` rows of the index were looked at."""
        if self._tail is None:
            chance, rarest = self._catalogue(similarity), _RAREST_OF_CATALOGUE
        else:
            chance = max(self._catalogue(similarity), self._tail.chance(similarity))
            rarest = 1 / (_BEYOND * self._count)
        chance = min(1.0, chance)
        basis: Literal["index", "catalogue"] = "catalogue" if self._tail is None else "index"
        return Odds(1 / max(chance, rarest), chance < rarest, chance * compared, basis)

    def _catalogue(self, similarity: float) -> float:
        gap = max(self._thresholds.strict - self._thresholds.similarity, 1e-3)
        fall = math.log(_AT_SIMILARITY / _AT_STRICT) / gap
        # Below the threshold the chance rises fast, to far above 1.
        return _AT_SIMILARITY * math.exp(min(700.0, fall * (self._thresholds.similarity - similarity)))
