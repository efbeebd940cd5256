"""From labelled photos to the similarity thresholds of an embedder, with what the photos can and cannot say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..errors import InputError, OptionError
from ..models.catalogue import load_catalogue
from ..models.entries import EmbedderEntry, FileSource, PypiSource
from ..types import Array
from .files import write_whole
from .pairs import blocks_of_pairs

__all__ = ["Calibration", "calibrate", "calibrate_pairs", "curve_picture", "far_bound", "write_thresholds"]

_LEAST_PEOPLE = 3
_STRICT_STEP = 0.002
"""How far the strict threshold lies above the most alike pair of strangers, at least."""
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured."""

    people: int
    photos: int
    """Photos, or people of clips where corrections were taken."""
    similarity: float
    """Threshold at which at most the wanted share of strangers' pairs is accepted."""
    similarity_strict: float
    """Threshold above every pair of strangers."""
    far: float
    """False accepts at ``similarity``, share of strangers' pairs."""
    far_bound: float
    """Upper end of the 95 % interval of the true false-accept rate, with pairs taken as independent."""
    frr: float
    """False rejects at ``similarity``, share of same-person pairs."""
    frr_strict: float
    strangers: Array
    """float32, rising: cosines of all pairs of strangers."""
    same: Array
    """float32, rising: cosines of all pairs of one person."""
    warnings: tuple[str, ...]


def calibrate(vectors: Array, people: Sequence[str], wanted_far: float) -> Calibration:
    """Return the thresholds for a wanted false-accept rate.

    Parameters
    ----------
    vectors: float32 [N, D], unit, one row per photo; ``people`` says whose.
    wanted_far: share of strangers' pairs that may be accepted, above 0 and below 1.

    Raises OptionError for a rate out of range, InputError where there are too few people, or nobody with two photos.
    """
    if not 0 < wanted_far < 1:
        raise OptionError("the false-accept rate is out of range", asked=wanted_far, found="it takes 0 to 1")
    names = sorted(set(people))
    if len(names) < _LEAST_PEOPLE:
        raise InputError("too few people to calibrate", asked=f"{_LEAST_PEOPLE} or more", found=len(names))
    place = {name: number for number, name in enumerate(names)}
    label = np.array([place[name] for name in people])
    found: tuple[list[Array], list[Array]] = ([], [])
    for rows, columns, cosines, counts in blocks_of_pairs(vectors):
        is_same = label[rows] == label[columns]
        found[0].append(cosines[counts & is_same])
        found[1].append(cosines[counts & ~is_same])
    same, strangers = (np.concatenate(parts) for parts in found)
    if not len(same):
        raise InputError("nobody has two photos", asked="two photos of a person, better five", found="one each")
    return calibrate_pairs(same, strangers, wanted_far, people=len(names), photos=len(label))


def calibrate_pairs(same: Array, strangers: Array, wanted_far: float, *, people: int, photos: int) -> Calibration:
    """Return the thresholds for a wanted false-accept rate, from the cosines of pairs.

    Parameters
    ----------
    same, strangers: float32 [S] and [T], of pairs of one person and of two.
    wanted_far: share of strangers' pairs that may be accepted, above 0 and below 1.
    people, photos: how many the pairs are made of.

    Raises OptionError for a rate out of range, InputError where there are no pairs of a kind.
    """
    if not 0 < wanted_far < 1:
        raise OptionError("the false-accept rate is out of range", asked=wanted_far, found="it takes 0 to 1")
    if not len(same) or not len(strangers):
        raise InputError(
            "too few pairs to calibrate",
            asked="pairs of one person and pairs of two",
            found=f"{len(same)} and {len(strangers)}",
        )
    same, strangers = np.sort(same), np.sort(strangers)
    allowed = math.floor(wanted_far * len(strangers))
    # Just above the first pair that is one too many.
    limit = float(strangers[len(strangers) - 1 - allowed])
    similarity = min(_up(limit), 0.998)
    strict = min(max(_up(float(strangers[-1])), similarity + _STRICT_STEP), 0.999)
    accepted = int((strangers >= similarity).sum())
    warnings = []
    bound = far_bound(accepted, len(strangers))
    if allowed < 1:
        warnings.append(
            f"{len(strangers)} pairs of strangers cannot show a rate of {wanted_far:g}: the threshold lies above all of"
            f" them, and the true rate may be up to {far_bound(0, len(strangers)):.2g}; about {math.ceil(3 / wanted_far)}"
            " pairs would show it"
        )
    elif bound > 2 * wanted_far:
        warnings.append(f"the true false-accept rate may be up to {bound:.2g}; more photos of more people narrow that")
    if people < 20:
        warnings.append(
            f"only {people} people: pairs of so few are not independent, so the intervals are wider than they say"
        )
    frr, frr_strict = float(np.mean(same < similarity)), float(np.mean(same < strict))
    if frr > 0.2:
        warnings.append(f"at this threshold {frr:.0%} of the pairs of one person are not recognised")
    far = accepted / len(strangers)
    return Calibration(
        people, photos, similarity, strict, far, bound, frr, frr_strict, strangers, same, tuple(warnings)
    )


def _up(value: float) -> float:
    """Return the next threshold of three decimals above a cosine."""
    return math.floor(value * 1000 + 1) / 1000


def far_bound(accepted: int, pairs: int) -> float:
    """Return the upper end of the one-sided 95 % interval of a rate (Clopper and Pearson 1934)."""
    from scipy.stats import beta

    return 1.0 if accepted >= pairs else float(beta.ppf(_CONFIDENCE, accepted + 1, pairs - accepted))


def curve_picture(result: Calibration, title: str) -> Array:
    """Return uint8 [H, W, 3] BGR: false accepts and false rejects against the threshold, with the two chosen ones."""
    import cv2

    width, height, left, right, top, bottom = 1000, 620, 90, 30, 60, 80
    picture = np.full((height, width, 3), 255, np.uint8)
    low = min(float(result.same[0]), float(np.median(result.strangers)))
    high = max(result.similarity_strict, float(np.median(result.same)))
    span = max(high - low, 1e-3)
    low, high = max(low - 0.05 * span, -1.0), min(high + 0.05 * span, 1.0)
    floor = min(1e-4, 0.5 / len(result.strangers))
    decades = math.ceil(-math.log10(floor))

    def x(cosine: float) -> int:
        return round(left + (cosine - low) / (high - low) * (width - left - right))

    def y(rate: float) -> int:
        return round(top + -math.log10(max(rate, 10.0**-decades)) / decades * (height - top - bottom))

    def text(what: str, at: tuple[int, int], colour: tuple[int, int, int] = (60, 60, 60), size: float = 0.5) -> None:
        cv2.putText(picture, what, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)

    for power in range(decades + 1):
        cv2.line(picture, (left, y(10.0**-power)), (width - right, y(10.0**-power)), (225, 225, 225), 1)
        text(f"{100 * 10.0**-power:g} %", (10, y(10.0**-power) + 5))
    for tick in np.linspace(low, high, 9):
        cv2.line(picture, (x(tick), top), (x(tick), height - bottom), (235, 235, 235), 1)
        text(f"{tick:.2f}", (x(tick) - 18, height - bottom + 22))
    grid = np.linspace(low, high, 800)
    accepts = 1 - np.searchsorted(result.strangers, grid) / len(result.strangers)
    rejects = np.searchsorted(result.same, grid) / len(result.same)
    for rates, colour in ((accepts, (40, 40, 200)), (rejects, (180, 90, 20))):
        points = np.array([[x(float(c)), y(float(r))] for c, r in zip(grid, rates, strict=True)], np.int32)
        cv2.polylines(picture, [points], isClosed=False, color=colour, thickness=2, lineType=cv2.LINE_AA)
    for threshold, name in ((result.similarity, "similarity"), (result.similarity_strict, "strict")):
        cv2.line(picture, (x(threshold), top), (x(threshold), height - bottom), (80, 150, 60), 1, cv2.LINE_AA)
        text(
            f"{name} {threshold:.3f}",
            (min(x(threshold) + 4, width - 170), top + (18 if name == "strict" else 38)),
            (60, 120, 40),
        )
    text(title.encode("ascii", "replace").decode(), (left, 32), size=0.65)
    text("cosine", (width // 2, height - 20))
    text("strangers accepted", (left + 10, height - 40), (40, 40, 200))
    text("same person rejected", (left + 220, height - 40), (180, 90, 20))
    return picture


def write_thresholds(models_file: Path, entry: EmbedderEntry, result: Calibration) -> None:
    """Put an embedder with its new thresholds into a user's models file; what else is in the file stays, but for its
    comments.

    Raises OptionError where the file is no models file, StoreError where it cannot be written.
    """
    content: dict[str, Any] = {}
    if models_file.exists():
        load_catalogue(models_file)
        content = yaml.safe_load(models_file.read_text(encoding="utf-8")) or {}
    models = content.get("models") or {}
    content["models"] = models
    fields = models.get(entry.name) or _fields(entry)
    models[entry.name] = {
        **fields,
        "similarity": round(result.similarity, 4),
        "similarity_strict": round(result.similarity_strict, 4),
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=140)
    write_whole(models_file, text.encode("utf-8"))


def _fields(entry: EmbedderEntry) -> dict[str, Any]:
    """Return an entry in the form of the models file."""
    source: dict[str, Any]
    if isinstance(entry.source, PypiSource):
        source = {
            "pypi": entry.source.package,
            "version": entry.source.version,
            "form": entry.source.form,
            "member": entry.source.member,
            "archive_sha256": entry.source.archive_sha256,
        }
    elif isinstance(entry.source, FileSource):
        path = entry.source.path
        beside = entry.declared_in.parent / path
        # It was found beside the file that declared it, and this may be another place.
        source = {"path": str(beside if not path.is_absolute() and beside.exists() else path)}
    else:
        source = {"url": entry.source.url, **({"member": entry.source.member} if entry.source.member else {})}
    normal = entry.normalisation
    outside = {"mean": list(normal.mean), "std": normal.std}
    licence = entry.licence
    return {
        "kind": "embedder",
        "source": source,
        "sha256": entry.sha256,
        "bytes": entry.size_bytes,
        "licence": {
            "name": licence.name,
            "commercial": licence.commercial,
            "url": licence.url,
            "accept": licence.accept,
        },
        "format": entry.format,
        "template": entry.template,
        "chip_size": entry.chip_size,
        "colour": entry.colour,
        "normalisation": outside if normal.place == "outside" else normal.place,
        "dimension": entry.dimension,
    }
