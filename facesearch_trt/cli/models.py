"""``facesearch models``: what networks there are, their licences, and whether they are on this machine."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..models.catalogue import Catalogue, load_catalogue
from ..models.licences import accept_licence
from ..models.listing import ModelState, list_models

__all__ = ["register"]


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "models", help="list the networks, their licences, and whether they are on this machine"
    )
    parser.add_argument("--models-file", type=Path, metavar="FILE", help="YAML file with further models and packs")
    parser.add_argument(
        "--accept-licence", metavar="NAME", help="record that you read this licence and that it suits you"
    )
    parser.add_argument("--json", action="store_true", help="print the list as JSON")
    parser.set_defaults(call=_models)


def _models(args: argparse.Namespace) -> int:
    catalogue = load_catalogue(args.models_file)
    if args.accept_licence:
        _accept(catalogue, args.accept_licence)
    states = list_models(catalogue)
    if args.json:
        print(json.dumps([asdict(state) for state in states], indent=2))
        return 0
    for name, pack in catalogue.packs.items():
        print(f"pack {name}: {pack.detector} + {pack.embedder}")
    print()
    for line in _table([_row(state) for state in states]):
        print(line)
    return 0


def _accept(catalogue: Catalogue, name: str) -> None:
    licences = {entry.licence.name: entry.licence for entry in catalogue.models.values() if entry.licence.accept}
    if name not in licences:
        raise OptionError(
            "no licence of this name asks to be accepted", asked=repr(name), found=", ".join(sorted(licences))
        )
    accept_licence(licences[name])


def _row(state: ModelState) -> tuple[str, ...]:
    licence = state.licence + ("" if state.commercial else " (not for commercial use)")
    if state.accepted is not None:
        licence += ", accepted" if state.accepted else ", to be accepted"
    return state.name, state.kind, state.state, f"{state.size_bytes / 1e6:.1f} MB", licence, state.source


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    rows = [("NAME", "KIND", "STATE", "SIZE", "LICENCE", "SOURCE"), *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
