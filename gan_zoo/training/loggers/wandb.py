"""Weights & Biases."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from PIL.Image import Image

from gan_zoo.config import Config
from gan_zoo.errors import InputError
from gan_zoo.extras import require
from gan_zoo.training.loggers.logger import run_id

MODES = ("online", "offline", "disabled", "shared")


class WandB:
    """A run of Weights & Biases (the extra `wandb`), kept in the run folder's `wandb`.

    Offline unless WANDB_MODE is set; `wandb sync` uploads it later, to WANDB_PROJECT and WANDB_ENTITY. A resumed run
    continues the same W&B run; steps that are trained again are logged again.
    """

    def __init__(self, folder: Path, config: Config, start: int) -> None:
        import wandb

        self._image = wandb.Image
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "gan-zoo"),
                name=folder.name,
                id=run_id(folder),
                resume="allow",
                dir=str(folder.absolute()),
                mode=_mode(),
                config=config.model_dump(mode="json"),
                settings=wandb.Settings(console="off", quiet=True),
            )
        except wandb.errors.Error as error:
            raise InputError(f"logging.trackers: wandb: {error}; WANDB_MODE=offline needs no account") from error
        self._run.define_metric("*", step_metric="step")  # W&B's own step never decreases, a resumed run's may

    @staticmethod
    def check() -> None:
        """Check that Weights & Biases is installed, and WANDB_MODE valid."""
        require("wandb", "wandb", "logging.trackers: wandb")
        if _mode() not in MODES:
            raise InputError(f"logging.trackers: wandb: WANDB_MODE={_mode()}; accepted: {', '.join(MODES)}")

    def log(self, record: dict[str, Any]) -> None:
        """Write all values."""
        self._run.log(record)

    def picture(self, picture: Image, step: int) -> None:
        """Write the grid."""
        self._run.log({"step": step, "samples": self._image(picture)})

    def flush(self) -> None:
        """Does nothing: W&B's process writes at once."""

    def close(self) -> None:
        """Wait until all is written."""
        self._run.finish()


def _mode() -> Any:
    return os.environ.get("WANDB_MODE", "offline")
