"""Differentiable augmentation of what the discriminator sees.

After DiffAugment (Zhao et al., 2020, arXiv:2006.10738). A policy is a text like ``"flip, shift:0.125,
rotate"``, drawn anew for every image. Whatever the order in the text, colour comes first, then geometry (all
of it in one resampling), then the cutout.

Letters in shapes: n images, c channels, r by r pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite, log1p, pi

import torch
from gan_zoo_kernels import WarpSteps, random_warp
from torch import Tensor

from gan_zoo.draws import Draws
from gan_zoo.errors import InputError, quoted, unknown

LARGEST = {
    "flip": 1.0,
    "shift": 0.5,
    "rotate": pi,
    "scale": 1.0,
    "shear": 1.0,
    "height": 1.0,
    "elastic": 0.25,
    "brightness": 2.0,
    "saturation": 1.0,
    "contrast": 1.0,
    "cutout": 1.0,
}
"""The greatest amount of each operation; the least is 0."""
DEFAULT = {
    "flip": 0.5,
    "shift": 0.125,
    "rotate": 0.2,
    "scale": 0.2,
    "shear": 0.2,
    "height": 0.2,
    "elastic": 0.05,
    "brightness": 0.5,
    "saturation": 1.0,
    "contrast": 0.5,
    "cutout": 0.5,
}
"""The amount of an operation that is named without one; shift, colour and cutout as in DiffAugment."""


@dataclass(frozen=True)
class Augment:
    """A policy: every image gets its own draw of each operation whose amount is not 0.

    Args:
        flip: Probability that left and right change places.
        shift: Largest shift, as a share of the width; each axis uniform in [-shift, shift].
        rotate: Largest angle in radians; uniform in [-rotate, rotate].
        scale: Largest enlargement less one; the factor is log-uniform in [1 / (1 + scale), 1 + scale].
        shear: Largest slant, in columns a row; uniform in [-shear, shear].
        height: As scale, of the height alone.
        elastic: Standard deviation of a smooth displacement, as a share of the width, drawn at 4 by 4 places
            (after Simard et al., 2003, section 2).
        brightness: Largest value added to an image in [-1, 1]; uniform in [-brightness, brightness].
        saturation: A pixel's distance from its grey is multiplied by a factor uniform in
            [1 - saturation, 1 + saturation].
        contrast: A value's distance from the image's mean is multiplied by a factor uniform in
            [1 - contrast, 1 + contrast].
        cutout: Side of a square set to 0, as a share of the image's; its centre is uniform in the image.
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
        return any(getattr(self, field.name) for field in fields(self))

    def __str__(self) -> str:
        """The policy as `parse_augment` reads it."""
        return ", ".join(f"{f.name}:{getattr(self, f.name):g}" for f in fields(self) if getattr(self, f.name))

    def __call__(self, images: Tensor, random: Draws) -> Tensor:
        """Augment images [n, c, r, r] in [-1, 1]; gradients flow through, gradients of gradients too.

        Args:
            images: What the discriminator would see.
            random: Where the numbers come from, on the images' device: one draw, and none for an empty policy.
        """
        if not self:
            return images
        ranges, steps = self._ranges(), self._steps()
        normals, uniforms = random.mixed(
            len(images),
            normals=steps.normals,
            uniforms=tuple(interval for intervals in ranges.values() for interval in intervals),
        )
        drawn = dict(zip(ranges, uniforms.split([len(intervals) for intervals in ranges.values()], 1), strict=True))
        seen = _colour(images.float(), drawn)
        if steps != WarpSteps():
            seen = random_warp(seen, normals, uniforms[:, : steps.values], steps)  # geometry's columns come first
        if self.cutout:
            seen = self._cut(seen, drawn["cutout"])
        return seen.to(images.dtype)

    def _ranges(self) -> dict[str, tuple[tuple[float, float], ...]]:
        """By operation, the ranges of the uniform numbers that an image needs."""
        largest = {
            "flip": 0.0,
            "scale": log1p(self.scale),
            "height": log1p(self.height),
            "shear": self.shear,
            "rotate": self.rotate,
            "shift": self.shift,
            "brightness": self.brightness,
            "saturation": self.saturation,
            "contrast": self.contrast,
            "cutout": 0.0,
        }
        return {
            name: ((-amount, amount) if amount else (0.0, 1.0),) * (2 if name in ("shift", "cutout") else 1)
            for name, amount in largest.items()
            if getattr(self, name)
        }

    def _steps(self) -> WarpSteps:
        """The geometry's steps; `_ranges` has their values in the order in which they take them."""
        return WarpSteps(
            flip=self.flip,
            scale=self.scale > 0,
            height=self.height > 0,
            shear=self.shear > 0,
            rotate=self.rotate > 0,
            shift=self.shift > 0,
            elastic=self.elastic,
        )

    def _cut(self, images: Tensor, centre: Tensor) -> Tensor:
        r = images.shape[-1]
        places = torch.linspace(0.5 / r, 1 - 0.5 / r, r, device=images.device)
        inside = (places - centre[:, :, None]).abs() < self.cutout / 2  # [n, xy, r]
        across, down = inside.unbind(1)
        return images.masked_fill((down[:, :, None] & across[:, None, :])[:, None], 0)


def _colour(images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
    if "brightness" in drawn:
        images = images + drawn["brightness"][:, :, None, None]
    if "saturation" in drawn:
        grey = images.mean(dim=1, keepdim=True)
        images = torch.addcmul(images, images - grey, drawn["saturation"][:, :, None, None])
    if "contrast" in drawn:
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        images = torch.addcmul(images, images - mean, drawn["contrast"][:, :, None, None])
    return images


def parse_augment(text: str, key: str = "data.augment") -> Augment:
    """Read a policy such as ``"flip, shift:0.125, cutout"``, the setting `key`; an empty one changes nothing.

    Raises:
        InputError: If an operation is unknown or named twice, or an amount is no number within its range.
    """
    amounts: dict[str, float] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, colon, value = (part.strip() for part in item.partition(":"))
        if name not in DEFAULT:
            raise unknown("operation", quoted(name), DEFAULT, where=f"{key}: ")
        if name in amounts:
            raise InputError(f"{key} names {name!r} twice in {text!r}; each operation is named once")
        amounts[name] = _amount(name, value, key) if colon else DEFAULT[name]
    return Augment(**amounts)


def _amount(name: str, value: str, key: str) -> float:
    try:
        amount = float(value)
    except ValueError:
        amount = float("nan")
    if not isfinite(amount) or not 0 <= amount <= LARGEST[name]:
        raise InputError(
            f"{key}: the amount of {name!r} is {value!r}; accepted: a number from 0 to "
            f"{LARGEST[name]:.4g}, or {name!r} alone for {DEFAULT[name]:g}"
        )
    return amount
