"""Tables as Parquet and JSON files, written piece by piece."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from ..errors import StoreError, pip_install

__all__ = ["ColumnType", "write_json", "write_parquet"]

ColumnType = Literal["int64", "float32", "float64", "str", "bool"]

_CHUNK_ROWS = 16_384


def write_parquet(path: Path, columns: Mapping[str, ColumnType], rows: Iterable[Sequence[Any]]) -> int:
    """Write rows, each with a value per column or None, as a Parquet file; return how many there were.

    The file takes its name when it is whole. Raises StoreError where the disk refuses or pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise StoreError(
            "the Python package 'pyarrow' is not installed",
            where=path,
            remedy=f"Run: {pip_install('facesearch_trt[search]')}",
        ) from error
    types = {"str": pa.string(), "bool": pa.bool_()}
    schema = pa.schema([(name, types.get(kind) or getattr(pa, kind)()) for name, kind in columns.items()])
    count = 0
    partial = path.with_name(f".{path.name}.partial")
    try:
        with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
            for chunk in _chunks(rows):
                arrays = [
                    pa.array(values, field.type) for values, field in zip(zip(*chunk, strict=True), schema, strict=True)
                ]
                writer.write_table(pa.table(arrays, schema=schema))
                count += len(chunk)
        partial.replace(path)
    except OSError as error:
        raise StoreError("cannot be written", where=path, found=error.strerror or error) from error
    finally:
        partial.unlink(missing_ok=True)
    return count


def write_json(path: Path, columns: Mapping[str, ColumnType], rows: Iterable[Sequence[Any]]) -> int:
    """Write rows as a JSON array of objects, one on each line; otherwise as :func:`write_parquet`."""
    partial = path.with_name(f".{path.name}.partial")
    names, count = list(columns), 0
    try:
        with partial.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.write("[")
            for row in rows:
                file.write("\n" if not count else ",\n")
                file.write(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False, allow_nan=False))
                count += 1
            file.write("\n]\n")
        partial.replace(path)
    except OSError as error:
        raise StoreError("cannot be written", where=path, found=error.strerror or error) from error
    finally:
        partial.unlink(missing_ok=True)
    return count


def _chunks(rows: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, _CHUNK_ROWS)):
        yield chunk
