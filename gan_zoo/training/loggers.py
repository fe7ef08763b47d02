"""Where the metrics of a run go: metrics.jsonl always, TensorBoard when asked."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from gan_zoo.errors import InputError
from gan_zoo.images import to_uint8


class Logger(Protocol):
    """A place for metrics and pictures."""

    def log(self, record: dict[str, Any]) -> None:
        """Take a line of metrics: `step` and values by name."""

    def picture(self, images: Tensor, step: int) -> None:
        """Take samples [n, C, H, W] in [-1, 1]."""

    def close(self) -> None:
        """Write what is still held."""


class JSONLines:
    """metrics.jsonl, a JSON object a line. Lines after `start` are of steps that are trained anew: dropped."""

    def __init__(self, path: Path, start: int) -> None:
        kept = [line for line in _whole_lines(path) if json.loads(line)["step"] <= start]
        beside = path.with_name(f".{path.name}.partial")
        beside.write_text("".join(kept))
        beside.replace(path)
        self._file = path.open("a", buffering=1)

    def log(self, record: dict[str, Any]) -> None:
        self._file.write(json.dumps(record) + "\n")

    def picture(self, images: Tensor, step: int) -> None:
        pass

    def close(self) -> None:
        self._file.close()


class TensorBoard:
    """TensorBoard's event files (the extra `tensorboard`)."""

    def __init__(self, folder: Path, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=start + 1 if start else None)  # type: ignore[no-untyped-call]

    @staticmethod
    def check() -> None:
        """Refuse before a run is made if TensorBoard is not installed."""
        if find_spec("tensorboard") is None:
            raise InputError("logging.tensorboard needs the extra: pip install 'gan-zoo[tensorboard]'")

    def log(self, record: dict[str, Any]) -> None:
        for name, value in record.items():
            if name != "step":
                self._writer.add_scalar(name, value, record["step"])  # type: ignore[no-untyped-call]

    def picture(self, images: Tensor, step: int) -> None:
        self._writer.add_images("samples", to_uint8(images), step)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self._writer.close()  # type: ignore[no-untyped-call]


def _whole_lines(path: Path) -> list[str]:
    """The lines of a log; a last one that a crash cut off is left out."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [line for line in lines if line.endswith("\n")]
