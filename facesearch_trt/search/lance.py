"""The one place that knows LanceDB: opening, errors, and text inside its SQL."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from ..errors import FaceSearchError, StoreError, pip_install

__all__ = ["btree", "connect", "is_remote", "lance_errors", "quoted", "rabitq", "table_name", "table_names"]


def is_remote(location: str) -> bool:
    """Return whether a location is an object store's (``s3://…``, ``gs://…``, ``az://…``), not a directory."""
    return "://" in location


def connect(location: str) -> Any:
    """Return a connection whose every query sees the latest commit.

    Raises StoreError where the location cannot be used, and where LanceDB is not installed.
    """
    # Lance writes its own log to standard error; what matters comes as an exception.
    os.environ.setdefault("LANCEDB_LOG", "error")
    try:
        import lancedb
    except ModuleNotFoundError as error:
        if error.name not in ("lancedb", "pyarrow"):
            raise
        raise StoreError(
            f"the Python package {error.name!r} is not installed",
            where=location,
            remedy=f"Run: {pip_install('facesearch_trt[search]')}",
        ) from error
    with lance_errors(location):
        return lancedb.connect(location, read_consistency_interval=timedelta(0))


def table_names(database: Any) -> list[str]:
    """Return the names of all tables."""
    names: list[str] = []
    token: str | None = None
    while True:
        page = database.list_tables(page_token=token)
        names += page.tables
        token = page.page_token
        if not token:
            return names


def table_name(model: str) -> str:
    """Return the name of a model's table: readable, and different for any two models."""
    readable = re.sub(r"[^A-Za-z0-9-]+", "-", model).strip("-")[:40] or "model"
    return f"{readable}_{hashlib.sha256(model.encode()).hexdigest()[:8]}"


def quoted(text: str) -> str:
    """Return a text as a literal of Lance's SQL, in which a doubled quote is the only escape."""
    return "'" + text.replace("'", "''") + "'"


def btree() -> Any:
    """Return the settings of a scalar index."""
    from lancedb.index import BTree

    return BTree()


def rabitq(partitions: int, bits: int) -> Any:
    """Return the settings of an IVF index with RaBitQ codes of ``bits`` bits a number, for cosines."""
    from lancedb.index import IvfRq

    return IvfRq(distance_type="cosine", num_partitions=partitions, num_bits=bits)


@contextmanager
def lance_errors(location: str) -> Iterator[None]:
    """Turn what LanceDB raises into a StoreError that names the index."""
    try:
        yield
    except FaceSearchError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        # Only the first line says what happened; the rest is where in Lance's sources.
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise StoreError(
            "the index cannot be used",
            where=location,
            found=re.sub(r", /\S+\.rs:\d+:\d+", "", reason)[:400],
            remedy=(
                "Check the address, the credentials in the environment and the network."
                if is_remote(location)
                else f"If it is damaged, remove {location} and run `facesearch index` again: it is made from the"
                " clips' results."
            ),
        ) from error
