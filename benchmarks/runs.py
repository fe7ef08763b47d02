"""Runs that a benchmark compares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gan_zoo
from gan_zoo.resolve import resolve
from gan_zoo.training.run import Run, open_run


def train_or_open(folder: Path, config: str, **settings: Any) -> Run:
    """The InfoGAN of a preset or file and further settings in `folder`, trained to its end; read if it is there."""
    if (folder / "config.toml").exists():
        run, lines = open_run(folder), open_run(folder).metrics()
        if lines and lines[-1]["step"] >= resolve("infogan", config, settings).training.steps:
            return run
    return gan_zoo.train("infogan", config, out=folder, resume=True, **settings)
