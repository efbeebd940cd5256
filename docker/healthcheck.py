"""Whether the container does its work: a web app has to answer, a job is well as long as it runs."""

from __future__ import annotations

import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

PORT = 8000
"""Where the web app listens unless its command line says otherwise; the image's own choice, see docker/entrypoint.sh."""


def port_of(command: Sequence[str]) -> int | None:
    """Return the port that a command line makes a web app listen on, None where it is no web app."""
    if "serve" not in command:
        return None
    for index, word in enumerate(command):
        if word == "--port":
            return int(command[index + 1])
        if word.startswith("--port="):
            return int(word.partition("=")[2])
    return PORT


def speaks_tls(command: Sequence[str]) -> bool:
    """Return whether a command line makes the web app speak TLS."""
    return any(word.partition("=")[0] == "--tls-certificate" for word in command)


def answers(port: int, *, tls: bool = False) -> bool:
    """Return whether a web server answers here; that it wants a token is an answer."""
    scheme, context = ("https", ssl.create_default_context()) if tls else ("http", None)
    if context is not None:
        # It is this container's own, and made for another name.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(f"{scheme}://127.0.0.1:{port}/", timeout=4, context=context):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def main() -> int:
    """Return 0 for a container that is well, 1 for another."""
    command = Path("/proc/1/cmdline").read_text(encoding="utf-8").split("\0")
    port = port_of(command)
    return 0 if port is None or answers(port, tls=speaks_tls(command)) else 1


if __name__ == "__main__":
    sys.exit(main())
