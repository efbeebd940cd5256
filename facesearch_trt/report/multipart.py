"""Reads multipart forms into memory. The usual parser puts what is larger than a megabyte into temporary files, and a
photo that is searched for must not get there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

__all__ = ["read_multipart"]

_MAX_HEADER = 1 << 12
"""Bytes of a part's headers."""


async def read_multipart(
    content_type: str, stream: AsyncIterator[bytes], *, max_files: int, max_fields: int
) -> list[tuple[str, str | bytes]]:
    """Return the fields of a form, in order: texts, and the content of files as bytes.

    Raises ValueError where it is malformed, cut off, or has more parts than allowed. The caller limits its length.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise ValueError("no boundary")
    parts = _Parts(max_files, max_fields)
    parser = MultipartParser(boundary, parts.callbacks())
    try:
        async for chunk in stream:
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise ValueError(str(error)) from error
    if not parts.ended:
        raise ValueError("it is cut off")
    return parts.fields


class _Parts:
    def __init__(self, max_files: int, max_fields: int) -> None:
        self.fields: list[tuple[str, str | bytes]] = []
        self.ended = False
        self._left = {True: max_files, False: max_fields}
        self._name, self._is_file = "", False
        self._header, self._value, self._data = bytearray(), bytearray(), bytearray()

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._name, self._is_file = "", False
        self._data = bytearray()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        if len(self._header) + len(self._value) > _MAX_HEADER:
            raise ValueError("a part's headers are too long")

    def _header_end(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            self._name = options.get(b"name", b"").decode("utf-8", "replace")
            self._is_file = b"filename" in options
        self._header, self._value = bytearray(), bytearray()

    def _headers_finished(self) -> None:
        if not self._name:
            raise ValueError("a part has no name")
        self._left[self._is_file] -= 1
        if self._left[self._is_file] < 0:
            raise ValueError("too many files" if self._is_file else "too many fields")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]

    def _part_end(self) -> None:
        value = bytes(self._data) if self._is_file else self._data.decode("utf-8", "replace")
        self.fields.append((self._name, value))
        self._data = bytearray()

    def _end(self) -> None:
        self.ended = True
