"""Traversals: one code is varied and everything else held (Chen et al., 2016, fig. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from einops import rearrange
from PIL import Image
from torch import Tensor

from gan_zoo.errors import InputError, unknown
from gan_zoo.images import grid, save_image
from gan_zoo.models.gan.codes import Code
from gan_zoo.models.gan.model import GAN

ANIMATED = (".webp", ".gif")


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


def traversal(model: GAN, code: Code, *, rows: int = 10, count: int = 10, seed: int = 0) -> Tensor:
    """Images [rows, values, C, H, W] in [-1, 1]: a row shares its noise and its other codes.

    Args:
        model: A trained model.
        code: The code to vary.
        rows: How many samples.
        count: Values of a continuous code, from -2 to 2; a discrete code takes all of its own.
        seed: Decides the noise and the other codes.
    """
    values = code.traversal(count)
    images = model.generate(model.prior.traverse(code, values, rows, seed=seed))
    return rearrange(images, "(rows values) c h w -> rows values c h w", rows=rows)


def captions(model: GAN, code: Code, count: int = 10) -> list[str]:
    """The values along a traversal; where the prior learns how often it draws them, with their probabilities below."""
    values = [f"{value:.2g}" for value in code.traversal(count)]
    learned = model.prior.probabilities().get(code.name)
    if learned is None:
        return values
    return [f"{value}\n{p:.2f}" for value, p in zip(values, learned.tolist(), strict=True)]


def draw_traversals(
    model: GAN, codes: Sequence[Code], *, rows: int = 10, count: int = 10, seed: int = 0
) -> Image.Image:
    """A picture with a panel for each code, its values written below the columns, with their learned probabilities."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    panels = [traversal(model, code, rows=rows, count=count, seed=seed) for code in codes]
    across = min(len(panels), 3)
    down = -(-len(panels) // across)
    size = 0.42 * max(rows, 4) + 0.7
    figure, axes = plt.subplots(down, across, figsize=(across * size, down * size), squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, code, images in zip(axes.flat, codes, panels, strict=False):
        columns, side = images.shape[1], images.shape[-1] + 2
        picture = grid(rearrange(images, "rows values c h w -> (rows values) c h w"), columns)
        axis.imshow(picture, cmap="gray" if picture.mode == "L" else None, vmin=0, vmax=255, aspect="auto")
        told = captions(model, code, count)
        every = -(-columns // 10)
        ticks = range(0, columns, every)
        axis.set_xticks([k * side + side / 2 - 1 for k in ticks], [told[k] for k in ticks], fontsize=7)
        axis.set_yticks([])
        axis.tick_params(length=0)
        axis.set_title(f"{code.name}: {code.kind}", fontsize=9)
        axis.set_frame_on(False)
    figure.supylabel("a row: one sample, all else held", fontsize=8)
    figure.tight_layout()
    buffer = BytesIO()
    figure.savefig(buffer, dpi=150, format="png")
    plt.close(figure)
    return Image.open(buffer).convert("RGB")


def animate_traversal(model: GAN, code: Code, path: Path, *, rows: int = 8, count: int = 24, seed: int = 0) -> Path:
    """A WebP or GIF in which a grid of `rows`² samples turns one code there and, if it is continuous, back."""
    images = traversal(model, code, rows=rows * rows, count=count, seed=seed)
    frames = [grid(frame, rows) for frame in images.unbind(1)]
    if not code.discrete:
        frames += frames[-2:0:-1]
    return save_image(frames[0], path, append=frames[1:], milliseconds=500 if code.discrete else 60)


def write_traversals(
    model: GAN,
    path: Path,
    name: str | None = None,
    *,
    rows: int | None = None,
    count: int | None = None,
    seed: int = 0,
) -> Path:
    """Draw the code called `name`, or all, into a picture; or one, by default the first, into a .webp or .gif.

    Args:
        model: A trained model.
        path: Where to; its ending decides the format.
        name: The code.
        rows: Samples, in an animation their square root; by default 10 and 8.
        count: Values of a continuous code; by default 10, in an animation 24.
        seed: Decides the noise and the other codes.

    Raises:
        InputError: For a code that is not there, or an ending that is no picture's.
    """
    codes = pick_codes(model, name)
    _check_ending(path)
    if path.suffix.lower() in ANIMATED:
        return animate_traversal(model, codes[0], path, rows=rows or 8, count=count or 24, seed=seed)
    return write_picture(draw_traversals(model, codes, rows=rows or 10, count=count or 10, seed=seed), path)


def write_picture(picture: Image.Image, path: Path) -> Path:
    """Save a picture; the name's ending decides the format.

    Raises:
        InputError: If the ending is none that can be written.
    """
    _check_ending(path)
    return save_image(picture, path)


def _check_ending(path: Path) -> None:
    known = {ending for ending, name in Image.registered_extensions().items() if name in Image.SAVE}
    if path.suffix.lower() not in known:
        raise InputError(f"{path}: pictures are written as .png, .jpg, .webp or .gif")
