"""The ``facesearch`` command: finds the sub-command and turns errors into one line and an exit status."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import FaceSearchError, UsageError
from .logs import set_up_logging
from .text import never_fail_to_print

__all__ = ["main"]

_COMMANDS = {
    "run": "job",
    "frames": "job",
    "faces": "job",
    "embeddings": "job",
    "identity": "job",
    "demo": "demo",
    "models": "models",
    "config": "config",
    "build": "build",
    "doctor": "doctor",
    "live": "live",
    "people": "people",
    "calibrate": "calibrate",
    "eval": "evaluate",
    "index": "index",
    "search": "search",
    "export": "export",
    "erase": "erase",
    "report": "report",
    "serve": "serve",
}
"""Sub-command → module of this package that offers ``register(subparsers)``. Modules are imported when they are needed, so that
`facesearch config` does not wait for a runtime to load."""

_TELL = frozenset({"models", "config", "doctor", "people", "eval", "search"})
"""Sub-commands that are done when whoever reads what they print has seen enough; the others have work to finish."""

_FINISHED, _FAILED, _WRONG_USE, _INTERRUPTED = 0, 1, 2, 130


def _parser(wanted: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="facesearch",
        description="Find every face in a directory of videos, tell who is who, and search it by photo.",
    )
    parser.add_argument("--version", action="version", version=f"facesearch {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    modules = dict.fromkeys([_COMMANDS[wanted]] if wanted in _COMMANDS else _COMMANDS.values())
    for name in modules:
        importlib.import_module(f".{name}", __package__).register(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 something failed, 2 wrong use, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    never_fail_to_print()
    try:
        args = _parser(arguments[0] if arguments else None).parse_args(arguments)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(__name__.split(".")[0]):
            raise
        print(
            f"facesearch: the Python package {error.name!r} is not installed in {sys.executable}. "
            "Run ./pipeline.sh once, or: pip install -r requirements.txt",
            file=sys.stderr,
        )
        return _WRONG_USE
    set_up_logging(verbose=getattr(args, "verbose", False), form=getattr(args, "log_format", "text"))
    try:
        status: int = args.call(args)
        sys.stdout.flush()
    except FaceSearchError as error:
        print(f"facesearch: {error}", file=sys.stderr)
        return _WRONG_USE if isinstance(error, UsageError) else _FAILED
    except KeyboardInterrupt:
        print("facesearch: interrupted; finished clips are kept, the next run goes on from here", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # What is left in the buffer has nowhere to go when the interpreter ends.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if args.command in _TELL:
            return _FINISHED
        print(
            "facesearch: nobody reads the output any more; finished work is kept, the next call goes on",
            file=sys.stderr,
        )
        return _FAILED
    return status


if __name__ == "__main__":
    sys.exit(main())
