"""A run folder, and how its model is loaded.

config.toml                  the resolved configuration; `gan-zoo train --config` accepts it
data.json                    the fingerprint of its data; see `gan_zoo.training.provenance`
origin.json                  the model whose weights it started at, if any; see `gan_zoo.training.origin`
environment.json             versions, device, git revision
metrics.jsonl                one line for each logging step
checkpoints/step-NNNNNNNN/   see `gan_zoo.training.checkpoint`
checkpoints/best/            see `gan_zoo.training.best`
samples/                     pictures
failure.txt                  the error that ended the run, until it is resumed
tensorboard/, wandb/         written by these trackers; tracker-id: the run's id for them
.lock                        locked by the process that trains here
.evaluation.lock             locked by the process that writes evaluation.json
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import torch

from gan_zoo.config import Config
from gan_zoo.config_text import to_toml
from gan_zoo.data.fingerprint import Fingerprint
from gan_zoo.errors import DamagedCheckpointWarning, InputError, TrainingError, quoted
from gan_zoo.files import PARTIAL, write_json, write_text
from gan_zoo.models.gan.model import GAN
from gan_zoo.registry import weights
from gan_zoo.resolve import resolve
from gan_zoo.terminal import say
from gan_zoo.training.best import find_best
from gan_zoo.training.build import build_model
from gan_zoo.training.checkpoint import (
    BEST,
    has_average,
    load_weights,
    name_of,
    newest_whole,
    read_facts,
    read_state,
    step_of,
)
from gan_zoo.training.exported import DESCRIPTION, check_weights, read_description
from gan_zoo.training.hub_download import check_is_path, download, hub_model, is_name, written
from gan_zoo.training.lock import LOCK
from gan_zoo.training.loggers.jsonlines import read_records
from gan_zoo.training.origin import Origin, read_origin

CONFIG, ENVIRONMENT, DATA, FAILURE = "config.toml", "environment.json", "data.json", "failure.txt"
ORIGIN = "origin.json"
RUN_FILES = (CONFIG, ENVIRONMENT, DATA, ORIGIN, FAILURE, "metrics.jsonl", "evaluation.json", "checkpoints")
"""What a run needs to be resumed, measured and listed."""
SUBFOLDERS = ("checkpoints", "samples", "tensorboard")


@dataclass(frozen=True)
class Run:
    """A run on disk."""

    folder: Path
    config: Config

    @property
    def checkpoints(self) -> Path:
        """The folder of its checkpoints."""
        return self.folder / "checkpoints"

    @property
    def samples(self) -> Path:
        """The folder of its sample images."""
        return self.folder / "samples"

    @property
    def metrics_file(self) -> Path:
        """Its log."""
        return self.folder / "metrics.jsonl"

    @property
    def failure(self) -> str:
        """The error that ended the run, in one line; empty if there was none."""
        try:
            with (self.folder / FAILURE).open(encoding="utf-8", errors="replace") as file:
                return quoted(file.readline(1000).strip(), 300)
        except OSError:
            return ""

    @contextmanager
    def failing(self) -> Iterator[None]:
        """A context that writes an error that ends the run to failure.txt."""
        try:
            yield
        except (InputError, TrainingError) as error:
            with suppress(OSError):
                if self.folder.exists():
                    write_text(f"{' '.join(str(error).split())}\n", self.folder / FAILURE)
            raise

    @property
    def origin(self) -> Origin | None:
        """The model at whose weights it started; None if at random ones."""
        return read_origin(self.folder / ORIGIN)

    def keep(self, data: Fingerprint) -> None:
        """Write the run's configuration and data record, and delete failure.txt."""
        write_json(data.record, self.folder / DATA)
        write_text(to_toml(self.config), self.folder / CONFIG)
        (self.folder / FAILURE).unlink(missing_ok=True)

    def checkpoint(self, step: int) -> Path:
        """The path of the checkpoint of a step."""
        return self.checkpoints / name_of(step)

    def base_config(self, model: str | None) -> Path:
        """The configuration file that a resumed run starts from.

        Raises:
            InputError: If `model` is given and is not the run's.
        """
        if model not in (None, self.config.model):
            raise InputError(f"{self.folder} is a run of model {self.config.model}, not {model}; choose another folder")
        return self.folder / CONFIG

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        return read_records(self.metrics_file)

    def load(self, device: torch.device | str = "cpu") -> GAN:
        """The model of its newest undamaged checkpoint; see `load`."""
        return load(self.folder, device=device)


def is_free(folder: Path) -> bool:
    """Whether a new run can use a folder: it is missing, or has only what a process left that ended before its run
    began.
    """
    if not folder.exists():
        return True
    return folder.is_dir() and all(
        p.name in (LOCK, ENVIRONMENT, DATA, ORIGIN) or PARTIAL in p.name for p in folder.iterdir()
    )


def open_run(folder: Path | str) -> Run:
    """The run in a folder.

    Raises:
        InputError: If the folder holds no run.
    """
    path = Path(folder)
    config = path / CONFIG
    if not config.is_file():
        if is_export(path) or hub_model(path) or registered_weights(path):
            raise InputError(
                f"{written(path)} is an exported model, without a log and checkpoints; a run folder is needed"
            )
        what = "does not exist" if not path.exists() else "has no config.toml, nor an export's config.json"
        other = "; `gan-zoo runs` lists runs" if path.parts[:1] == ("runs",) else ""
        if nearest := get_close_matches(str(path), weights.entries, n=1, cutoff=0.75):
            other = f"; did you mean {nearest[0]!r}?"
        elif not other and is_name(str(path)):
            other = f"; for a model on the Hugging Face Hub write hf://{path}"
        raise InputError(f"{path} is not a run folder: it {what}{other}")
    for name in SUBFOLDERS:
        if (path / name).is_symlink():
            raise InputError(
                f"{path / name} is a link, which gan-zoo does not write through; link the whole run folder"
            )
    return Run(path, resolve(config=config))


def existing_run(folder: Path | None) -> Run | None:
    """The run that `--resume` continues; None if `folder` does not hold a run yet.

    Raises:
        InputError: If no folder is given, or if it holds anything but a run.
    """
    if folder is None:
        raise InputError("--resume requires the run's folder: --out DIR")
    check_is_path(folder)
    return None if is_free(folder) else open_run(folder)


def is_checkpoint(path: Path) -> bool:
    """Whether `path` has a checkpoint's name, and is not a run folder."""
    best = path.name == BEST and path.absolute().parent.name == "checkpoints"
    return (step_of(path) is not None or best) and not (path / CONFIG).exists()


def is_export(path: Path) -> bool:
    """Whether `path` looks like an exported model, and is not a run folder."""
    return (path / DESCRIPTION).is_file() and not (path / CONFIG).exists()


def registered_weights(path: Path) -> Path | None:
    """The folder of the registered weights that `path` names; None if it names none, or a run or an export here."""
    name = str(path)
    if name not in weights.entries:
        return None
    if any((path / file).exists() for file in (CONFIG, DESCRIPTION, "checkpoints")):
        _say_once(f"{name}: using the folder here, not the weights of that name")
        return None
    return weights_folder(name)


def weights_folder(name: str) -> Path:
    """The folder of registered weights.

    Raises:
        InputError: If there are none of that name, or a plug-in registered anything but an exported model.
    """
    folder = weights.get(name)
    if not isinstance(folder, Path) or not is_export(folder):
        origin = weights.entries[name].origin
        raise InputError(f"weights {name!r} from {origin}: {quoted(folder)} is not the path of an exported model")
    return folder


@cache
def _say_once(line: str) -> None:
    say(line)


def find_step(checkpoint: Path) -> int:
    """The step of a checkpoint or exported model from `find`."""
    return read_description(checkpoint).step if is_export(checkpoint) else int(read_facts(checkpoint)["step"])


def find(source: Path | str) -> tuple[Run, Path]:
    """The run and the checkpoint for a path to a checkpoint or to a run folder, whose newest undamaged one is taken.
    `RUN/checkpoints/best` is the one with the best evaluation.

    An exported model counts as a run whose only checkpoint is the folder itself. For one on the Hub (`hf://org/name`),
    and for registered weights, the checkpoint is the local copy, and the run a folder of its name in the working
    directory, made when something is written to it.

    Raises:
        InputError: If there is no run, or a run without an undamaged checkpoint.
    """
    if model := hub_model(source):
        copy = download(model)
        return Run(Path(model.title), read_description(copy).config), copy
    path = Path(source)
    if folder := registered_weights(path):
        return Run(path, read_description(folder).config), folder
    if is_export(path):
        return Run(path, read_description(path).config), path
    if is_checkpoint(path):
        run = open_run(path.absolute().parent.parent)
        if path.name == BEST:
            return run, find_best(run.checkpoints)
        _check_or_suggest(path, run)
        return run, path
    run = open_run(path)
    newest, complaints = newest_whole(run.checkpoints, run.config.model)
    if newest is None:
        raise InputError("; ".join(complaints) or f"{path} has no checkpoint yet")
    for complaint in complaints:
        warnings.warn(f"skipped: {complaint}; using {newest}", DamagedCheckpointWarning, stacklevel=2)
    return run, newest


def _check_or_suggest(checkpoint: Path, run: Run) -> None:
    try:
        read_state(checkpoint)
    except InputError as error:
        newest, _ = newest_whole(run.checkpoints)
        raise InputError(f"{error}; the newest that can be read is {newest.name}" if newest else str(error)) from None


def load(source: Path | str, *, device: torch.device | str = "cpu") -> GAN:
    """A trained model in evaluation mode, with the generator's moving average if the run has one.

    Args:
        source: A run folder (its newest undamaged checkpoint is loaded), a checkpoint, an exported model, also
            `hf://org/name`, or the name of registered weights.
        device: Where to put the model.

    Raises:
        InputError: If there is no undamaged checkpoint or export.
    """
    run, checkpoint = find(source)
    exported = is_export(checkpoint)
    if exported:
        check_weights(checkpoint)
    try:
        model = build_model(run.config)
    except InputError as error:
        raise InputError(f"{checkpoint}: {error}") from None
    load_weights(model, checkpoint / "model.safetensors")
    if has_average(checkpoint) and not exported:  # an export's weights hold it already
        load_weights(model.generator, checkpoint / "ema.safetensors")
    return model.to(device).eval()
