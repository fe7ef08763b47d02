"""trackio."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from PIL.Image import Image

from gan_zoo.config import Config
from gan_zoo.extras import require
from gan_zoo.training.loggers.logger import run_id


class Trackio:
    """A run in trackio's own folder (the extra `trackio`), which `trackio show` reads.

    It stays on this machine unless TRACKIO_SPACE_ID or TRACKIO_SERVER_URL is set; TRACKIO_DIR and TRACKIO_PROJECT set
    its place. A resumed run continues the same trackio run; steps that are trained again are logged again.
    """

    def __init__(self, folder: Path, config: Config, start: int) -> None:
        import trackio

        self._image = trackio.Image
        self._run = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", "gan-zoo"),
            name=f"{folder.name}-{run_id(folder)}",
            resume="allow",
            config=config.model_dump(mode="json"),
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )

    @staticmethod
    def check() -> None:
        """Check that trackio is installed."""
        require("trackio", "trackio", "logging.trackers: trackio")

    def log(self, record: dict[str, Any]) -> None:
        """Write all values."""
        self._run.log({name: value for name, value in record.items() if name != "step"}, step=record["step"])

    def picture(self, picture: Image, step: int) -> None:
        """Write the grid."""
        self._run.log({"samples": self._image(picture)}, step=step)

    def flush(self) -> None:
        """Does nothing: trackio's thread writes every half second."""

    def close(self) -> None:
        """Wait until all is written."""
        self._run.finish()
