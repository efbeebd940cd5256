"""``facesearch calibrate``: the similarity thresholds of an embedder, from labelled photos or from corrections."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2

from ..errors import IdentityError, InputError, OptionError
from ..models.entries import EmbedderEntry
from ..people.calibration import Calibration, calibrate, calibrate_pairs, curve_picture, write_thresholds
from ..people.corrected_pairs import corrected_pairs
from ..people.files import write_whole
from ..people.gallery import Photo, embed_photos, photos_by_person
from ..wiring import Tools
from .flags import PHOTO_OPTIONS, add_option_flags, options_from

__all__ = ["register"]


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "calibrate",
        help="find the similarity threshold of an embedder from labelled photos or from corrections",
        description="Find the similarity threshold at which the wanted share of pairs of strangers is accepted. With"
        " --models-file it is written there, and is used whenever that file is given.",
    )
    parser.add_argument(
        "photos",
        type=Path,
        nargs="?",
        metavar="PHOTOS_DIR",
        help="a sub-directory of photos per person, one face in each photo",
    )
    parser.add_argument(
        "--corrections",
        type=Path,
        metavar="ROOT",
        help="instead of photos: the people of this directory who were named, merged or split by hand",
    )
    parser.add_argument("--far", type=float, default=0.001, metavar="RATE", help="wanted false-accept rate [0.001]")
    parser.add_argument(
        "--curve",
        type=Path,
        default=Path("calibration.png"),
        metavar="PNG",
        help="where the curve is drawn [calibration.png]",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_option_flags(parser, only=PHOTO_OPTIONS)
    parser.set_defaults(call=_calibrate)


def _calibrate(args: argparse.Namespace) -> int:
    # A models file that is still to be made is no mistake here.
    models_file = Path(args.option_models_file) if args.option_models_file else None
    if models_file is not None and not models_file.exists():
        args.option_models_file = None
    if args.curve.suffix.lower() != ".png":
        raise OptionError("the curve is drawn as PNG", asked=args.curve, remedy="Give a name that ends in .png.")
    if not 0 < args.far < 1:
        raise OptionError("the false-accept rate is out of range", asked=args.far, found="it takes 0 to 1")
    if (args.photos is None) == (args.corrections is None):
        raise OptionError(
            "calibrating takes photos or corrections",
            found="both" if args.photos else "neither",
            remedy="Use: facesearch calibrate PHOTOS_DIR, or facesearch calibrate --corrections ROOT",
        )
    result, entry, bad = _of_photos(args) if args.photos else _of_corrections(args)
    unit = "photos" if args.photos else "people of clips"
    title = f"{entry.name}: {result.people} people, {result.photos} {unit}"
    drawn, png = cv2.imencode(".png", curve_picture(result, title))
    assert drawn
    write_whole(args.curve.absolute(), png.tobytes())
    if models_file is not None:
        write_thresholds(models_file.absolute(), entry, result)
    if args.json:
        print(json.dumps(_as_dict(entry.name, result, bad), indent=2))
        return 0
    for photo in bad:
        print(f"left out: {photo.path}: {photo.problem}")
    print(f"{title}: {len(result.same)} pairs of one person, {len(result.strangers)} of strangers")
    print(
        f"similarity {result.similarity:.3f}: {result.far:.3%} of strangers accepted (true rate up to {result.far_bound:.3%}"
        f" at 95 % confidence), {result.frr:.1%} of one person's pairs rejected"
    )
    print(f"similarity_strict {result.similarity_strict:.3f}: no stranger accepted, {result.frr_strict:.1%} rejected")
    for warning in result.warnings:
        print(f"warning: {warning}")
    print(f"curve: {args.curve}")
    if models_file is None:
        print(
            f"shipped: similarity {entry.similarity:g}, similarity_strict {entry.similarity_strict:g}; --models-file FILE stores the new ones"
        )
    else:
        print(f"stored in {models_file}; use it with --models-file {models_file}")
    return 0


def _of_photos(args: argparse.Namespace) -> tuple[Calibration, EmbedderEntry, list[Photo]]:
    with Tools(options_from(args)) as tools:
        photos = list(embed_photos(photos_by_person(args.photos), tools))
        entry = tools.embedder_entry
    good = [photo for photo in photos if photo.vector is not None]
    return _result(good, args.far), entry, [photo for photo in photos if photo.vector is None]


def _of_corrections(args: argparse.Namespace) -> tuple[Calibration, EmbedderEntry, list[Photo]]:
    if not args.corrections.is_dir():
        raise InputError("is not a directory", where=args.corrections, remedy="Give the directory that was processed.")
    pairs = corrected_pairs(args.corrections)
    with Tools(options_from(args)) as tools:
        # The pack is what a run would use; what the clips were embedded with is what can be calibrated.
        if args.option_embedder not in (None, pairs.model) or pairs.model not in tools.catalogue.models:
            raise IdentityError(
                "the clips were embedded with another model",
                where=args.corrections,
                asked=args.option_embedder or "a model of the catalogue",
                found=pairs.model,
                remedy="Leave --embedder away, or give the --models-file that has the model.",
            )
        entry = tools.catalogue.embedder(pairs.model)
    if not len(pairs.same) or not len(pairs.strangers):
        raise InputError(
            "the corrections make too few pairs",
            where=args.corrections,
            asked="a person in two clips, and two people",
            found=f"{pairs.people} corrected people in {pairs.faces} places: {len(pairs.same)} pairs of one person,"
            f" {len(pairs.strangers)} of two",
            remedy=f"Name more people who are in several clips: facesearch people name {args.corrections} ID NAME",
        )
    result = calibrate_pairs(pairs.same, pairs.strangers, args.far, people=pairs.people, photos=pairs.faces)
    return result, entry, []


def _result(photos: list[Photo], far: float) -> Calibration:
    import numpy as np

    vectors = [photo.vector for photo in photos if photo.vector is not None]
    return calibrate(
        np.stack(vectors) if vectors else np.zeros((0, 1), np.float32), [photo.person for photo in photos], far
    )


def _as_dict(name: str, result: Calibration, bad: list[Photo]) -> dict[str, Any]:
    return {
        "embedder": name,
        "people": result.people,
        "photos": result.photos,
        "left_out": {str(photo.path): photo.problem for photo in bad},
        "same_pairs": len(result.same),
        "stranger_pairs": len(result.strangers),
        "similarity": result.similarity,
        "similarity_strict": result.similarity_strict,
        "far": result.far,
        "far_bound": result.far_bound,
        "frr": result.frr,
        "frr_strict": result.frr_strict,
        "warnings": list(result.warnings),
    }
