"""The ``facesearch`` command: finds the sub-command and turns errors into one line and an exit status."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import os
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import FaceSearchError, UsageError
from .logs import set_up_logging
from .text import never_fail_to_print, sentence

__all__ = ["main"]

_GROUPS = {
    "to begin with": {"demo": "demo", "run": "job", "serve": "serve", "report": "report", "doctor": "doctor"},
    "people": {"index": "index", "search": "search", "people": "people", "export": "export", "erase": "erase"},
    "cameras": {"live": "live"},
    "networks and options": {"build": "build", "models": "models", "config": "config"},
    "step by step": {"frames": "job", "faces": "job", "embeddings": "job", "identity": "job"},
    "how good it is": {"eval": "evaluate", "calibrate": "calibrate"},
}
_COMMANDS = {command: module for group in _GROUPS.values() for command, module in group.items()}
"""Sub-command → module of this package that offers ``register(subparsers)``. Modules are imported when they are needed, so that
`facesearch config` does not wait for a runtime to load."""

_TELL = frozenset({"models", "config", "doctor", "people", "eval", "search"})
"""Sub-commands that are done when whoever reads what they print has seen enough; the others have work to finish."""

_CHECKOUT = Path(__file__).parents[2]
_IN_ENVIRONMENT = "FACESEARCH_IN_ENVIRONMENT"
"""Set by a start that goes on in the checkout's environment, which is tried once."""

_FINISHED, _FAILED, _WRONG_USE, _INTERRUPTED = 0, 1, 2, 130


class _Commands:
    """Takes sub-commands as ``add_subparsers`` does, and keeps what they say of themselves for a list in groups."""

    def __init__(self, subparsers: Any) -> None:
        self._subparsers = subparsers
        self._said: dict[str, str] = {}

    def add_parser(self, name: str, *, help: str, description: str | None = None, **keywords: Any) -> Any:
        """Add a sub-command."""
        self._said[name] = help
        return self._subparsers.add_parser(name, description=description or sentence(help), **keywords)

    def listed(self) -> str:
        """Return the sub-commands in their groups."""
        lines = []
        for title, group in _GROUPS.items():
            lines += ["", f"{title}:"]
            for name in group:
                lines += textwrap.wrap(
                    self._said[name], 100, initial_indent=f"  {name:<12}", subsequent_indent=" " * 14
                )
        return "\n".join([*lines, "", "facesearch COMMAND --help says more."]).lstrip()


def _parser(wanted: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="facesearch",
        description="Find every face in a directory of videos, tell who is who, and search it by photo.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"facesearch {__version__}")
    commands = _Commands(
        parser.add_subparsers(dest="command", required=True, metavar="COMMAND", help="one of those below")
    )
    modules = dict.fromkeys([_COMMANDS[wanted]] if wanted in _COMMANDS else _COMMANDS.values())
    for name in modules:
        importlib.import_module(f".{name}", __package__).register(commands)
    if wanted not in _COMMANDS:
        parser.epilog = commands.listed()
    return parser


def _go_on_in_environment(missing: str | None) -> None:
    """Start again in the environment that ``pipeline.sh`` made for this checkout, if it is there and is not this one, and
    a script of the checkout runs: another program that calls :func:`main` is not to be replaced."""
    environment = Path(os.environ.get("FACESEARCH_VENV") or _CHECKOUT / ".venv")
    python = environment / "bin" / "python"
    script = Path(sys.argv[0]).resolve()
    ours = script.parent in (_CHECKOUT, _CHECKOUT / __name__.split(".")[0])
    if ours and _IN_ENVIRONMENT not in os.environ and os.access(python, os.X_OK) and Path(sys.prefix) != environment:
        print(f"facesearch: {sys.executable} has no {missing}; going on with {python}", file=sys.stderr, flush=True)
        os.environ[_IN_ENVIRONMENT] = "1"
        os.execv(python, [str(python), *sys.orig_argv[1:]])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 something failed, 2 wrong use, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    never_fail_to_print()
    try:
        args = _parser(arguments[0] if arguments else None).parse_args(arguments)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(__name__.split(".")[0]):
            raise
        _go_on_in_environment(error.name)
        print(
            f"facesearch: the Python package {error.name!r} is not installed in {sys.executable}. "
            f"Run ./pipeline.sh once, which makes an environment in .venv, or: {sys.executable} -m pip install -r requirements.txt",
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
        _drop_output()
        if args.command in _TELL:
            return _FINISHED
        print(
            "facesearch: nobody reads the output any more; finished work is kept, the next call goes on",
            file=sys.stderr,
        )
        return _FAILED
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _drop_output()
        print(f"facesearch: {error.strerror}: free disk space; finished work is kept", file=sys.stderr)
        status = _FAILED
    return status


def _drop_output() -> None:
    """Let what is left in the buffer of the output go: it has nowhere to go when the interpreter ends."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
