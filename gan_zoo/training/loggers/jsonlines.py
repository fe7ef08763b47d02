"""metrics.jsonl, the log that every run has."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from PIL.Image import Image

from gan_zoo.files import write_all, write_text


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
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    records = []
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            records.append(record)
    return records
