"""A run folder: where it is made, what lies in it, and how it is opened again.

config.toml                  the resolved tree; `gan-zoo train --config` takes it back
environment.json             versions, device, git revision
metrics.jsonl                a line a logging step
checkpoints/step-NNNNNNNN/   see `gan_zoo.training.checkpoint`
samples/                     pictures
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gan_zoo.config import Config
from gan_zoo.errors import InputError
from gan_zoo.models.gan.model import GAN
from gan_zoo.registry import models
from gan_zoo.resolve import resolve, to_toml
from gan_zoo.training.checkpoint import load_weights, newest_whole, read_state, step_of
from gan_zoo.training.loggers import read_records


@dataclass(frozen=True)
class Run:
    """A run on disk."""

    folder: Path
    config: Config

    @property
    def checkpoints(self) -> Path:
        """Where its checkpoints lie."""
        return self.folder / "checkpoints"

    @property
    def samples(self) -> Path:
        """Where its pictures lie."""
        return self.folder / "samples"

    @property
    def metrics_file(self) -> Path:
        """Its log."""
        return self.folder / "metrics.jsonl"

    def ground(self, model: str | None) -> Path:
        """The tree that a continuation of this run starts from.

        Raises:
            InputError: If `model` is given and is not the run's.
        """
        if model not in (None, self.config.model):
            raise InputError(f"{self.folder} is a run of {self.config.model}, not of {model}; name another folder")
        return self.folder / "config.toml"

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        return read_records(self.metrics_file)

    def load(self, device: torch.device | str = "cpu") -> GAN:
        """The model of its newest whole checkpoint; see `load`."""
        return load(self.folder, device=device)


def create_run(config: Config, folder: Path | None, environment: dict[str, Any]) -> Run:
    """Make a run folder: `folder`, or the next free `runs/MODEL-DATA-NNN`.

    Raises:
        InputError: If `folder` holds something already.
    """
    if folder is None:
        folder = _next_free(Path("runs"), f"{config.model}-{Path(config.data.name).stem}")
    elif folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; a run needs a folder")
    elif folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; go on with its run by --resume, or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "environment.json").write_text(json.dumps(environment, indent=2) + "\n")
    (folder / "config.toml").write_text(to_toml(config))
    return Run(folder, config)


def open_run(folder: Path | str) -> Run:
    """The run in a folder.

    Raises:
        InputError: If there is none.
    """
    path = Path(folder)
    config = path / "config.toml"
    if not config.is_file():
        what = "does not exist" if not path.exists() else "has no config.toml"
        raise InputError(f"{path} is no run folder: it {what}")
    return Run(path, resolve(config=config))


def held_run(folder: Path | None) -> Run | None:
    """The run that `--resume` goes on with; none if `folder` is still to be made.

    Raises:
        InputError: If no folder is given, or if it holds something that is no run.
    """
    if folder is None:
        raise InputError("--resume needs the run's folder: --out DIR")
    empty = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    return None if empty else open_run(folder)


def build(config: Config, device: torch.device | str = "cpu") -> GAN:
    """A new model, its weights decided by the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model: GAN = models.get(config.model)(config)
    return model.to(device)


def is_checkpoint(path: Path) -> bool:
    """Whether `path` is named as a run's checkpoint, and not a run folder itself."""
    return step_of(path) is not None and not (path / "config.toml").exists()


def find(source: Path | str) -> tuple[Run, Path]:
    """The run and the checkpoint that `source` names: a checkpoint, or a run folder's newest whole one.

    Raises:
        InputError: If there is no run, or a run without a whole checkpoint.
    """
    path = Path(source)
    if is_checkpoint(path):
        return open_run(path.absolute().parent.parent), path
    run = open_run(path)
    newest, complaints = newest_whole(run.checkpoints)
    if newest is None:
        raise InputError("; ".join(complaints) or f"{path} has no checkpoint yet")
    return run, newest


def load(source: Path | str, *, device: torch.device | str = "cpu") -> GAN:
    """A trained model, for evaluation: the generator's moving average where the run keeps one.

    Args:
        source: A run folder (its newest whole checkpoint is read) or one checkpoint.
        device: Where to put the model.

    Raises:
        InputError: If there is no whole checkpoint, in one line that says what was found.
    """
    run, checkpoint = find(source)
    state = read_state(checkpoint)
    model = build(run.config)
    load_weights(model, checkpoint / "model.safetensors")
    if "ema.safetensors" in state["sha256"]:
        load_weights(model.generator, checkpoint / "ema.safetensors")
    return model.to(device).eval()


def _next_free(parent: Path, stem: str) -> Path:
    taken = [int(p.name.rsplit("-", 1)[1]) for p in parent.glob(f"{stem}-*") if p.name.rsplit("-", 1)[1].isdigit()]
    number = max(taken, default=0) + 1
    while True:
        folder = parent / f"{stem}-{number:03d}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder
