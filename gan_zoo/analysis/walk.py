"""Walks: closed, smooth paths through the noise and a code, as an animation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from PIL import Image
from torch import Tensor

from gan_zoo.analysis.panel import Panel, framed
from gan_zoo.analysis.traverse import GAP, check_count, check_size, shown_values
from gan_zoo.errors import InputError
from gan_zoo.images import cell_side
from gan_zoo.models.gan.codes import Code
from gan_zoo.models.gan.model import GAN
from gan_zoo.models.gan.prior import SHOWN
from gan_zoo.terminal import with_progress

MILLISECONDS = 40
"""Duration of a frame: 25 in a second, which GIF can state exactly."""
SECONDS_OF_A_CIRCLE = 6.0
"""A longer walk has more circles, so that it moves about as fast."""
LONGEST = 600.0


def noise_path(model: GAN, samples: int, frames: int, *, circles: int = 1, seed: int = 0) -> Tensor:
    """The noise along a closed walk, whose every frame is distributed as the prior.

    With normal noise, z(t) = Σₖ (aₖ cos 2πkt + bₖ sin 2πkt) / √m for k = 1 … m and t in [0, 1), with aₖ and bₖ from
    N(0, I). At each t it is N(0, I), and the mean square of its speed is the same. A single circle (m = 1) is spherical
    interpolation (Shoemake, 1985; of noise: White, 2016, arXiv:1609.04468), continued around the sphere; it starts at
    the noise that `model.sample` draws. For uniform noise, normal numbers g walk so and are mapped to 2 Φ(g) - 1, which
    is uniform in (-1, 1) at each t.

    Args:
        model: A model.
        samples: Number of walks.
        frames: Number of points of each.
        circles: m.
        seed: Seed of a and b.

    Returns:
        float32 [frames, samples, noise].
    """
    uniform = not model.prior.layout.normal
    drawn = [
        model.prior.sample(samples, seed=seed, stream=SHOWN, step=k).input[:, : model.prior.noise].float()
        for k in range(2 * circles)
    ]
    corners = torch.stack(drawn)
    if uniform:
        corners = math.sqrt(2) * torch.erfinv(corners.clamp(-1 + 1e-6, 1 - 1e-6))
    angles = 2 * math.pi * torch.arange(frames)[:, None] / frames * torch.arange(1, circles + 1)
    weights = torch.stack([angles.cos(), angles.sin()], 2).flatten(1) / math.sqrt(circles)
    path = torch.einsum("fk,ksn->fsn", weights, corners)
    return model.prior.from_normal(path)


def code_path(code: Code, frames: int) -> list[float]:
    """A code's values along a closed walk: a continuous one swings over its trained range as a cosine, and a discrete
    one takes its values in turn.
    """
    values = shown_values(code, 2)
    if code.discrete:
        return [values[frame * len(values) // frames] for frame in range(frames)]
    low, high = values[0], values[-1]
    return [(low + high - (high - low) * math.cos(2 * math.pi * frame / frames)) / 2 for frame in range(frames)]


def draw_walk(
    model: GAN,
    *,
    code: Code | None = None,
    noise: bool = True,
    rows: int = 4,
    seconds: float = SECONDS_OF_A_CIRCLE,
    seed: int = 0,
    truncation: float = 1.0,
) -> list[Image.Image]:
    """Draw the frames of a walk, a square of samples each. The first frame follows the last.

    Args:
        model: A trained model.
        code: A code to walk through; the others are those that `model.sample` draws.
        noise: Whether to walk through the noise.
        rows: Rows and columns of samples.
        seconds: Duration, at 25 frames in a second.
        seed: Seed of the noise and the codes.
        truncation: See `Prior.truncated`.

    Raises:
        InputError: If the animation is too large, too short, or nothing moves.
    """
    if noise and not model.prior.noise:
        raise InputError(f"model {model.config.model} has no noise to walk through (latent.noise = 0); name a code")
    if not noise and code is None:
        raise InputError("a walk requires the noise or a code to walk through")
    if not 2 * MILLISECONDS / 1000 <= seconds <= LONGEST:
        raise InputError(f"--seconds must be a number from {2 * MILLISECONDS / 1000:g} to {LONGEST:g}, not {seconds:g}")
    frames = round(seconds * 1000 / MILLISECONDS)
    values = code_path(code, frames) if code else [0.0] * frames
    check_count("--rows", rows)
    cell, blank = cell_side(model.image.resolution), [""] * rows
    panels = [Panel(cell, blank, blank, title=title) for title in _titles(code, values)]
    check_size(panels, panels[0].size, remedy="--rows or --seconds")
    images = _images(model, code, values, noise=noise, samples=rows**2, seed=seed, truncation=truncation)
    frame = zip(panels, with_progress(images, frames, "frames"), strict=True)
    pictures = [panel.draw(image.unflatten(0, (rows, rows))) for panel, image in frame]
    return framed(pictures, GAP)


def _titles(code: Code | None, values: Sequence[float]) -> list[str]:
    if code is None:
        return [""] * len(values)
    return [
        f"{code.name}, {code.kind}: {value:.0f}" if code.discrete else f"{code.name}: {value:+.2f}" for value in values
    ]


def _images(
    model: GAN, code: Code | None, values: Sequence[float], *, noise: bool, samples: int, seed: int, truncation: float
) -> Iterator[Tensor]:
    """The images [samples, C, H, W] of each frame, in which the code, if any, has one of the values."""
    frames = len(values)
    start = model.prior.sample(samples, seed=seed, stream=SHOWN)
    circles = max(1, round(frames * MILLISECONDS / 1000 / SECONDS_OF_A_CIRCLE))
    path = noise_path(model, samples, frames, circles=circles, seed=seed) if noise else None
    for frame, value in enumerate(values):
        z = start.input[:, : model.prior.noise] if path is None else path[frame].to(start.input)
        codes = start.codes.clone()
        if code is not None:
            codes[:, model.codes.index(code)] = value
        yield model.generate(model.prior.truncated(model.prior.compose(z, codes), truncation)).cpu()
