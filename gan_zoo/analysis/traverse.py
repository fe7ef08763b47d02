"""Traversals: vary a code, or one against another, and fix all else (Chen et al., 2016, fig. 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from gan_zoo.analysis.panel import Panel, compose, framed, resized, shelves
from gan_zoo.animations import MOVING, check_drawn, save_animation
from gan_zoo.errors import InputError, unknown
from gan_zoo.images import cell_side, save_image
from gan_zoo.models.gan.codes import Code
from gan_zoo.models.gan.model import GAN
from gan_zoo.models.gan.prior import Latents

MOST_VALUES = 32
"""A discrete code with more values shows this many of them, spread evenly."""
MOST_PANELS = 12
MOST_IMAGES = 10_000
MOST_PIXELS = 12_288
LINE = 2400
"""Width in pixels that panels are laid side by side in."""
GAP = 24

Axis = tuple[Code, Sequence[float]]
"""A code and the values that it takes."""


def pick_codes(model: GAN, name: str | None) -> tuple[Code, ...]:
    """The code called `name`, or all codes.

    Raises:
        InputError: If the model has no such code, or no codes.
    """
    if not model.codes:
        raise InputError(f"model {model.config.model} has no codes to vary; use `gan-zoo sample`")
    chosen = tuple(code for code in model.codes if name in (None, code.name))
    if not chosen:
        raise unknown("code", str(name), [code.name for code in model.codes])
    return chosen


def pick_pair(model: GAN, name: str | None, by: str) -> tuple[Code, Code]:
    """The codes called `name` and `by`.

    Raises:
        InputError: If the model lacks one, `name` is None, or both are the same code.
    """
    if name is None:
        raise InputError(f"--by {by} requires --code, the code to vary along the columns")
    (code,), (other,) = pick_codes(model, name), pick_codes(model, by)
    if code == other:
        raise InputError(f"--code and --by are both {by}; they must differ")
    return code, other


def shown_values(code: Code, count: int | None, default: int = 10, *, overshoot: bool = False) -> list[float]:
    """The values of a code that a picture shows.

    Args:
        code: The code.
        count: How many values of a continuous code, or of a discrete code with more than 32.
        default: Replaces `count` for a continuous code if it is None.
        overshoot: Whether those of a continuous code go to twice its trained range.

    Raises:
        InputError: If `count` is less than 2.
    """
    if count is not None and count < 2:
        raise InputError(f"a traversal of {code.name} takes 2 values or more, not {count}")
    values = code.traversal(default if count is None else count, overshoot=overshoot)
    if len(values) <= MOST_VALUES or not code.discrete:
        return values
    few = min(count or MOST_VALUES, len(values))
    return [values[round(k * (len(values) - 1) / (few - 1))] for k in range(few)]


def traversal(
    model: GAN,
    *axes: Axis,
    samples: int,
    seed: int | Latents = 0,
    fixed: Mapping[str, float] | None = None,
    most_side: int | None = None,
) -> Tensor:
    """Generate images of all combinations of some codes' values.

    Args:
        model: A trained model.
        axes: The codes to vary, with their values.
        samples: Number of samples; a sample has one noise vector and one value of each code that is not varied.
        seed: Seed of the noise and of these codes; or latents that have them.
        fixed: Values, by name, of codes that are not drawn.
        most_side: Shrink images to this side in pixels, batch by batch, if they are larger.

    Returns:
        Images [samples, values of the first axis, values of the second, …, C, H, W] in [-1, 1], on the CPU.
    """
    latents, images = model.prior.vary(axes, samples, seed=seed, fixed=fixed), []
    for chunk in latents.chunk(-(-len(latents.input) // model.at_once)):
        image = model.generate(chunk).cpu()
        images.append(image if most_side is None or image.shape[-1] <= most_side else resized(image, most_side))
    shape = samples, *(len(values) for _, values in axes)
    return torch.cat(images).reshape(*shape, *images[0].shape[1:])


def draw_traversals(
    model: GAN,
    codes: Sequence[Code],
    *,
    by: Code | None = None,
    rows: int | None = None,
    count: int | None = None,
    seed: int | Latents = 0,
    fixed: Mapping[str, float] | None = None,
    overshoot: bool = False,
) -> Image.Image:
    """Draw a panel for each code, or with `by` a panel for each sample.

    If the codes do not fit the picture, it shows the first of them and says so in a footnote.

    Args:
        model: A trained model.
        codes: The codes along the columns; with `by`, a single code.
        by: A second code, down the rows of each panel. Without it, each row is a sample.
        rows: Number of samples; defaults to 10, or 1 with `by`.
        count: Number of values of a continuous code; defaults to 10.
        seed: Seed of the noise and of the codes that are not varied; or latents that have them.
        fixed: Values, by name, of codes that are not drawn.
        overshoot: Whether continuous codes go to twice their trained range.

    Raises:
        InputError: If the panel of a single code is too large.
    """
    samples, cell = rows or (10 if by is None else 1), cell_side(model.image.resolution)
    axes = [(code, shown_values(code, count, overshoot=overshoot)) for code in codes[:MOST_PANELS]]
    if by is None:
        panels = [_panel(cell, axis, _numbers(samples), "sample") for axis in axes]
        while len(panels) > 1 and max(_size(panels)) > MOST_PIXELS:
            panels.pop()
        varied, layout = [[axis] for axis in axes[: len(panels)]], "(panel down) across"
    else:
        other = by, shown_values(by, count, overshoot=overshoot)
        panel = _panel(cell, axes[0], value_labels(other[1]), axis_title(other))
        panels = [replace(panel, title=f"sample {k + 1}" if samples > 1 else "") for k in range(samples)]
        varied, layout = [[other, axes[0]]], "panel down across"
    check_size(panels, _size(panels))
    pictures = _draw(model, panels, varied, layout, samples=samples, seed=seed, fixed=fixed)
    left_out = by is None and len(panels) < len(codes)
    footnote = f"first {len(panels)} of {len(codes)} codes; --code names another" if left_out else ""
    return compose(pictures, most=LINE, gap=GAP, footnote=footnote)


def animate_traversal(
    model: GAN,
    code: Code,
    *,
    by: Code | None = None,
    rows: int | None = None,
    count: int | None = None,
    seed: int | Latents = 0,
    overshoot: bool = False,
) -> list[Image.Image]:
    """Draw the frames of an animation, a panel for each value of `code`; a continuous code then returns to its start.

    The arguments are those of `draw_traversals`, except for:

    Args:
        by: A second code, along the columns; each row is a sample. Without it, a frame is a square of samples.
        rows: Number of rows; defaults to 8.
        count: Number of values of a continuous code; defaults to 24, and to at most 10 for `by`.

    Raises:
        InputError: If the animation is too large.
    """
    samples, cell = rows or 8, cell_side(model.image.resolution)
    axis = code, shown_values(code, count, 24, overshoot=overshoot)
    if by is None:
        panel = Panel(cell, [""] * samples, [""] * samples)
        varied, layout, samples = [axis], "(down across) panel", samples**2
    else:
        other = by, shown_values(by, count if by.discrete else min(count or 10, 10), overshoot=overshoot)
        panel = _panel(cell, other, _numbers(samples), "sample")
        varied, layout = [other, axis], "down across panel"
    panels = [replace(panel, title=f"{code.name}, {code.kind}: {label}") for label in value_labels(axis[1])]
    check_size(panels, _size(panels[:1]))
    frames = framed(_draw(model, panels, [varied], layout, samples=samples, seed=seed), GAP)
    return frames if code.discrete else frames + frames[-2:0:-1]


def write_traversals(
    model: GAN,
    path: Path,
    name: str | None = None,
    *,
    by: str | None = None,
    rows: int | None = None,
    count: int | None = None,
    seed: int | Latents = 0,
    overshoot: bool = False,
) -> Path:
    """Write `draw_traversals`, or for .webp, .gif and .mp4 `animate_traversal` of one code, by default the first.

    Args:
        model: A trained model.
        path: Output file; its suffix selects the format.
        name, by: Names of the code to vary, by default all codes, and of a second one.
        rows, count, seed, overshoot: See these functions.

    Raises:
        InputError: For an unknown code, an unknown suffix, or a picture that is too large.
    """
    codes = pick_codes(model, name) if by is None else pick_pair(model, name, by)
    check_drawn(path)
    for flag, number in (("--rows", rows), ("--values", count)):
        check_count(flag, number or 0)
    varied, other = (codes, None) if by is None else (codes[:1], codes[1])
    settings: dict[str, Any] = {"by": other, "rows": rows, "count": count, "seed": seed, "overshoot": overshoot}
    if path.suffix.lower() not in MOVING:
        return save_image(draw_traversals(model, varied, **settings), path)
    return save_animation(animate_traversal(model, codes[0], **settings), path, 500 if codes[0].discrete else 60)


def _panel(cell: int, axis: Axis, rows: Sequence[str], down: str) -> Panel:
    return Panel(cell, value_labels(axis[1]), rows, across=axis_title(axis), down=down)


def _draw(
    model: GAN,
    panels: Sequence[Panel],
    varied: Sequence[Sequence[Axis]],
    layout: str,
    *,
    samples: int,
    seed: int | Latents,
    fixed: Mapping[str, float] | None = None,
) -> list[Image.Image]:
    """Draw panels of the images of one traversal after another, of which each has its axes in `varied`.

    The einops pattern `layout` divides a traversal's axes [samples, *axes] into `panel`, `down` and `across`.
    """
    first = panels[0]
    images = (
        rearrange(
            traversal(model, *axes, samples=samples, seed=seed, fixed=fixed, most_side=first.cell),
            f"{layout} c h w -> panel down across c h w",
            down=len(first.rows),
        )
        for axes in varied
    )
    return [panel.draw(grid) for panel, grid in zip(panels, chain.from_iterable(images), strict=True)]


def _numbers(count: int) -> list[str]:
    return [str(k + 1) for k in range(count)]


def value_labels(values: Sequence[float]) -> list[str]:
    """Values as labels of columns or rows."""
    return [f"{value:.2g}" if value % 1 else f"{value:.0f}" for value in values]


def axis_title(axis: Axis) -> str:
    """The code's name and kind, and how many of its values are shown."""
    code, values = axis
    few = code.kind == "categorical" and len(values) < code.classes
    return f"{code.name}, {code.kind}" + (f": {len(values)} of {code.classes} values" if few else "")


def _size(panels: Sequence[Panel]) -> tuple[int, int]:
    return shelves([panel.size for panel in panels], LINE, GAP)[1]


def check_count(flag: str, number: int) -> None:
    """Raise an InputError if a flag asks for more rows or columns than a picture may have images."""
    if number > MOST_IMAGES:
        raise InputError(f"{flag} {number}: a picture holds at most {MOST_IMAGES} images")


def check_size(panels: Sequence[Panel], size: tuple[int, int], remedy: str = "--rows or --values") -> None:
    """Check a picture, or a frame, of `size` pixels; an animation counts the images of all frames.

    Raises:
        InputError: If it is larger than 12,288 pixels on a side, or has more than 10,000 images.
    """
    count = sum(len(panel.rows) * len(panel.columns) for panel in panels)
    if max(size) > MOST_PIXELS or count > MOST_IMAGES:
        raise InputError(
            f"the picture would have {size[0]} by {size[1]} pixels and {count} images; at most {MOST_PIXELS} pixels on "
            f"a side and {MOST_IMAGES} images are supported: reduce {remedy}"
        )
