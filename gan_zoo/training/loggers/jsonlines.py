"""metrics.jsonl, the log that every run has."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL.Image import Image

from gan_zoo.data.bounds import check_memory
from gan_zoo.files import write_all, write_text

LONGEST = 2**20
"""Bytes of a line beyond which it is none of metrics."""


class JSONLines:
    """metrics.jsonl, a JSON object a line. Lines after `start` are of steps that are trained anew: dropped."""

    def __init__(self, path: Path, start: int) -> None:
        kept = {record["step"]: json.dumps(record) + "\n" for record in read_records(path) if record["step"] <= start}
        write_text("".join(kept.values()), path)
        self._file = path.open("ab", buffering=0)

    def log(self, record: dict[str, Any]) -> None:
        """Append a line."""
        write_all(self._file, json.dumps(record).encode() + b"\n")

    def picture(self, picture: Image, step: int) -> None:
        """Pictures lie in the run's `samples`."""

    def flush(self) -> None:
        """Sync the file."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_records(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; one that a crash cut off or garbled is left out."""
    records: list[dict[str, Any]] = []
    if not path.is_file():
        return records
    check_memory(path.stat().st_size, str(path))
    for line in _lines(path):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            records.append(record)
    return records


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, one that is too long in pieces."""
    with path.open("rb") as file:
        yield from iter(lambda: file.readline(LONGEST), b"")
