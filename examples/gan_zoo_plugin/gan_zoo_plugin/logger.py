"""The logger csv."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from gan_zoo.config import Config
from PIL.Image import Image


class CSV:
    """metrics.csv in the run folder: step, name and value in each row."""

    def __init__(self, folder: Path, config: Config, start: int) -> None:
        self.file = (folder / "metrics.csv").open("a" if start else "w", newline="")

    @staticmethod
    def check() -> None:
        """Nothing to check: it has no requirements."""

    def log(self, record: dict[str, Any]) -> None:
        """Write a row for each value."""
        csv.writer(self.file).writerows((record["step"], name, value) for name, value in record.items())

    def picture(self, picture: Image, step: int) -> None:
        """Ignore pictures."""

    def flush(self) -> None:
        """Flush the file."""
        self.file.flush()

    def close(self) -> None:
        """Close the file."""
        self.file.close()
