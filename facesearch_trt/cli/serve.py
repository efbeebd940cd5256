"""``facesearch serve``: web pages and a REST API over the results of a ROOT."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import signal
import ssl
from pathlib import Path
from typing import Any

from ..config import Options, options_with
from ..errors import BackendError, InputError, OptionError, pip_install
from .flags import PHOTO_OPTIONS, add_option_flags, given_options, port
from .index import add_index_flag, index_location

__all__ = ["register"]

_TOKEN_VARIABLE = "FACESEARCH_TOKEN"


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "serve",
        help="look at results in a browser: people, clips, search by photo, runs",
        description="Serve web pages and a REST API over the results of a directory, to this machine only unless --host says otherwise.",
    )
    parser.add_argument("root", type=Path, metavar="ROOT", help="directory of clips")
    add_index_flag(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on [127.0.0.1: this machine only]")
    parser.add_argument("--port", type=port, default=8000, help="[8000]")
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help=f"file with the token that is asked for, as --host needs it; or the environment variable {_TOKEN_VARIABLE}",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="further host name under which the server is reached; may be repeated",
    )
    parser.add_argument("--tls-certificate", type=Path, metavar="FILE", help="serve HTTPS with this certificate (PEM)")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="and this key")
    add_option_flags(parser, only=PHOTO_OPTIONS)
    parser.set_defaults(call=_serve)


def _serve(args: argparse.Namespace) -> int:
    root: Path = args.root
    if not root.is_dir():
        raise InputError("is not a directory", where=root, remedy="Give the directory that was processed.")
    try:
        from ..report.security import LEAST_TOKEN, Access, is_loopback
        from ..report.service import Service
        from ..report.web import serve
    except ModuleNotFoundError as error:
        raise BackendError(
            "the web pages need a package that is not installed",
            found=error.name,
            remedy=f"Install them: {pip_install('facesearch_trt[web]')}",
        ) from error
    token = _token(args.token_file)
    if token is None and not is_loopback(args.host):
        raise OptionError(
            "a token is needed where others can connect",
            where=f"--host {args.host}",
            remedy="Make one and give it: openssl rand -hex 32 > token.txt; facesearch serve ROOT --host ... --token-file"
            " token.txt",
        )
    if token is not None and len(token) < LEAST_TOKEN:
        raise OptionError("the token is too short", found=f"it takes {LEAST_TOKEN} characters or more")
    if (args.tls_certificate is None) != (args.tls_key is None):
        raise OptionError("--tls-certificate and --tls-key go together", where="serve")
    access = Access(
        args.host,
        token,
        frozenset(name.lower() for name in args.allow_host),
        # Cookies are shared by all ports of a host.
        cookie="facesearch_" + hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:8],
    )
    certificate, key = (None if path is None else str(path) for path in (args.tls_certificate, args.tls_key))
    given = given_options(args)
    options = options_with(Options(), given, where="command line")
    if certificate is not None and key is not None:
        _check_certificate(certificate, key)
    # Ended by any other way, it would leave the run that it started behind.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    with Service(root, options, index_location(args), frozenset(given)) as service:
        print(f"reading the results in {root}", flush=True)
        service.snapshot()
        service.keeper.update()
        shown = f"[{args.host}]" if ":" in args.host else args.host
        scheme = "http" if certificate is None else "https"
        print(f"{scheme}://{shown}:{args.port}/  (Ctrl-C ends it)", flush=True)
        # A signal is how a server ends.
        with contextlib.suppress(KeyboardInterrupt):
            serve(service, access, args.port, certificate=certificate, key=key)
    return 0


def _token(path: Path | None) -> str | None:
    if path is None:
        return os.environ.get(_TOKEN_VARIABLE) or None
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError("cannot read the token", where=path, found=error) from error
    if not token:
        raise OptionError("the file holds no token", where=path)
    return token


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _check_certificate(certificate: str, key: str) -> None:
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except OSError as error:
        raise OptionError(
            "the certificate cannot be used with its key",
            where="--tls-certificate, --tls-key",
            asked=f"{certificate}, {key}",
            found=error.strerror,
            remedy="Give two PEM files that belong together.",
        ) from error
