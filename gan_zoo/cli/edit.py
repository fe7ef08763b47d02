"""Commands that find the latents of images, and edit images by their codes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from gan_zoo.cli.codes import parse_lists
from gan_zoo.cli.types import Checkpoint, Count, Device, RunFolder, Seed, at
from gan_zoo.errors import InputError

if TYPE_CHECKING:
    from gan_zoo.analysis.edit import Inverted
    from gan_zoo.analysis.encode import Images
    from gan_zoo.models.gan.codes import Code
    from gan_zoo.models.gan.model import GAN

First = Annotated[Count | None, arg(aliases=["-n"])]
Part = Literal["train", "test"]
ImagesToInvert = Annotated[tuple[str, ...], arg(metavar="IMAGE [IMAGE ...]")]
PAIRS, LATENTS = "pairs.png", "latents.safetensors"
STEPS = 100
MOST_CODES = 6
"""Codes of an image in the table."""


def invert(
    run: Positional[RunFolder],
    images: Positional[ImagesToInvert],
    /,
    checkpoint: Checkpoint = None,
    out: Path | None = None,
    steps: Count = STEPS,
    seed: Seed = 0,
    codes: bool = False,
    n: First = None,
    split: Part = "train",
    device: Device = "cpu",
) -> None:
    """Find the noise and the codes with which the generator draws your images.

    Prints the root mean squared error of each reconstruction, in grey levels from 0 to 255. Writes pairs.png, each
    image beside its reconstruction, and latents.safetensors, which sample, traverse and Python read.

    Args:
        images: Image files, or a folder of images, an array file or a dataset's name.
        out: Output folder; defaults to inverted in the run folder.
        steps: Steps of gradient descent. More of them reduce the error, and take as much longer.
        seed: Seed of the noise to start from.
        codes: Optimise continuous codes, too; by default they are those that Q reads.
        n: The number of images, from the first; defaults to all.
        split: The split, if the dataset has several.

    Examples:
        gan-zoo invert runs/infogan-mnist-5k-001 three.png four.png
        gan-zoo invert runs/infogan-mnist-5k-001 mnist-5k --split test -n 100 --out held-back
    """
    from gan_zoo.analysis.edit import MOST_SHOWN, draw_pairs
    from gan_zoo.analysis.latents import save_latents
    from gan_zoo.cli.console import check_output, console, wide
    from gan_zoo.cli.draw import open_model, opened_images
    from gan_zoo.images import check_ending, save_image
    from gan_zoo.terminal import table

    require_images(images, "invert")
    source, model, target = open_model(
        at(run, checkpoint), device, out and out / PAIRS, f"inverted/{PAIRS}", check_ending
    )
    check_output(target.parent / LATENTS)
    opened = opened_images(images, source, model, split).first(n)
    inverted = inverted_all(model, opened, steps=steps, seed=seed, codes=codes, workers=source.config.data.workers)
    rows = zip(inverted.names, inverted.latents.codes.tolist(), inverted.rmse.tolist(), strict=True)
    cells = [(name, codes_text(model.codes, values), f"{rmse:.1f}") for name, values, rmse in rows]
    cells.append(("mean", "", f"{inverted.rmse.mean().item():.1f}"))
    wide.print(table("", ("image", "codes", "RMSE"), cells, left=2))
    shown = f" (the first {MOST_SHOWN})" if len(inverted.names) > MOST_SHOWN else ""
    console.print(f"{save_image(draw_pairs(inverted), target)}{shown}")
    console.print(
        str(
            save_latents(
                inverted.latents, model, target.parent / LATENTS, run=str(source.folder), images=inverted.names
            )
        )
    )


def edit(
    run: Positional[RunFolder],
    images: Positional[ImagesToInvert],
    /,
    codes: str,
    checkpoint: Checkpoint = None,
    out: Path | None = None,
    steps: Count = STEPS,
    seed: Seed = 0,
    n: First = None,
    split: Part = "train",
    device: Device = "cpu",
) -> None:
    """Draw your images with other codes: a row with the image, its reconstruction, and a column for each edit.

    Args:
        images: Image files, or a folder of images, an array file or a dataset's name.
        codes: Values of codes, e.g. "c2=1.5", "c1=3,c2=1.5", or several of one code, "c2=-1,0,1", a column for each.
        out: Output picture; defaults to edit.png in the run's samples folder.
        steps: Steps of gradient descent, as of gan-zoo invert.
        seed: Seed of the noise to start from.
        n: The number of images, from the first; defaults to all.
        split: The split, if the dataset has several.

    Examples:
        gan-zoo edit runs/infogan-mnist-5k-001 three.png --codes c2=1.5
        gan-zoo edit runs/infogan-mnist-5k-001 three.png four.png --codes c2=-1,-0.5,0,0.5,1 --out slanted.png
    """
    from gan_zoo.analysis.edit import check_edits, draw_edits
    from gan_zoo.cli.console import console
    from gan_zoo.cli.draw import open_model, opened_images
    from gan_zoo.images import check_ending, save_image

    require_images(images, "edit")
    values = parse_lists(codes)
    source, model, target = open_model(at(run, checkpoint), device, out, "samples/edit.png", check_ending)
    opened = opened_images(images, source, model, split).first(n)
    check_edits(model, values, len(opened.split))
    inverted = inverted_all(model, opened, steps=steps, seed=seed, workers=source.config.data.workers)
    console.print(str(save_image(draw_edits(model, inverted, values), target)))


def require_images(images: tuple[str, ...], command: str) -> None:
    """Raise an InputError if no images are named."""
    if not images:
        raise InputError(f"gan-zoo {command} requires one IMAGE or more: image files, a folder, or a dataset's name")


def inverted_all(model: GAN, images: Images, *, steps: int, seed: int, codes: bool = False, workers: int) -> Inverted:
    """Invert images with a progress bar, and report those that cannot be read or drawn."""
    from gan_zoo.analysis.edit import invert_all, undrawn
    from gan_zoo.analysis.encode import left_out, named
    from gan_zoo.terminal import progress, say

    broken: list[str] = []
    with progress("inverting") as show:
        inverted = invert_all(
            model, images, steps=steps, seed=seed, codes=codes, workers=workers, broken=broken, progress=show
        )
    if broken:
        say(left_out(broken))
    if names := undrawn(inverted):
        say(f"not drawn well: {named(names)}; images must look like those that the model was trained on")
    return inverted


def codes_text(codes: tuple[Code, ...], values: list[float]) -> str:
    """Values of codes as --codes takes them, e.g. `c1=3,c2=-0.52`."""
    words = [f"{code.name}={value:.2f}".removesuffix(".00") for code, value in zip(codes, values, strict=True)]
    return ",".join(words[:MOST_CODES]) + (f" and {len(words) - MOST_CODES} more" if len(words) > MOST_CODES else "")
