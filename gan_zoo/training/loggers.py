"""Where the metrics of a run go: metrics.jsonl always, TensorBoard when asked."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from gan_zoo.data.bounds import check_memory
from gan_zoo.errors import InputError
from gan_zoo.files import write_all, write_text
from gan_zoo.images import to_uint8

LONGEST = 2**20
"""Bytes of a line beyond which it is none of metrics."""


class Logger(Protocol):
    """A place for metrics and pictures."""

    def log(self, record: dict[str, Any]) -> None:
        """Take a line of metrics: `step` and values by name."""

    def picture(self, images: Tensor, step: int) -> None:
        """Take samples [n, C, H, W] in [-1, 1]."""

    def flush(self) -> None:
        """Have the disk hold what was taken in."""

    def close(self) -> None:
        """Write what is still held."""


class JSONLines:
    """metrics.jsonl, a JSON object a line. Lines after `start` are of steps that are trained anew: dropped."""

    def __init__(self, path: Path, start: int) -> None:
        kept = {record["step"]: json.dumps(record) + "\n" for record in read_records(path) if record["step"] <= start}
        write_text("".join(kept.values()), path)
        self._file = path.open("ab", buffering=0)

    def log(self, record: dict[str, Any]) -> None:
        """Append a line."""
        write_all(self._file, json.dumps(record).encode() + b"\n")

    def picture(self, images: Tensor, step: int) -> None:
        """Pictures lie in the run's `samples`."""

    def flush(self) -> None:
        """Sync the file."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoard:
    """TensorBoard's event files (the extra `tensorboard`)."""

    def __init__(self, folder: Path, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=start + 1 if start else None)

    @staticmethod
    def check() -> None:
        """Refuse before a run is made if TensorBoard is not installed."""
        if find_spec("tensorboard") is None:
            raise InputError("logging.tensorboard needs the extra: pip install 'gan-zoo[tensorboard]'")

    def log(self, record: dict[str, Any]) -> None:
        """Write a scalar for each value."""
        for name, value in record.items():
            if name != "step":
                self._writer.add_scalar(name, value, record["step"])

    def picture(self, images: Tensor, step: int) -> None:
        """Write the samples."""
        self._writer.add_images("samples", to_uint8(images), step)

    def flush(self) -> None:
        """Hand over what is held."""
        self._writer.flush()

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()


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
