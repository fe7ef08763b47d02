"""metrics.jsonl, the log that every run has."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL.Image import Image

from gan_zoo.data.bounds import check_memory
from gan_zoo.files import write_all, write_text

MAX_LINE_BYTES = 2**20
"""Longer lines are not metrics."""


class JSONLines:
    """metrics.jsonl, one JSON object per line. Lines after step `start` are dropped: those steps are trained again."""

    def __init__(self, path: Path, start: int) -> None:
        kept = {record["step"]: json.dumps(record) + "\n" for record in read_records(path) if record["step"] <= start}
        write_text("".join(kept.values()), path)
        self._file = path.open("ab", buffering=0)

    def log(self, record: dict[str, Any]) -> None:
        """Append a line."""
        write_all(self._file, json.dumps(record).encode() + b"\n")

    def picture(self, picture: Image, step: int) -> None:
        """Does nothing: pictures are in the run's `samples`."""

    def flush(self) -> None:
        """Sync the file."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_records(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl, without those that a crash truncated or garbled."""
    records: list[dict[str, Any]] = []
    if not path.is_file():
        return records
    check_memory(path.stat().st_size, str(path))
    for line in _lines(path):
        with suppress(ValueError, RecursionError):
            record = json.loads(line)
            if isinstance(record, dict) and isinstance(record.get("step"), int):
                records.append(record)
    return records


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file; one that is too long comes in pieces."""
    with path.open("rb") as file:
        yield from iter(lambda: file.readline(MAX_LINE_BYTES), b"")
