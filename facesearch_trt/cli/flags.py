"""Command-line flags made from the option table, and the way back."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..config import Options, flag_of, load_options, option_type, options_with

__all__ = ["PHOTO_OPTIONS", "add_option_flags", "given_options", "options_from", "port"]

PHOTO_OPTIONS = frozenset(
    {
        "pack",
        "detector",
        "embedder",
        "models_file",
        "backend",
        "precision",
        "engines",
        "threads",
        "detector_size",
        "close_up_size",
        "score_threshold",
        "nms_iou",
        "min_face_px",
    }
)
"""Options that say something about finding and embedding the face of a photo."""


_VALUES = {"models_file": "FILE", "deepsort": "FILE", "engines": "DIR", "stall_timeout_s": "S", "min_face_px": "PX"}
_VALUES |= {"detector_size": "PX", "close_up_size": "PX"}
"""What stands for an option's value in the help, where its type does not say it."""


def add_option_flags(
    parser: argparse.ArgumentParser, *, only: frozenset[str] | None = None, leave_out: frozenset[str] = frozenset()
) -> None:
    """Add ``--config`` and a flag per option; a flag that is not given leaves the file's or the default's value."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="YAML file with options; configs/default.yaml shows all of them"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log what is done and how long it takes")
    parser.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="how log lines on standard error look [text]"
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for option in fields(Options):
        if option.name in leave_out or (only is not None and option.name not in only):
            continue
        section = option.metadata["section"]
        group = groups.setdefault(section, parser.add_argument_group(section))
        plain, _ = option_type(option)
        default = "null" if option.default is None else option.default
        if plain is bool:
            default = "yes" if option.default else "no"
        help_text = f"{option.metadata['help']} [{default}]".replace("%", "%%")
        keywords: dict[str, Any] = {"dest": f"option_{option.name}", "default": None, "help": help_text}
        if plain is bool:
            keywords["action"] = argparse.BooleanOptionalAction
        else:
            keywords["type"] = plain
            keywords["choices"] = option.metadata["choices"]
            if not option.metadata["choices"]:
                keywords["metavar"] = _VALUES.get(option.name, {str: "NAME", int: "N", float: "X"}[plain])
        group.add_argument(flag_of(option.name), **keywords)


def given_options(args: argparse.Namespace) -> dict[str, object]:
    """Return what a parsed command line and its ``--config`` file say of options, by name; the command line wins.

    Raises OptionError as :func:`facesearch_trt.config.options_with` does.
    """
    in_file = load_options(args.config) if args.config else {}
    flags = {
        name.removeprefix("option_"): value
        for name, value in vars(args).items()
        if name.startswith("option_") and value is not None
    }
    options_with(Options(), flags, where="command line")
    return {**in_file, **flags}


def options_from(args: argparse.Namespace) -> Options:
    """Return :func:`given_options` over the defaults."""
    return options_with(Options(), given_options(args), where="command line")


def port(text: str) -> int:
    """Return a port, 1 to 65535. Raises ArgumentTypeError for anything else."""
    if not (text.isascii() and text.isdecimal()) or not 0 < int(text) < 65_536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: 1 to 65535")
    return int(text)
