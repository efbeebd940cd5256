"""CSV tables, row by row: written without ever holding one, read with every cell checked."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from ..errors import TableError
from .schema import COMMANDS, Table, redo

__all__ = ["TableWriter", "columns_of", "read_rows"]


class TableWriter:
    """A table that grows row by row; it may lack its end until it is closed.

    A context manager. Methods raise OSError where the disk refuses.
    """

    def __init__(self, path: Path, table: Table) -> None:
        self.table = table
        self.path = path
        self._file: TextIO | None = path.open("w", encoding="utf-8", newline="")
        self._write(table.header)

    def row(self, *cells: Any) -> None:
        """Add a row; the values are in the order of the table's columns."""
        self._write(self.table.line(cells))

    def _write(self, text: str) -> None:
        if self._file is None:
            raise ValueError(f"{self.path} is closed")
        with _named(self.path):
            self._file.write(text)

    def close(self) -> None:
        """Write the end. May be called again."""
        if self._file is None:
            return
        file, self._file = self._file, None
        with _named(self.path):
            file.close()

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is None:
            self.close()
        else:
            self.discard()

    def discard(self) -> None:
        """Close the file without a care for its content. Raises nothing."""
        if self._file is None:
            return
        file, self._file = self._file, None
        # The flush at closing may meet again the error that ended the pass.
        with contextlib.suppress(OSError):
            file.close()


class _named:  # noqa: N801 - used like a function
    """Give an OSError of a write the file's name, which write(2) does not know."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(self._path)


def columns_of(path: Path) -> list[str]:
    """Return a table's column names;

    empty for an empty file. Raises OSError or UnicodeDecodeError where it cannot be read.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        return next(csv.reader(file), [])


def read_rows(path: Path, table: Table) -> Iterator[list[Any]]:
    """Yield the values of each row, in the order of the table's columns.

    Columns that the table does not know are passed over. Raises TableError that names the file, the column or the line,
    and the step to run again, where the file is missing, a column is missing or double, a row is too short or long, or
    a cell is not of its column's type.
    """
    step = table.step
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            places = _places(path, table, header)
            everything = places == list(range(len(header)))
            for cells in reader:
                if len(cells) != len(header):
                    raise TableError(
                        f"line {reader.line_num}: wrong number of cells",
                        where=path,
                        asked=len(header),
                        found=len(cells),
                        remedy=redo(step),
                    )
                chosen = cells if everything else [cells[place] for place in places]
                yield table.parsed(chosen, path, reader.line_num)
    except FileNotFoundError:
        raise TableError("no such table", where=path, remedy=f"Run {COMMANDS[step]} first.") from None
    except OSError as error:
        raise TableError("cannot read the table", where=path, found=error.strerror, remedy=redo(step)) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise TableError("the table is damaged", where=path, found=error, remedy=redo(step)) from error


def _places(path: Path, table: Table, header: list[str]) -> list[int]:
    for name in table.names:
        if header.count(name) != 1:
            raise TableError(
                f"column {name!r} is {'there twice' if name in header else 'missing'}",
                where=path,
                found=", ".join(header) or "an empty file",
                remedy=redo(table.step_of(name)),
            )
    return [header.index(name) for name in table.names]
