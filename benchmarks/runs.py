"""Runs that a benchmark compares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gan_zoo
from gan_zoo.config_text import changes
from gan_zoo.errors import InputError
from gan_zoo.resolve import resolve
from gan_zoo.training.run import Run, open_run

FREE = ("training.precision", "data.resolution", "data.channels", "data.classes")
"""What may differ from the settings asked for: what a run finds out by itself.

The budget may, too, where the learning rates are constant: only the end of the run depends on it."""


def train_or_open(folder: Path, config: str, **settings: Any) -> Run:
    """The InfoGAN of a preset or file and further settings in `folder`, trained to its end; read if it is there."""
    if (folder / "config.toml").exists():
        run, asked = open_run(folder), resolve("infogan", config, settings)
        free = (*FREE, "training.steps") if asked.optimizer.schedule == "constant" else FREE
        differing = [c for c in changes(run.config, asked) if not c.startswith(free)]
        if differing:
            raise InputError(f"{folder} was trained with other settings: {'; '.join(differing)}; name another --runs")
        lines = run.metrics()
        if lines and lines[-1]["step"] >= asked.training.steps:
            return run
    return gan_zoo.train("infogan", config, out=folder, resume=True, **settings)
