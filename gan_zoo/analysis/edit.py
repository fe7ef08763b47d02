"""Edit images: invert them, then draw them with other codes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from gan_zoo.analysis.encode import Images, named, readable
from gan_zoo.analysis.invert import STARTS, Progress, invert
from gan_zoo.analysis.panel import Panel, compose
from gan_zoo.analysis.traverse import GAP, LINE, value_labels
from gan_zoo.data.batches import normalise
from gan_zoo.errors import InputError, cut
from gan_zoo.images import cell_side
from gan_zoo.models.gan.model import GAN
from gan_zoo.models.gan.prior import Latents

MOST_SHOWN = 100
"""The number of images in a picture."""


@dataclass(frozen=True)
class Inverted:
    """Inverted images.

    Attributes:
        names: By image.
        latents: Of all images, on the CPU.
        rmse: [n], in grey levels; see `Inversion`.
        pairs: The first `MOST_SHOWN` images, each before its reconstruction: [m, 2, C, H, W] in [-1, 1].
    """

    names: list[str]
    latents: Latents
    rmse: Tensor
    pairs: Tensor


def invert_all(
    model: GAN,
    images: Images,
    *,
    steps: int,
    seed: int = 0,
    codes: bool = False,
    workers: int = 2,
    broken: list[str],
    progress: Progress | None = None,
) -> Inverted:
    """Invert images batch by batch, so that memory does not grow with their number.

    Args:
        model: A trained model.
        images: The images.
        steps, seed, codes, progress: See `invert`.
        workers: Threads that decode a streamed dataset.
        broken: Extended by the names of images that cannot be read, which are left out.

    Raises:
        InputError: If no image can be read.
    """
    broken.extend(images.broken)
    size = max(1, model.at_once // STARTS)
    total = steps * -(-len(images.split) // size)
    names: list[str] = []
    latents: list[Latents] = []
    errors: list[Tensor] = []
    shown: list[Tensor] = []

    def further(past: int) -> Progress | None:
        return (lambda done, _: progress(past + done, total)) if progress else None

    for rows, pixels in readable(images.split, size, workers, broken):
        given = normalise(pixels)
        result = invert(model, given, steps=steps, seed=seed, codes=codes, progress=further(steps * len(latents)))
        if len(names) < MOST_SHOWN:
            shown.append(torch.stack([given.cpu(), result.images], 1)[: MOST_SHOWN - len(names)])
        names += [str(images.name(row)) for row in rows.tolist()]
        latents.append(result.latents)
        errors.append(result.rmse)
    if not names:
        raise InputError(f"{images.where}: no image can be read: {named(broken)}")
    return Inverted(names, Latents.cat(latents), torch.cat(errors), torch.cat(shown))


def undrawn(inverted: Inverted) -> list[str]:
    """The names of the shown images from which a plain grey one would differ less than the reconstruction does."""
    images, drawn = inverted.pairs.flatten(2).unbind(1)
    errors, variances = (images - drawn).square().mean(1), images.var(1, correction=0)
    return [name for name, poor in zip(inverted.names, (errors > variances).tolist(), strict=False) if poor]


def draw_pairs(inverted: Inverted) -> Image.Image:
    """Draw images beside their reconstructions: a row for each, in several panels if there are many."""
    panels = math.ceil((len(inverted.pairs) / 2.5) ** 0.5)  # not taller than wide
    parts = inverted.pairs.split(-(-len(inverted.pairs) // panels))
    names = iter(inverted.names)
    return _beside([_pairs([next(names) for _ in part], part.shape[-1]).draw(part) for part in parts])


def _pairs(names: Sequence[str], side: int) -> Panel:
    """A panel of images and their reconstructions, with a row for each name."""
    rows = [cut(name.rsplit("/", 1)[-1], 20) for name in names]
    return Panel(max(side, cell_side(side)), ["image", "found"], rows)


def _beside(pictures: Sequence[Image.Image]) -> Image.Image:
    return compose(pictures, most=max(LINE, sum(picture.width + GAP for picture in pictures) + GAP), gap=GAP)


def draw_edits(model: GAN, inverted: Inverted, codes: Mapping[str, Sequence[float]]) -> Image.Image:
    """Draw images, their reconstructions, and these with other codes: a row for each image.

    Args:
        model: A trained model.
        inverted: The inverted images, at most `MOST_SHOWN`.
        codes: Values by the code's name; of at most one code several, a column for each.

    Raises:
        InputError: For an unknown code, an invalid value, several codes with several values, or too many images.
    """
    check_edits(model, codes, len(inverted.names))
    varied = max(codes, key=lambda name: len(codes[name]))
    others = {name: values[0] for name, values in codes.items() if name != varied}
    drawn = [
        model.generate(model.prior.with_codes(inverted.latents, {**others, varied: value})).cpu()
        for value in codes[varied]
    ]
    also = "".join(f", {name} = {value:g}" for name, value in others.items())
    before = _pairs(inverted.names, model.image.resolution)
    after = Panel(before.cell, value_labels(codes[varied]), [""] * len(before.rows), across=f"{varied}{also}")
    return _beside([before.draw(inverted.pairs), after.draw(torch.stack(drawn, 1))])


def check_edits(model: GAN, codes: Mapping[str, Sequence[float]], n: int) -> None:
    """Check what `draw_edits` takes, before any work: values of codes, and the number of images.

    Raises:
        InputError: If there are no values or too many images, a code is unknown, a value is invalid, or several codes
            have several values.
    """
    if n > MOST_SHOWN:
        raise InputError(
            f"{n:,} images: a picture of edits holds at most {MOST_SHOWN}; -n {MOST_SHOWN} takes the first"
        )
    if not model.codes:
        raise InputError(f"model {model.config.model} has no codes to edit; infogan has")
    if not codes:
        raise InputError("--codes names no code; it takes values such as c2=1.5, or c2=-1,0,1 for several pictures")
    for name, values in codes.items():
        model.prior.chosen(len(values), {name: values})
    several = [name for name, values in codes.items() if len(values) > 1]
    if len(several) > 1:
        raise InputError(f"--codes gives several values of {' and '.join(several)}; only one code may have several")
