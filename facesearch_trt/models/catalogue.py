"""Reads ``models.yaml`` into entries, and says clearly what is wrong in one.

The form is documented at the top of ``configs/models.yaml``.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from ..config import CONFIGS
from ..errors import OptionError, UnknownModelError
from .entries import DetectorEntry, EmbedderEntry, ModelEntry
from .entry_from_yaml import Mistake, entry_from_yaml, pack_from_yaml

__all__ = ["Catalogue", "Pack", "load_catalogue"]


@dataclass(frozen=True, slots=True)
class Pack:
    """A detector and an embedder under one name."""

    name: str
    detector: str
    embedder: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All networks and packs that can be asked for by name."""

    models: Mapping[str, ModelEntry]
    packs: Mapping[str, Pack]

    def detector(self, name: str) -> DetectorEntry:
        """Return a detector's entry; UnknownModelError lists the detectors there are."""
        entry = self.models.get(name)
        if isinstance(entry, DetectorEntry):
            return entry
        raise _unknown(
            "detector", name, [name for name, model in self.models.items() if model.kind == "detector"], entry
        )

    def embedder(self, name: str) -> EmbedderEntry:
        """Return an embedder's entry; UnknownModelError lists the embedders there are."""
        entry = self.models.get(name)
        if isinstance(entry, EmbedderEntry):
            return entry
        raise _unknown(
            "embedder", name, [name for name, model in self.models.items() if model.kind == "embedder"], entry
        )

    def pack(self, name: str) -> tuple[DetectorEntry, EmbedderEntry]:
        """Return the entries of a pack; UnknownModelError lists the packs there are."""
        if name not in self.packs:
            raise _unknown("pack", name, list(self.packs), self.models.get(name))
        pack = self.packs[name]
        return self.detector(pack.detector), self.embedder(pack.embedder)


def _unknown(kind: str, name: str, known: list[str], other: ModelEntry | None) -> UnknownModelError:
    if other is not None:
        remedy = f"{name!r} is a single {other.kind}."
    else:
        near = difflib.get_close_matches(name, known, n=1)
        remedy = (
            f"Did you mean {near[0]!r}?"
            if near
            else "Name one of these or add it to a models file (option models_file)."
        )
    return UnknownModelError(f"unknown {kind}", asked=repr(name), found=", ".join(sorted(known)), remedy=remedy)


class _UniqueKeys(yaml.SafeLoader):
    """A YAML loader that refuses a key given twice, of which plain YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            # A key that is no plain word is refused below.
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
    except FileNotFoundError:
        raise OptionError("no such models file", where=path, remedy="configs/models.yaml is an example.") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise OptionError("cannot read the models file", where=path, found=error) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise OptionError("the models file is not a mapping", where=path, found=type(content).__name__)
    for key in content:
        if key not in ("models", "packs"):
            raise OptionError("unknown section", where=path, asked=repr(key), found="models, packs")
        if not isinstance(content[key] or {}, dict):
            raise OptionError(
                f"section {key!r} is not a mapping of names", where=path, found=type(content[key]).__name__
            )
    return content


def _overlay(catalogue: Catalogue, path: Path) -> Catalogue:
    content = _read(path)
    models, packs = dict(catalogue.models), dict(catalogue.packs)
    for section, name, fields in ((s, n, f) for s in ("models", "packs") for n, f in (content.get(s) or {}).items()):
        try:
            if section == "models":
                models[name] = entry_from_yaml(name, fields, path)
            else:
                packs[name] = Pack(name, *pack_from_yaml(name, fields))
        except Mistake as mistake:
            raise OptionError(
                mistake.what, where=f"{path}, {section}: {name}", asked=mistake.asked, found=mistake.known
            ) from None
    return replace(catalogue, models=models, packs=packs)


def load_catalogue(models_file: Path | None = None) -> Catalogue:
    """Return the program's own catalogue, overlaid with a user's ``models_file``, whose entries are added or replace
    others.

    Raises OptionError, naming the file and the entry, where a file is missing or an entry has an unknown key, a
    missing key, or a value that is not possible, and where a pack names a network that is not there.
    """
    catalogue = _overlay(Catalogue({}, {}), CONFIGS / "models.yaml")
    if models_file is not None:
        catalogue = _overlay(catalogue, models_file.expanduser().absolute())
    for name in catalogue.packs:
        try:
            catalogue.pack(name)
        except UnknownModelError as error:
            where = f"{models_file or CONFIGS / 'models.yaml'}, packs: {name}"
            raise OptionError(
                error.what, where=where, asked=error.asked, found=error.found, remedy=error.remedy
            ) from None
    return catalogue
