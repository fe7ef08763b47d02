"""Differentiable augmentation of the discriminator's input (DiffAugment; Zhao et al., 2020, arXiv:2006.10738).

A policy is a text such as ``"flip, shift:0.125, rotate"``; each image gets its own draw. Whatever the order in the
text, colour comes first, then geometry (all in one resampling), then the cutout.

Letters in shapes: n images, c channels, r by r pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log1p, pi

import torch
from gan_zoo_kernels import WarpSteps, random_warp
from torch import Tensor

from gan_zoo.draws import Draws
from gan_zoo.errors import InputError, quoted, unknown

AMOUNTS = {
    "flip": (0.5, 1.0),
    "shift": (0.125, 0.5),
    "rotate": (0.2, pi),
    "scale": (0.2, 1.0),
    "shear": (0.2, 1.0),
    "height": (0.2, 1.0),
    "elastic": (0.05, 0.25),
    "brightness": (0.5, 2.0),
    "saturation": (1.0, 1.0),
    "contrast": (0.5, 1.0),
    "cutout": (0.5, 1.0),
}
"""By operation, the default amount (shift, colour and cutout as in DiffAugment) and the largest; the smallest is 0."""

_DRAWN = ("flip", "scale", "height", "shear", "rotate", "shift", "brightness", "saturation", "contrast", "cutout")
"""The operations with uniform numbers: the geometry in the order of `random_warp`, then the others."""


@dataclass(frozen=True)
class Augment:
    """A policy: the amount of each operation; 0 disables it.

    Args:
        flip: Probability of a horizontal flip.
        shift: Largest shift, as a fraction of the width; each axis uniform in [-shift, shift].
        rotate: Largest angle in radians; uniform in [-rotate, rotate].
        scale: Largest enlargement less one; the factor is log-uniform in [1 / (1 + scale), 1 + scale].
        shear: Largest slant, in columns per row; uniform in [-shear, shear].
        height: As scale, but of the height alone.
        elastic: Standard deviation of a smooth displacement, as a fraction of the width, drawn at 4 by 4 points
            (after Simard et al., 2003, section 2).
        brightness: Largest value added to an image in [-1, 1]; uniform in [-brightness, brightness].
        saturation: A pixel's distance from its grey is multiplied by a factor uniform in
            [1 - saturation, 1 + saturation].
        contrast: A value's distance from the image's mean is multiplied by a factor uniform in
            [1 - contrast, 1 + contrast].
        cutout: Side of a square set to 0, as a fraction of the image's; its centre is uniform in the image.
    """

    flip: float = 0.0
    shift: float = 0.0
    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    height: float = 0.0
    elastic: float = 0.0
    brightness: float = 0.0
    saturation: float = 0.0
    contrast: float = 0.0
    cutout: float = 0.0

    def __bool__(self) -> bool:
        """Whether the policy does anything."""
        return any(vars(self).values())

    def __str__(self) -> str:
        """The policy as `parse_augment` reads it."""
        return ", ".join(f"{name}:{amount:g}" for name, amount in vars(self).items() if amount)

    def __call__(self, images: Tensor, random: Draws, probability: Tensor | None = None) -> Tensor:
        """Augment images [n, c, r, r] in [-1, 1]; gradients flow through, gradients of gradients too.

        Args:
            images: The discriminator's input.
            random: The source of random numbers, on the images' device: one draw, or none for an empty policy; two
                with a probability.
            probability: Of each operation in each image, []; None applies all.
        """
        if not self:
            return images
        ranges, steps = self._ranges(), self._steps()
        normals, uniforms = random.mixed(
            len(images),
            normals=steps.normals,
            uniforms=tuple(interval for intervals in ranges.values() for interval in intervals),
        )
        if probability is not None:
            normals, uniforms = self._thinned(normals, uniforms, random, probability)
        drawn = dict(zip(ranges, uniforms.split([len(intervals) for intervals in ranges.values()], 1), strict=True))
        augmented = _colour(images.float(), drawn)
        if steps != WarpSteps():
            augmented = random_warp(augmented, normals, uniforms[:, : steps.values], steps)
        if self.cutout:
            augmented = self._cut(augmented, drawn["cutout"])
        return augmented.to(images.dtype)

    def _thinned(self, normals: Tensor, uniforms: Tensor, random: Draws, probability: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers of an image, with those of the operations that do not apply to it replaced by neutral ones.

        A flip is a number below its probability, and a cutout is neutral outside of the image.
        """
        names = [name for name, intervals in self._ranges().items() for _ in intervals]
        operations = list(dict.fromkeys([*names, "elastic"]))
        applies = dict(
            zip(operations, (random.uniform(len(uniforms), len(operations)) < probability).unbind(1), strict=True)
        )
        neutral = {"flip": 1.0, "cutout": -1.0}
        columns = [
            torch.where(applies[name], column, neutral.get(name, 0.0))
            for name, column in zip(names, uniforms.unbind(1), strict=True)
        ]
        return normals * applies["elastic"][:, None], torch.stack(columns, 1) if columns else uniforms

    def _ranges(self) -> dict[str, tuple[tuple[float, float], ...]]:
        """The ranges of the uniform numbers that an image needs, by operation."""
        largest = vars(self) | {"scale": log1p(self.scale), "height": log1p(self.height)}
        ranges = {name: (-largest[name], largest[name]) for name in _DRAWN if largest[name]}
        ranges |= {name: (0.0, 1.0) for name in ("flip", "cutout") if name in ranges}
        return {name: (interval,) * (2 if name in ("shift", "cutout") else 1) for name, interval in ranges.items()}

    def _steps(self) -> WarpSteps:
        """The geometric operations, which take their numbers in the order of `_ranges`."""
        switches = {name: getattr(self, name) > 0 for name in ("scale", "height", "shear", "rotate", "shift")}
        return WarpSteps(flip=self.flip, elastic=self.elastic, **switches)

    def _cut(self, images: Tensor, centre: Tensor) -> Tensor:
        r = images.shape[-1]
        positions = torch.linspace(0.5 / r, 1 - 0.5 / r, r, device=images.device)
        inside = (positions - centre[:, :, None]).abs() < self.cutout / 2  # [n, xy, r]
        across, down = inside.unbind(1)
        return images.masked_fill((down[:, :, None] & across[:, None, :])[:, None], 0)


def _colour(images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
    if "brightness" in drawn:
        images = images + drawn["brightness"][:, :, None, None]
    for name, axes in (("saturation", (1,)), ("contrast", (1, 2, 3))):
        if name in drawn:
            mean = images.mean(axes, keepdim=True)
            images = torch.addcmul(images, images - mean, drawn[name][:, :, None, None])
    return images


def parse_augment(text: str, key: str = "data.augment") -> Augment:
    """Parse a policy such as ``"flip, shift:0.125, cutout"``, the value of the setting `key`.

    Raises:
        InputError: If an operation is unknown or named twice, or an amount is not a number within its range.
    """
    amounts: dict[str, float] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, colon, value = (part.strip() for part in item.partition(":"))
        if name not in AMOUNTS:
            raise unknown("operation", quoted(name), AMOUNTS, where=f"{key}: ")
        if name in amounts:
            raise InputError(f"{key} = {text!r} names {name!r} twice")
        amounts[name] = _amount(name, value, key) if colon else AMOUNTS[name][0]
    return Augment(**amounts)


def _amount(name: str, value: str, key: str) -> float:
    try:
        amount = float(value)
    except ValueError:
        amount = float("nan")
    default, largest = AMOUNTS[name]
    if not 0 <= amount <= largest:
        raise InputError(
            f"{key}: the amount of {name!r} is {value!r}; accepted: a number from 0 to "
            f"{largest:.4g}, or {name!r} alone for {default:g}"
        )
    return amount
