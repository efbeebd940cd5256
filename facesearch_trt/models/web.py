"""Fetches a file, or part of a remote zip, over HTTP with the standard library; proxies come from the environment."""

from __future__ import annotations

import http.client
import io
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from ..errors import FetchError
from .files import Progress, copy_and_sum

__all__ = ["download", "open_remote"]

_TIMEOUT_S = 60.0
"""For each read, not for the whole."""
_MAX_ARCHIVE_BYTES = 4 << 30
_SKIP_BYTES = 1 << 16
"""A gap up to this size is read over; beyond it a new request is cheaper."""


def _failed(url: str, error: object, by_hand: str) -> FetchError:
    if isinstance(error, urllib.error.HTTPError):
        error.close()  # it is the response too, and would keep its socket as long as our error lives
    remedy = f"Check the network (a proxy is taken from https_proxy), or {by_hand[0].lower()}{by_hand[1:]}"
    return FetchError("could not be fetched", where=url, found=error, remedy=remedy)


_NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, OSError)


class _RemoteFile(io.RawIOBase):
    """A seekable file over HTTP range requests, so that a zip's one member comes without the rest of it.

    One request stays open as long as it is read onward.
    """

    def __init__(self, url: str, size: int) -> None:
        self._url, self._size = url, size
        self._position = 0
        self._response: http.client.HTTPResponse | None = None
        self._response_position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence])
        return self._position

    def _at_position(self) -> http.client.HTTPResponse:
        gap = self._position - self._response_position
        if self._response is not None and 0 <= gap <= _SKIP_BYTES:
            self._response_position += len(self._response.read(gap))
            if self._response_position != self._position:
                raise http.client.IncompleteRead(b"", self._size - self._position)
            return self._response
        self._drop()
        request = urllib.request.Request(self._url, headers={"Range": f"bytes={self._position}-"})
        self._response = cast(http.client.HTTPResponse, urllib.request.urlopen(request, timeout=_TIMEOUT_S))
        if self._response.status != 206:
            raise http.client.HTTPException(f"the server ignored a range request (status {self._response.status})")
        self._response_position = self._position
        return self._response

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(cast(bytearray, buffer))
        wanted = min(len(view), self._size - self._position)
        if wanted <= 0:
            return 0
        data = self._at_position().read(wanted)
        if not data:
            raise http.client.IncompleteRead(b"", self._size - self._position)
        view[: len(data)] = data
        self._position += len(data)
        self._response_position += len(data)
        return len(data)

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    def close(self) -> None:
        self._drop()
        super().close()


def download(
    url: str, target: Path, expected_bytes: int, progress: Progress | None = None, *, by_hand: str
) -> tuple[str, int]:
    """Download ``url`` to a file and return its sha256 and size. ``by_hand``: what to do when it cannot be had.

    Raises FetchError for any failure of the network, and when the connection ended early; ModelError where the file
    cannot be written.
    """
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
            promised = response.headers.get("Content-Length")
            digest, size = copy_and_sum(response, target, expected_bytes, progress)
    except _NETWORK_ERRORS as error:
        raise _failed(url, error, by_hand) from error
    if promised is not None and promised.isdigit() and size < min(int(promised), expected_bytes):
        raise _failed(url, f"the connection ended after {size:,} of {int(promised):,} bytes", by_hand)
    return digest, size


@contextmanager
def open_remote(url: str, work: Path, *, name: str, by_hand: str) -> Iterator[IO[bytes]]:
    """Open a remote file for reading anywhere in it: by range requests, or downloaded into ``work`` where the server
    has none, which is told as ``name``.

    Raises FetchError for any failure of the network, also while the caller reads.
    """
    try:
        request = urllib.request.Request(url, headers={"Range": "bytes=0-0"})
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
            if response.status == 206 and total.isdigit():
                opened: IO[bytes] = io.BufferedReader(_RemoteFile(url, int(total)), 1 << 18)
            else:
                whole = work / "whole"
                promised = response.headers.get("Content-Length", "")
                total = int(promised) if promised.isdigit() else None
                copy_and_sum(response, whole, _MAX_ARCHIVE_BYTES, Progress(name, total))
                opened = whole.open("rb")
        with opened:
            yield opened
    except _NETWORK_ERRORS as error:
        raise _failed(url, error, by_hand) from error
