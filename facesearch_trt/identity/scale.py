"""Cosine similarities of any embedder on one scale, so that one rule serves all embedders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import IdentityError
from ..types import Array

__all__ = ["SimilarityScale", "unit"]

_SHIP_DEVIATIONS = 3.09
"""Standard normal quantile of a false-accept rate of 1 in 1,000, at which ``similarity`` is calibrated."""
_STRICT_DEVIATIONS = 3.54
"""Quantile of 1 in 5,000: the order of the number of strangers' pairs among which ``similarity_strict`` accepted
none."""


@dataclass(frozen=True, slots=True)
class SimilarityScale:
    """Maps a cosine to evidence: 0 for typical strangers, 1 at the embedder's calibrated threshold for two single
    faces.

    Embedders spread faces differently: strangers average a cosine of .84 with dlib's network and about 0 with
    ArcFace's, so no fixed step in cosine means the same for both. In this scale it does.
    """

    strangers: float
    """Mean cosine of two strangers' faces."""
    same: float
    """Cosine from which two faces are called one person."""

    @classmethod
    def of(cls, similarity: float, similarity_strict: float) -> SimilarityScale:
        """Return the scale of an embedder from its two calibrated thresholds.

        The cosines of strangers are taken as normally distributed; the thresholds are then known quantiles of it (false
        accepts of 1 in 1,000 and of about 1 in 5,000), and two quantiles fix its mean.

        Raises IdentityError where the strict threshold is not the larger one.
        """
        if not -1 < similarity < similarity_strict <= 1:
            raise IdentityError(
                "the embedder's similarity thresholds are not in order",
                asked=f"similarity {similarity}, similarity_strict {similarity_strict}",
                remedy="Both lie between -1 and 1, the strict one above the other; correct the models file.",
            )
        deviation = (similarity_strict - similarity) / (_STRICT_DEVIATIONS - _SHIP_DEVIATIONS)
        return cls(max(similarity - _SHIP_DEVIATIONS * deviation, -1.0), similarity)

    def __call__(self, cosine: Any) -> Any:
        """Return the evidence of a cosine or of an array of cosines."""
        return (cosine - self.strangers) / (self.same - self.strangers)

    def cosine(self, evidence: float) -> float:
        """Return the cosine that amounts to an evidence."""
        return self.strangers + evidence * (self.same - self.strangers)


def unit(vectors: Array) -> Array:
    """Return the rows of ``vectors`` [..., D] scaled to length 1 as float32; rows of zeros stay zeros."""
    vectors = np.asarray(vectors, np.float32)
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norm, np.float32(1e-12)), np.float32)
