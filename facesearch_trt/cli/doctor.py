"""``facesearch doctor``: what this machine can do, and what to install for the rest."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from .. import __version__
from ..inference.verify import Agreement
from ..types import Capability
from .flags import add_option_flags, options_from
from .machine import Examination, examine
from .verification import verify_machine

__all__ = ["register"]

_KEPT = frozenset(
    "pack detector embedder models_file graph backend precision engines detector_size detect_batch embed_batch".split()
)
"""The options that mean something here."""


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    help_text = "what this machine can do, and what to install for the rest"
    parser = subparsers.add_parser(
        "doctor",
        help=help_text,
        description=f"{help_text[0].upper()}{help_text[1:]}. Exit status 0 if a run with these options can do its job here.",
    )
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="run a picture through every backend that is ready, and compare with ONNX Runtime in float32",
    )
    parser.add_argument(
        "--networks", action="store_true", help="look at what runs the networks only, not at what reads clips"
    )
    add_option_flags(parser, only=_KEPT)
    parser.set_defaults(call=_doctor)


def _doctor(args: argparse.Namespace) -> int:
    options = options_from(args)
    examination = examine(options, networks_only=args.networks)
    agreements, unready = verify_machine(options) if args.verify and examination.can_run else ([], [])
    is_well = examination.can_run and not any(agreement.shortfalls for agreement in agreements)
    if args.json:
        print(json.dumps(_as_json(examination, agreements, unready, verified=args.verify), indent=2))
    else:
        for line in _lines(examination):
            print(line)
        if args.verify:
            print("\nAgreement with ONNX Runtime in float32, on the bundled picture")
            said = [*map(str, agreements), *unready] if examination.can_run else ["not tried: see above"]
            for line in said:
                print(f"  {line}")
    return 0 if is_well else 1


def _lines(examination: Examination) -> Iterator[str]:
    for section in examination.sections:
        yield section.name
        yield from map(_line, section.capabilities) if section.capabilities else ("  none",)
        yield ""
    yield "A run with these options would use"
    yield from map(_line, examination.plan)
    yield ""
    if examination.can_run:
        yield "All that is needed for it is here."
        return
    yield "It cannot be done yet:"
    every = [one for section in examination.sections for one in section.capabilities]
    for one in (*every, *examination.plan):
        if one.needed and not one.ready:
            yield f"  {one.name}: {one.found}"


def _line(capability: Capability) -> str:
    mark = "ok     " if capability.ready else "MISSING" if capability.needed else "-      "
    remedy = f"  -> {capability.remedy}" if capability.remedy and not capability.ready else ""
    return f"  {mark} {capability.name}: {capability.found}{remedy}"


def _as_json(
    examination: Examination, agreements: list[Agreement], unready: list[str], *, verified: bool
) -> dict[str, Any]:
    content: dict[str, Any] = {
        "version": __version__,
        "can_run": examination.can_run,
        "plan": [asdict(one) for one in examination.plan],
        "sections": [
            {"name": section.name, "capabilities": [asdict(one) for one in section.capabilities]}
            for section in examination.sections
        ],
    }
    if verified:
        content["verification"] = {
            "agreements": [
                {
                    "name": one.name,
                    "precision": one.precision,
                    **asdict(one.boxes),
                    "cosine_least": one.cosines.least,
                    "cosine_mean": one.cosines.mean,
                    "shortfalls": one.shortfalls,
                }
                for one in agreements
            ],
            "not_ready": unready,
        }
    return content
