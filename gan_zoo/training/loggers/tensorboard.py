"""TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from gan_zoo.config import Config
from gan_zoo.errors import InputError
from gan_zoo.extras import require


class TensorBoard:
    """TensorBoard's event files, in the run folder's `tensorboard` (the extra `tensorboard`)."""

    def __init__(self, folder: Path, config: Config, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        try:
            self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1 if start else None)
        except UnicodeEncodeError:
            raise InputError(f"{folder}: tensorboard requires a folder whose name is UTF-8; choose another") from None

    @staticmethod
    def check() -> None:
        """Check that TensorBoard is installed."""
        require("tensorboard", "tensorboard", "logging.trackers: tensorboard")

    def log(self, record: dict[str, Any]) -> None:
        """Write a scalar for each value."""
        for name, value in record.items():
            if name != "step":
                self._writer.add_scalar(name, value, record["step"])

    def picture(self, picture: Image, step: int) -> None:
        """Write the grid."""
        pixels = np.atleast_3d(np.asarray(picture))
        self._writer.add_image("samples", pixels, step, dataformats="HWC")

    def flush(self) -> None:
        """Write buffered events."""
        self._writer.flush()

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()
