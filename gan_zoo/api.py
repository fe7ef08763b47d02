"""The Python API: create, train and load a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gan_zoo.analysis.invert import invert
from gan_zoo.analysis.latents import load_latents, save_latents
from gan_zoo.analysis.monitor import Monitor
from gan_zoo.data.dataset import open_dataset
from gan_zoo.errors import InputError, quoted
from gan_zoo.models.gan.model import GAN
from gan_zoo.resolve import resolve, trace
from gan_zoo.training import loop
from gan_zoo.training.build import build_model, with_facts
from gan_zoo.training.fine_tuning import open_source
from gan_zoo.training.hub_download import hub_model, is_name
from gan_zoo.training.precision import pick_device
from gan_zoo.training.run import Run, existing_run
from gan_zoo.training.run import load as load_run

__all__ = ["create", "invert", "load", "load_latents", "save_latents", "train"]


def create(
    model: str,
    config: str | Path | Mapping[str, Any] | None = None,
    *,
    device: torch.device | str = "cpu",
    **settings: Any,
) -> GAN:
    """Create an untrained model, an `nn.Module`.

    It can be copied, and pickled for worker processes, except with spectral norm, which torch does not pickle.

    Args:
        model: The model's name; see `gan-zoo models`.
        config: A preset, a TOML file, a nested mapping or a model's name; defaults to the preset that fits the data.
        device: Where to put the model.
        settings: Keys of the configuration by their last part (`codes=…`, `resolution=32`) or tables (`trunk={…}`).
            The data is opened only if its resolution, channels or classes are not given.

    Raises:
        InputError: For an unknown name or key, or an invalid value.
    """
    resolved, place = resolve(model, config, settings), pick_device(str(device), "device =")
    if None in (resolved.data.resolution, resolved.data.channels, resolved.data.classes):
        resolved = with_facts(resolved, open_dataset(resolved.data), place)
    return build_model(resolved, place)


def train(
    model: str | None = None,
    config: str | Path | Mapping[str, Any] | None = None,
    *,
    out: Path | str | None = None,
    from_: Path | str | None = None,
    resume: bool = False,
    new_data: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> Run:
    """Train a model.

    Args:
        model: The model's name; defaults to the one that `config` names.
        config: A preset, a TOML file, a nested mapping or a model's name; defaults to the preset that fits the data.
        out: The run folder; defaults to the next free one in `runs/`.
        from_: Start at the weights of this model, which may be another; `source` of `load` lists what is accepted. The
            new run has its networks, unless a file or mapping as `config`, or `settings`, state others.
        resume: Resume the run in `out`, with its own configuration and `settings`. If there is none, `model` and
            `config` start one.
        new_data: Allow a resumed run to continue on other data than it was trained on.
        quiet: Print nothing.
        settings: Keys of the configuration by their last part (`steps=200`), or tables (`trunk={…}`).

    Returns:
        The run: its folder, configuration and metrics.

    Raises:
        InputError: For an unknown name or key, or an invalid value; nothing is written.
        TrainingError: If a loss is NaN or infinite.
    """
    folder = Path(out).expanduser() if out is not None else None
    source = None if from_ is None else open_source(_address(from_), folder, resume=resume)
    resumed = existing_run(folder) if resume else None
    if source and model is None and config is None:
        model = source.run.config.model
    base = resumed.base_config(model) if resumed else config
    resolved = trace(model, base, settings, source.networks if source else None)
    return loop.train(
        resolved.config,
        measures=Monitor,
        out=folder,
        source=source,
        resume=resumed is not None,
        new_data=new_data,
        quiet=quiet,
        notes=resolved.notes,
    )


def load(source: Path | str, *, revision: str | None = None, device: torch.device | str = "cpu") -> GAN:
    """Load a trained model for evaluation. No code of its files is run.

    Args:
        source: A run folder, one of its checkpoints, a folder that `gan-zoo export` wrote, the name of weights in the
            package (see `gan-zoo weights`), or the name `org/name` of an exported model on the Hugging Face Hub (the
            extra `hub`), also written `hf://org/name@revision`.
        revision: Branch, tag or commit of a model on the Hub; defaults to its main branch.
        device: Where to put the model.

    Raises:
        InputError: If there is no model, or it is damaged.
    """
    source = _address(source)
    if revision is not None:
        if not hub_model(source):
            raise InputError(f"revision={revision!r} requires a model on the Hub, and {quoted(source)} is not one")
        source = f"{source}@{revision}"
    place = pick_device(str(device), "device =")
    return load_run(source if hub_model(source) else Path(source).expanduser(), device=place)


def _address(source: Path | str) -> Path | str:
    """A source, with the name `org/name` of a model on the Hub as an address."""
    return f"hf://{source}" if is_name(source) else source
