"""The Python face: a model by name, a training, a trained model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gan_zoo.data.dataset import open_dataset
from gan_zoo.errors import InputError, quoted
from gan_zoo.models.gan.model import GAN
from gan_zoo.resolve import resolve, trace
from gan_zoo.training import loop
from gan_zoo.training.build import build_model, with_facts
from gan_zoo.training.hub_download import hub_model, is_name
from gan_zoo.training.precision import pick_device
from gan_zoo.training.run import Run, existing_run
from gan_zoo.training.run import load as load_run

__all__ = ["create", "load", "train"]


def create(
    model: str,
    config: str | Path | Mapping[str, Any] | None = None,
    *,
    device: torch.device | str = "cpu",
    **settings: Any,
) -> GAN:
    """An untrained model, an `nn.Module`.

    It can be copied, and pickled for worker processes; a model with spectral norm, which torch does not pickle, is
    loaded by each process for itself.

    Args:
        model: Its name; see `gan-zoo models`.
        config: A preset, a TOML file, a tree or a model's name; by default the preset that fits the data.
        device: Where to put it.
        settings: Keys of the tree by their own name (`codes=…`, `resolution=32`) or tables (`trunk={…}`). The data is
            opened only if its resolution, channels or classes are not given.

    Raises:
        InputError: For an unknown name or key, or a wrong value.
    """
    resolved, place = resolve(model, config, settings), pick_device(str(device))
    if None in (resolved.data.resolution, resolved.data.channels, resolved.data.classes):
        resolved = with_facts(resolved, open_dataset(resolved.data), place)
    return build_model(resolved, place)


def train(
    model: str | None = None,
    config: str | Path | Mapping[str, Any] | None = None,
    *,
    out: Path | str | None = None,
    resume: bool = False,
    new_data: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> Run:
    """Train a model.

    Args:
        model: Its name; by default the one that `config` names.
        config: A preset, a TOML file, a tree or a model's name; by default the preset that fits the data.
        out: The run folder; by default the next free one in `runs/`.
        resume: Whether to go on with the run in `out`. Its own tree is then the ground for `settings`; `model` and
            `config` found it if there is no run yet.
        new_data: Whether a resumed run may go on with data that is not what it learned from.
        quiet: Whether to print nothing.
        settings: Keys of the tree by their own name (`steps=200`), or tables (`trunk={…}`).

    Returns:
        The run: its folder, configuration and metrics.

    Raises:
        InputError: For a wrong name, key or value; nothing is made then.
        TrainingError: If a loss is NaN or infinite.
    """
    folder = Path(out) if out is not None else None
    held = existing_run(folder) if resume else None
    found = trace(model, held.base_config(model) if held else config, settings)
    resume = held is not None
    return loop.train(found.config, out=folder, resume=resume, new_data=new_data, quiet=quiet, notes=found.notes)


def load(source: Path | str, *, revision: str | None = None, device: torch.device | str = "cpu") -> GAN:
    """A trained model, for evaluation.

    Args:
        source: A run folder, one of its checkpoints, a folder that `gan-zoo export` wrote, or the name `org/name` of
            such a folder on the Hugging Face Hub (the extra `hub`), also written `hf://org/name@revision`. Nothing
            that it holds is run.
        revision: Of a model on the Hub: a branch, a tag or a commit, by default its main branch.
        device: Where to put it.

    Raises:
        InputError: If there is none, or it is damaged.
    """
    if is_name(source):
        source = f"hf://{source}"
    if revision is not None:
        if not hub_model(source):
            raise InputError(f"revision {revision!r} is of a model on the Hub, which {quoted(source)} is not")
        source = f"{source}@{revision}"
    return load_run(source, device=pick_device(str(device)))
