"""A run folder: where it is made, what lies in it, and how it is opened again.

config.toml                  the resolved tree; `gan-zoo train --config` takes it back
data.json                    by what its data is known again; see `gan_zoo.training.provenance`
environment.json             versions, device, git revision
metrics.jsonl                a line a logging step
checkpoints/step-NNNNNNNN/   see `gan_zoo.training.checkpoint`
samples/                     pictures
failure.txt                  what ended the run, if it was an error; gone once it goes on
tensorboard/, wandb/         what these trackers write, if they are named; tracker-id: the run's name among others
.lock                        held by the process that trains here
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gan_zoo.config import Config
from gan_zoo.data.bounds import check_memory
from gan_zoo.data.fingerprint import Fingerprint
from gan_zoo.errors import InputError, PassedOver, TrainingError, shown
from gan_zoo.files import PARTIAL, write_json, write_text
from gan_zoo.models.gan.model import GAN
from gan_zoo.registry import models
from gan_zoo.resolve import resolve, to_toml
from gan_zoo.training.checkpoint import has_average, load_weights, name_of, newest_whole, read_state, step_of
from gan_zoo.training.exported import check_weights, is_exported, read_description
from gan_zoo.training.hub_download import download, hub_model, is_name
from gan_zoo.training.lock import LOCK
from gan_zoo.training.loggers.jsonlines import read_records
from gan_zoo.training.precision import as_started

CONFIG, ENVIRONMENT, DATA, FAILURE = "config.toml", "environment.json", "data.json", "failure.txt"
PARTS = ("checkpoints", "samples", "tensorboard")


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

    @property
    def failure(self) -> str:
        """The error that ended it, in one line; empty if none did."""
        try:
            with (self.folder / FAILURE).open(encoding="utf-8", errors="replace") as file:
                return shown(file.readline(1000).strip(), 300)
        except OSError:
            return ""

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Within, an error that ends the run is written down in its folder."""
        try:
            yield
        except (InputError, TrainingError) as error:
            with suppress(OSError):
                if self.folder.exists():
                    write_text(f"{' '.join(str(error).split())}\n", self.folder / FAILURE)
            raise

    def keep(self, data: Fingerprint) -> None:
        """Write down what the run is of, from here on: its tree and its data; what ended it before is past."""
        write_json(data.record, self.folder / DATA)
        write_text(to_toml(self.config), self.folder / CONFIG)
        (self.folder / FAILURE).unlink(missing_ok=True)

    def checkpoint(self, step: int) -> Path:
        """Where the checkpoint of a step lies, if there is one."""
        return self.checkpoints / name_of(step)

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


def is_free(folder: Path) -> bool:
    """Whether nothing lies there but what is left of a process that ended before its run had begun."""
    if not folder.exists():
        return True
    return folder.is_dir() and all(p.name in (LOCK, ENVIRONMENT, DATA) or PARTIAL in p.name for p in folder.iterdir())


def open_run(folder: Path | str) -> Run:
    """The run in a folder.

    Raises:
        InputError: If there is none.
    """
    path = Path(folder)
    config = path / CONFIG
    if not config.is_file():
        if is_export(path):
            raise InputError(f"{path} is an exported model, without log and checkpoints; a run is needed here")
        what = "does not exist" if not path.exists() else "has no config.toml, nor an export's config.json"
        remote = f"; a model on the Hugging Face Hub is named hf://{path}" if is_name(str(path)) else ""
        raise InputError(f"{path} is no run folder: it {what}{remote}")
    for name in PARTS:
        if (path / name).is_symlink():
            raise InputError(f"{path / name} is a link, by which files elsewhere would be written; link the whole run")
    return Run(path, resolve(config=config))


def existing_run(folder: Path | None) -> Run | None:
    """The run that `--resume` goes on with; none if `folder` is still to be made.

    Raises:
        InputError: If no folder is given, or if it holds something that is no run.
    """
    if folder is None:
        raise InputError("--resume needs the run's folder: --out DIR")
    return None if is_free(folder) else open_run(folder)


def build(config: Config, device: torch.device | str = "cpu", *, copies: int = 1) -> GAN:
    """A new model, its weights decided by the seed alone.

    Args:
        config: The resolved tree, with the data's facts.
        device: Where to put it.
        copies: How many tensors of a weight's size there will be for each weight, itself included.

    Raises:
        InputError: If they would not fit this machine's memory: before any is taken.
    """
    _check_size(config, copies)
    with as_started(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model: GAN = models.get(config.model)(config)
    return model.to(device)


def _check_size(config: Config, copies: int) -> None:
    """Build the model without memory for its weights, and see how much they would take."""
    what = "the networks of this configuration"
    try:
        with as_started(), torch.random.fork_rng(devices=[]), torch.device("meta"):
            model: GAN = models.get(config.model)(config)
    except (RuntimeError, TypeError, OverflowError) as error:
        if "meta" in str(error):  # a model whose making reads numbers, which are not there
            return
        raise InputError(f"{what} are larger than any machine's memory") from None  # sizes beyond what can be counted
    check_memory(copies * sum(value.nbytes for value in model.state_dict().values()), what)


def is_checkpoint(path: Path) -> bool:
    """Whether `path` is named as a run's checkpoint, and not a run folder itself."""
    return step_of(path) is not None and not (path / CONFIG).exists()


def is_export(path: Path) -> bool:
    """Whether `path` is an exported model, and no run folder."""
    return is_exported(path) and not (path / CONFIG).exists()


def find_step(checkpoint: Path) -> int:
    """After how many steps the weights were taken that `find` found."""
    step = step_of(checkpoint)
    return read_description(checkpoint).step if step is None else step


def find(source: Path | str) -> tuple[Run, Path]:
    """The run and the checkpoint that `source` names: a checkpoint, or a run folder's newest whole one.

    An exported model is both at once: a run folder whose only checkpoint is the folder itself. Of one on the Hub
    (`hf://org/name`) the checkpoint is the copy on this machine, and the run a folder of its name, here, which is made
    when something is written there.

    Raises:
        InputError: If there is no run, or a run without a whole checkpoint.
    """
    if model := hub_model(source):
        copy = download(model)
        return Run(Path(model.title), read_description(copy).config), copy
    path = Path(source)
    if is_export(path):
        return Run(path, read_description(path).config), path
    if is_checkpoint(path):
        run = open_run(path.absolute().parent.parent)
        _check_or_offer(path, run)
        return run, path
    run = open_run(path)
    newest, complaints = newest_whole(run.checkpoints, run.config.model)
    if newest is None:
        raise InputError("; ".join(complaints) or f"{path} has no checkpoint yet")
    for complaint in complaints:
        warnings.warn(f"passed over: {complaint}; {newest} is used", PassedOver, stacklevel=2)
    return run, newest


def _check_or_offer(checkpoint: Path, run: Run) -> None:
    try:
        read_state(checkpoint)
    except InputError as error:
        newest, _ = newest_whole(run.checkpoints)
        raise InputError(f"{error}; the newest whole one is {newest}" if newest else str(error)) from None


def load(source: Path | str, *, device: torch.device | str = "cpu") -> GAN:
    """A trained model, for evaluation: the generator's moving average where the run keeps one.

    Args:
        source: A run folder (its newest whole checkpoint is read), one checkpoint, or an exported model, also
            `hf://org/name`.
        device: Where to put the model.

    Raises:
        InputError: If there is no whole checkpoint, in one line that says what was found.
    """
    path = download(remote) if (remote := hub_model(source)) else Path(source)
    if is_export(path):
        return _load_export(path).to(device).eval()
    run, checkpoint = find(path)
    model = build(run.config)
    load_weights(model, checkpoint / "model.safetensors")
    if has_average(checkpoint):
        load_weights(model.generator, checkpoint / "ema.safetensors")
    return model.to(device).eval()


def _load_export(folder: Path) -> GAN:
    description = read_description(folder)
    weights = check_weights(folder, description)
    try:
        model = build(description.config)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None
    load_weights(model, weights)
    return model
