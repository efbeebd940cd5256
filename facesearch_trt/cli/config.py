"""``facesearch config``: print every option with its default, as YAML."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..config import render_yaml

__all__ = ["register"]


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser("config", help="print every option with its default, as a YAML file to start from")
    parser.set_defaults(call=_config)


def _config(_: argparse.Namespace) -> int:
    sys.stdout.write(render_yaml())
    return 0
