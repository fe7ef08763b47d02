"""Traversals: a code is varied, or one by another, and all else is held (Chen et al., 2016, fig. 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from gan_zoo.analysis.panel import Panel, cell_side, compose, resized, shelves
from gan_zoo.errors import InputError, unknown
from gan_zoo.images import save_image
from gan_zoo.models.gan.codes import Code
from gan_zoo.models.gan.model import GAN
from gan_zoo.models.gan.prior import Latents

ANIMATED = (".webp", ".gif")
ENDINGS = (".png", ".jpg", ".jpeg", *ANIMATED, ".pdf", ".tiff", ".bmp")
MOST_VALUES = 32
"""A discrete code with more values than these shows so many of them, spread evenly."""
MOST_PANELS = 12
MOST_IMAGES = 10_000
MOST_PIXELS = 8192
LINE = 2400
"""Pixels across that panels are laid side by side in."""
GAP = 24


def pick_codes(model: GAN, name: str | None) -> tuple[Code, ...]:
    """The code called `name`, or all.

    Raises:
        InputError: If the model has no such code, or none at all.
    """
    if not model.codes:
        raise InputError(f"model {model.config.model} has no codes to turn; `gan-zoo sample` draws from it")
    chosen = tuple(code for code in model.codes if name in (None, code.name))
    if not chosen:
        raise unknown("code", str(name), [code.name for code in model.codes])
    return chosen


def pick_pair(model: GAN, name: str | None, by: str) -> tuple[Code, Code]:
    """The codes called `name` and `by`.

    Raises:
        InputError: If one is not there or not named, or both are one.
    """
    if name is None:
        raise InputError(f"--by {by} is a second code; name the one to vary by --code")
    (code,), (other,) = pick_codes(model, name), pick_codes(model, by)
    if code == other:
        raise InputError(f"--by {by} is --code, too; name another code")
    return code, other


def shown_values(code: Code, count: int | None, steps: int) -> list[float]:
    """The values of a code that a picture shows.

    Args:
        code: The code.
        count: How many of a continuous code, from -2 to 2, or of a discrete one that has more than 32.
        steps: What `count` is for a continuous code where it is none.

    Raises:
        InputError: If `count` is less than 2.
    """
    if count is not None and count < 2:
        raise InputError(f"a traversal of {code.name} has 2 or more values, not {count}")
    values = code.traversal(steps if count is None else count)
    if len(values) <= MOST_VALUES or not code.discrete:
        return values
    few = min(count or MOST_VALUES, len(values))
    return [values[round(k * (len(values) - 1) / (few - 1))] for k in range(few)]


def traversal(
    model: GAN,
    code: Code,
    values: Sequence[float] | None = None,
    *,
    rows: int = 10,
    count: int = 10,
    seed: int = 0,
    most_side: int | None = None,
) -> Tensor:
    """Images [rows, values, C, H, W] in [-1, 1]: a row shares its noise and its other codes.

    Args:
        model: A trained model.
        code: The code to vary.
        values: The values that it takes; by default `code.traversal(count)`.
        rows: How many samples.
        count: Values of a continuous code, from -2 to 2; a discrete code takes all of its own.
        seed: Decides the noise and the other codes.
        most_side: Pixels to which larger images are shrunk as they come.
    """
    values = code.traversal(count) if values is None else values
    images = _generate(model, model.prior.traverse(code, values, rows, seed=seed), most_side)
    return rearrange(images, "(rows values) c h w -> rows values c h w", rows=rows)


def pair_traversal(
    model: GAN,
    code: Code,
    values: Sequence[float],
    other: Code,
    other_values: Sequence[float],
    *,
    samples: int = 1,
    seed: int = 0,
    held: Mapping[str, float] | None = None,
    most_side: int | None = None,
) -> Tensor:
    """Images [samples, other_values, values, C, H, W] in [-1, 1]: a sample shares its noise and its further codes.

    Args:
        model: A trained model.
        code: The code to vary.
        values: The values that it takes.
        other: The code to vary it by.
        other_values: The values that this one takes.
        samples: How many samples.
        seed: Decides the noise and the further codes, as in `traversal`.
        held: Values of further codes, by name, that are not drawn.
        most_side: Pixels to which larger images are shrunk as they come.
    """
    latents = model.prior.vary([(other, other_values), (code, values)], samples, seed=seed, held=held)
    images = _generate(model, latents, most_side)
    return rearrange(images, "(s o v) c h w -> s o v c h w", s=samples, o=len(other_values))


def draw_traversals(
    model: GAN, codes: Sequence[Code], *, rows: int = 10, count: int | None = None, seed: int = 0
) -> Image.Image:
    """A picture with a panel for each code: its values along the columns, samples down the rows.

    Of more codes than a picture holds, the first are drawn, and a line below says so.

    Raises:
        InputError: If the panel of one code is too large for a picture.
    """
    cell = cell_side(model.image.resolution)
    samples = [str(k + 1) for k in range(rows)]
    values = [shown_values(code, count, 10) for code in codes[:MOST_PANELS]]
    panels = [
        Panel(cell, _words(own), samples, across=_axis(code, own), down="sample")
        for code, own in zip(codes, values, strict=False)
    ]
    while len(panels) > 1 and not _fits(panels):
        panels.pop()
    _check_size(panels)
    footnote = ""
    if len(panels) < len(codes):
        shown = "the first" if len(panels) == 1 else f"the first {len(panels)}"
        footnote = f"{shown} of {len(codes)} codes; --code names another"
    pictures = [
        panel.draw(traversal(model, code, own, rows=rows, seed=seed, most_side=cell))
        for panel, code, own in zip(panels, codes, values, strict=False)
    ]
    return compose(pictures, most=LINE, gap=GAP, footnote=footnote)


def draw_pair(
    model: GAN,
    code: Code,
    other: Code,
    *,
    samples: int = 1,
    count: int | None = None,
    seed: int = 0,
    held: Mapping[str, float] | None = None,
) -> Image.Image:
    """A picture with a panel for each sample: the values of `code` along the columns, of `other` down the rows.

    Further codes take the values in `held`, by name, and are drawn otherwise.

    Raises:
        InputError: If it is too large for a picture.
    """
    values, other_values = (shown_values(c, count, 10) for c in (code, other))
    cell = cell_side(model.image.resolution)
    panels = [
        Panel(
            cell,
            _words(values),
            _words(other_values),
            across=_axis(code, values),
            down=_axis(other, other_values),
            title=f"sample {k + 1}" if samples > 1 else "",
        )
        for k in range(samples)
    ]
    _check_size(panels)
    images = pair_traversal(
        model, code, values, other, other_values, samples=samples, seed=seed, held=held, most_side=cell
    )
    pictures = [panel.draw(of_sample) for panel, of_sample in zip(panels, images, strict=True)]
    return compose(pictures, most=LINE, gap=GAP)


def animate_traversal(
    model: GAN, code: Code, path: Path, *, rows: int = 8, count: int | None = None, seed: int = 0
) -> Path:
    """A WebP or GIF in which a grid of `rows`² samples turns one code there and, if it is continuous, back.

    Raises:
        InputError: If it is too large.
    """
    values = shown_values(code, count, 24)
    side, cell = [""] * rows, cell_side(model.image.resolution)
    panels = [Panel(cell, side, side, title=title) for title in _titles(code, values)]
    _check_size(panels[:1], images=rows * rows * len(values))
    images = traversal(model, code, values, rows=rows * rows, seed=seed, most_side=cell)
    grids = rearrange(images, "(down across) time c h w -> time down across c h w", down=rows)
    return _animate(panels, grids, code, path)


def animate_pair(
    model: GAN, code: Code, other: Code, path: Path, *, rows: int = 8, count: int | None = None, seed: int = 0
) -> Path:
    """A WebP or GIF that turns `code`; the columns take the values of `other`, the rows are samples.

    Raises:
        InputError: If it is too large.
    """
    values = shown_values(code, count, 24)
    other_values = shown_values(other, min(count or 10, 10) if not other.discrete else count, 10)
    cell = cell_side(model.image.resolution)
    panels = [
        Panel(
            cell,
            _words(other_values),
            [str(k + 1) for k in range(rows)],
            across=_axis(other, other_values),
            down="sample",
            title=title,
        )
        for title in _titles(code, values)
    ]
    _check_size(panels[:1], images=rows * len(other_values) * len(values))
    images = pair_traversal(model, code, values, other, other_values, samples=rows, seed=seed, most_side=cell)
    return _animate(panels, rearrange(images, "down across time c h w -> time down across c h w"), code, path)


def file_name(code: str | None, by: str | None, **others: int | None) -> str:
    """What a picture is called among a run's samples: `traversal.png`, and by whatever else was asked for."""
    asked = [f"{name}-{value}" for name, value in others.items() if value]
    return "-".join(filter(None, ["traversal", code, by, *asked])) + ".png"


def write_traversals(
    model: GAN,
    path: Path,
    name: str | None = None,
    *,
    by: str | None = None,
    rows: int | None = None,
    count: int | None = None,
    seed: int = 0,
) -> Path:
    """Draw the code called `name`, or all, into a picture; or one, by default the first, into a .webp or .gif.

    Args:
        model: A trained model.
        path: Where to; its ending decides the format.
        name: The code.
        by: A second code, down the rows of a picture, along the columns of an animation.
        rows: Samples: by default 10; in an animation of one code their square root, and in one of two, 8; in a picture
            of two codes a panel each, 1.
        count: Values of a continuous code; by default 10, in an animation 24.
        seed: Decides the noise and the other codes.

    Raises:
        InputError: For a code that is not there, an ending that is no picture's, or a picture that is too large.
    """
    codes = pick_codes(model, name) if by is None else pick_pair(model, name, by)
    check_ending(path)
    for flag, number in (("--rows", rows), ("--values", count)):
        if (number or 0) > MOST_IMAGES:
            raise InputError(f"{flag} {number}: at most {MOST_IMAGES} images are drawn")
    if path.suffix.lower() in ANIMATED:
        if by is None:
            return animate_traversal(model, codes[0], path, rows=rows or 8, count=count, seed=seed)
        return animate_pair(model, codes[0], codes[1], path, rows=rows or 8, count=count, seed=seed)
    if by is None:
        return write_picture(draw_traversals(model, codes, rows=rows or 10, count=count, seed=seed), path)
    return write_picture(draw_pair(model, codes[0], codes[1], samples=rows or 1, count=count, seed=seed), path)


def write_picture(picture: Image.Image, path: Path) -> Path:
    """Save a picture; the name's ending decides the format.

    Raises:
        InputError: If the ending is none that can be written.
    """
    check_ending(path)
    return save_image(picture, path)


def _generate(model: GAN, latents: Latents, most_side: int | None) -> Tensor:
    """Images on the CPU; those larger than a cell of the picture are shrunk before the next are made."""

    def made(part: Latents) -> Tensor:
        images = model.generate(part).cpu()
        return images if most_side is None or images.shape[-1] <= most_side else resized(images, most_side)

    return torch.cat([made(part) for part in latents.chunk(-(-len(latents.input) // model.at_once))])


def _animate(panels: Sequence[Panel], grids: Tensor, code: Code, path: Path) -> Path:
    """Write a frame for each value of `code`; grids are [values, down, across, C, H, W]."""
    pictures = [panel.draw(images) for panel, images in zip(panels, grids, strict=True)]
    size = tuple(max(picture.size[k] for picture in pictures) for k in (0, 1))
    frames = []
    for picture in pictures:
        frame = Image.new("RGB", (size[0] + GAP, size[1] + GAP), "white")
        frame.paste(picture, (GAP // 2, GAP // 2))
        frames.append(frame)
    if not code.discrete:
        frames += frames[-2:0:-1]
    return save_image(frames[0], path, append=frames[1:], milliseconds=500 if code.discrete else 60)


def _words(values: Sequence[float]) -> list[str]:
    return [f"{value:.2g}" if value % 1 else f"{value:.0f}" for value in values]


def _titles(code: Code, values: Sequence[float]) -> list[str]:
    return [f"{code.name}, {code.kind}: {word}" for word in _words(values)]


def _axis(code: Code, values: Sequence[float]) -> str:
    few = code.kind == "categorical" and len(values) < code.classes
    return f"{code.name}, {code.kind}" + (f": {len(values)} of {code.classes} values" if few else "")


def _fits(panels: Sequence[Panel]) -> bool:
    _, (width, height) = shelves([panel.size for panel in panels], LINE, GAP)
    return max(width, height) <= MOST_PIXELS


def _check_size(panels: Sequence[Panel], *, images: int | None = None) -> None:
    """Refuse a picture that nobody could look at.

    Raises:
        InputError: If it is larger than 8192 pixels on a side, or of more than 10,000 images.
    """
    _, (width, height) = shelves([panel.size for panel in panels], LINE, GAP)
    count = images or sum(len(panel.rows) * len(panel.columns) for panel in panels)
    if max(width, height) > MOST_PIXELS or count > MOST_IMAGES:
        raise InputError(
            f"the picture would have {width} by {height} pixels and {count} images; at most {MOST_PIXELS} pixels on a "
            f"side and {MOST_IMAGES} images are drawn: ask for less by --rows or --values"
        )


def check_ending(path: Path) -> None:
    """Refuse a name whose ending is that of no picture.

    Raises:
        InputError: If it is.
    """
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"{path}: pictures are written as {', '.join(ENDINGS)}")
