"""Write a trained model as a folder in the Hub's layout; see `gan_zoo.training.exported`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors.torch import save as to_safetensors

from gan_zoo.analysis.results import fingerprint, measured_at
from gan_zoo.analysis.traverse import draw_traversals
from gan_zoo.config import Config
from gan_zoo.errors import InputError
from gan_zoo.export.card import loaded_by, model_card
from gan_zoo.files import whole_folder, write
from gan_zoo.images import grid, png
from gan_zoo.models.gan.model import GAN
from gan_zoo.registry import datasets
from gan_zoo.training.exported import DESCRIPTION, WEIGHTS, Description, check_weights, read_description
from gan_zoo.training.run import find, find_step, load

CARD = "README.md"


def export(
    source: Path,
    out: Path,
    *,
    onnx: bool = False,
    name: str | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Write the model of a run, whole or not at all.

    Args:
        source: A run folder, one of its checkpoints, or an exported model.
        out: The folder to make; there is nothing in it yet.
        onnx: Whether the networks are written as ONNX, too.
        name: What it is loaded by on the Hub, if it goes there: the card says so then.
        seed: Decides the card's pictures.
        say: Takes a line on what was found.

    Returns:
        `out`.

    Raises:
        InputError: If there is no whole checkpoint, `out` is not empty, or ONNX is asked for and cannot be had.
        TrainingError: If the networks in ONNX do not agree with torch.
        OSError: If the place cannot be written; nothing is left there.
    """
    check_empty(out)
    if onnx:
        from gan_zoo.export.onnx import check_installed

        check_installed()
    run, checkpoint = find(source)
    step = find_step(checkpoint)
    model = load(checkpoint)
    figures = measured_at(run.folder, checkpoint.name, step, fingerprint(model))
    files = _described(model, without_places(model.config), step) | _pictures(model, seed)
    if onnx:
        from gan_zoo.export.onnx import networks

        files |= networks(model, say=say)
    card = model_card(model, step=step, name=name or out.name, figures=figures, files=files)
    _write(files | {CARD: card.encode(errors="backslashreplace")}, out)
    if not figures:
        say(f"no figures: {run.folder} has no evaluation of step {step}; gan-zoo evaluate makes one for the card")
    return out


def check_empty(out: Path) -> None:
    """Refuse a place that an export would overwrite.

    Raises:
        InputError: If there is something.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InputError(f"{out} is no folder; an export needs one of its own")
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty; name another folder for the export")


def check_exported(folder: Path, name: str) -> None:
    """Refuse to upload what was not exported under `name`, whose card and configuration are others.

    Raises:
        InputError: If it was not.
    """
    card = folder / CARD
    if not card.is_file() or loaded_by(name) not in card.read_text(encoding="utf-8", errors="replace"):
        raise InputError(f"{folder} was not exported as {name}; export the run by --out FOLDER --push {name}")
    check_weights(folder, read_description(folder))


def without_places(config: Config) -> Config:
    """A tree that tells nothing of this machine's folders: of the data's place the last part alone."""
    data, places = config.data, dict[str, str]()
    if data.name not in datasets.entries:
        places["name"] = Path(data.name).name
    if data.path and not (data.name == "hub" and not Path(data.path).expanduser().exists()):
        places["path"] = Path(data.path).name
    return config.model_copy(update={"data": data.model_copy(update=places)})


def _described(model: GAN, config: Config, step: int) -> dict[str, bytes]:
    """The weights and what they are of."""
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    weights = to_safetensors(held, metadata={"format": "pt"})
    description = Description(config, step, hashlib.sha256(weights).hexdigest())
    return {DESCRIPTION: description.to_json().encode(), WEIGHTS: weights}


def _pictures(model: GAN, seed: int) -> dict[str, bytes]:
    drawn = {"samples.png": grid(model.sample(64, seed=seed), 8)}
    if model.codes:
        drawn["traversal.png"] = draw_traversals(model, model.codes, seed=seed)
    return {name: png(picture) for name, picture in drawn.items()}


def _write(files: Mapping[str, bytes], out: Path) -> None:
    with whole_folder(out) as beside:
        for name, content in files.items():
            write(beside / name, content)
