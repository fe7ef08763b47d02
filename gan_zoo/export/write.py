"""Write a trained model as a folder in the Hub's layout; see `gan_zoo.training.exported`."""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors.torch import save as to_safetensors

from gan_zoo.analysis.results import fingerprint, measured_at
from gan_zoo.analysis.traverse import draw_traversals
from gan_zoo.config import Config
from gan_zoo.errors import InputError
from gan_zoo.export.card import loaded_by, model_card
from gan_zoo.files import atomic_folder, check_empty, write
from gan_zoo.images import grid, png
from gan_zoo.models.gan.model import GAN
from gan_zoo.registry import datasets
from gan_zoo.terminal import say
from gan_zoo.training.compact import Precision, compact, expand
from gan_zoo.training.exported import DESCRIPTION, WEIGHTS, Description, check_weights, read_description
from gan_zoo.training.hub_download import written
from gan_zoo.training.run import find, find_step, is_export, load

CARD = "README.md"


def export(
    source: Path,
    out: Path,
    *,
    onnx: bool = False,
    name: str | None = None,
    seed: int = 0,
    precision: Precision = "fp32",
    data_license: str = "",
    pictures: bool = True,
) -> Path:
    """Write the model of a run, completely or not at all.

    Args:
        source: A run folder, one of its checkpoints, or an exported model.
        out: The folder to create; it may exist if it is empty.
        onnx: Whether to write the networks as ONNX, too.
        name: Its name on the Hub, for the card.
        seed: Seed of the card's pictures.
        precision: How weights are stored; see `gan_zoo.training.compact`. Figures and pictures are of these weights.
        data_license: Origin and licence of the data; defaults to what an export as `source` states.
        pictures: Whether the card has pictures.

    Returns:
        `out`.

    Raises:
        InputError: If there is no intact checkpoint, `out` is not empty, or ONNX is requested and unavailable.
        TrainingError: If the networks in ONNX do not agree with torch.
        OSError: If `out` cannot be written; no partial files remain.
    """
    check_empty(out)
    if onnx:
        from gan_zoo.export.onnx import check_installed

        check_installed()
    run, checkpoint = find(source)
    step = find_step(checkpoint)
    model = load(checkpoint)
    tensors = compact(model.state_dict(), precision)
    model.load_state_dict(expand(tensors, str(checkpoint)))
    measured = checkpoint if is_export(checkpoint) else run.folder
    figures = measured_at(measured, checkpoint.name, step, fingerprint(model))
    origin = run.origin.without_folders if run.origin else None
    if is_export(checkpoint):
        before = read_description(checkpoint)
        data_license, origin = data_license or before.data_license, before.origin
    weights = to_safetensors(tensors, metadata={"format": "pt"})
    config, sha256 = without_folders(model.config), hashlib.sha256(weights).hexdigest()
    description = Description(config, step, sha256, data_license, origin)
    files = {DESCRIPTION: description.to_json().encode(), WEIGHTS: weights}
    files |= _pictures(model, seed) if pictures else {}
    if onnx:
        from gan_zoo.export.onnx import networks

        files |= networks(model)
    card = model_card(model, description, name=name or out.name, figures=figures, files=files, precision=precision)
    with atomic_folder(out) as partial:
        for file, content in {**files, CARD: card.encode(errors="backslashreplace")}.items():
            write(partial / file, content)
    if not figures:
        say(f"no figures: {run.folder} has no evaluation of step {step}; gan-zoo evaluate makes one for the card")
    return out


def check_exported(folder: Path, name: str) -> None:
    """Check that a folder was exported under `name`, which its card contains.

    Raises:
        InputError: If it was not, or its weights are damaged.
    """
    card = folder / CARD
    if not card.is_file() or loaded_by(name) not in card.read_text(encoding="utf-8", errors="replace"):
        raise InputError(f"{written(folder)} was not exported as {name}; export the run by --out FOLDER --push {name}")
    check_weights(folder)


def without_folders(config: Config) -> Config:
    """A configuration without this machine's folders: of the path of the data, only the last part."""
    data, paths = config.data, dict[str, str]()
    if data.name not in datasets.entries:
        paths["name"] = Path(data.name).name
    if data.path and not (data.name == "hub" and not Path(data.path).expanduser().exists()):
        paths["path"] = Path(data.path).name
    return config.model_copy(update={"data": data.model_copy(update=paths)})


def _pictures(model: GAN, seed: int) -> dict[str, bytes]:
    pictures = {"samples.png": grid(model.sample(64, seed=seed), 8)}
    if model.codes:
        pictures["traversal.png"] = draw_traversals(model, model.codes, seed=seed)
    return {name: png(picture) for name, picture in pictures.items()}
