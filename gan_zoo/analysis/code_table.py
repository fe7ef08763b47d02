"""Write a table as CSV or Parquet, batch by batch."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gan_zoo.errors import InputError
from gan_zoo.extras import require
from gan_zoo.files import atomic_file

ENDINGS = (".csv", ".parquet")

Columns = dict[str, NDArray[Any]]


def check_ending(path: Path) -> None:
    """Check the suffix of a table's file name.

    Raises:
        InputError: If the suffix is unknown, or its library is not installed.
    """
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"{path}: the name of a table must end in {' or '.join(ENDINGS)}")
    if path.suffix.lower() == ".parquet":
        require("pyarrow", "hub", f"{path}: Parquet, unlike .csv,")


def write_table(batches: Iterator[Columns], path: Path) -> int:
    """Write a table batch by batch, completely or not at all; the file name's ending decides the format.

    Returns:
        The number of rows.

    Raises:
        InputError: If the ending is not one of `ENDINGS`.
    """
    check_ending(path)
    with atomic_file(path) as partial:
        return (_write_parquet if path.suffix.lower() == ".parquet" else _write_csv)(batches, partial)


def _write_csv(batches: Iterator[Columns], path: Path) -> int:
    rows = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for columns in batches:
            if not rows:
                writer.writerow(columns)
            writer.writerows(zip(*map(_cells, columns.values()), strict=True))
            rows += len(columns["image"])
    return rows


def _cells(column: NDArray[Any]) -> list[Any]:
    """Values as text: floats with 7 digits, the precision of float32."""
    values: list[Any] = column.tolist()
    return [f"{value:.7g}" for value in values] if column.dtype.kind == "f" else values


def _write_parquet(batches: Iterator[Columns], path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = next(batches)
    schema = pa.table(first).schema
    rows = 0
    with pq.ParquetWriter(path, schema) as writer:
        for columns in chain([first], batches):
            writer.write_table(pa.table(columns, schema=schema))
            rows += len(columns["image"])
    return rows
