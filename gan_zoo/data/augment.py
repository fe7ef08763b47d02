"""Differentiable augmentation of what the discriminator sees.

After DiffAugment (Zhao et al., 2020, arXiv:2006.10738). A policy is a text like ``"flip, shift:0.125,
rotate"``, drawn anew for every image. Whatever the order in the text, colour comes first, then geometry (all
of it in one resampling), then the cutout.

Letters in shapes: n images, c channels, h by w pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite, log1p, pi
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from gan_zoo.errors import InputError, shown, unknown

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

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augment images [n, c, h, w] in [-1, 1]; gradients flow through, gradients of gradients too.

        Args:
            images: What the discriminator would see.
            generator: What is drawn from, on the images' device; an empty policy draws nothing.
        """
        if not self:
            return images
        seen = self._colour(images, generator)
        if self.flip or self.shift or self.rotate or self.scale or self.shear or self.height or self.elastic:
            seen = self._geometry(seen, generator)
        if self.cutout:
            seen = self._cut(seen, generator)
        return seen.to(images.dtype)

    def _colour(self, images: Tensor, generator: torch.Generator) -> Tensor:
        n = len(images)
        if self.brightness:
            images = images + _uniform(n, self.brightness, images, generator).view(n, 1, 1, 1)
        if self.saturation:
            factor = 1 + _uniform(n, self.saturation, images, generator).view(n, 1, 1, 1)
            grey = images.mean(dim=1, keepdim=True)
            images = (images - grey) * factor + grey
        if self.contrast:
            factor = 1 + _uniform(n, self.contrast, images, generator).view(n, 1, 1, 1)
            mean = images.mean(dim=(1, 2, 3), keepdim=True)
            images = (images - mean) * factor + mean
        return images

    def _geometry(self, images: Tensor, generator: torch.Generator) -> Tensor:
        n = len(images)

        def draw(amount: float, *shape: int) -> Tensor | None:
            return _uniform((n, *shape), amount, images, generator) if amount else None

        mirror = None
        if self.flip:
            mirror = torch.rand(n, device=images.device, generator=generator) < self.flip
        log_factor, log_stretch = draw(log1p(self.scale)), draw(log1p(self.height))
        return warp(
            images,
            mirror=mirror,
            factor=None if log_factor is None else log_factor.exp(),
            stretch=None if log_stretch is None else log_stretch.exp(),
            slant=draw(self.shear),
            angle=draw(self.rotate),
            offset=draw(self.shift, 2),
            bend=self._bend(images, generator),
        )

    def _bend(self, images: Tensor, generator: torch.Generator) -> Tensor | None:
        if not self.elastic:
            return None
        return torch.randn(len(images), 2, 4, 4, device=images.device, generator=generator).mul_(self.elastic)

    def _cut(self, images: Tensor, generator: torch.Generator) -> Tensor:
        n, _, h, w = images.shape
        half = max(h, w) * self.cutout / 2
        centre = torch.rand(n, 2, 1, device=images.device, generator=generator)
        across = (torch.arange(w, device=images.device) + 0.5 - centre[:, 0] * w).abs() < half
        down = (torch.arange(h, device=images.device) + 0.5 - centre[:, 1] * h).abs() < half
        return images * ~(down[:, None, :, None] & across[:, None, None, :])


def _uniform(shape: int | tuple[int, ...], amount: float, images: Tensor, generator: torch.Generator) -> Tensor:
    """float32, uniform in [-amount, amount], on the images' device."""
    sizes = (shape,) if isinstance(shape, int) else shape
    return torch.rand(sizes, device=images.device, generator=generator).mul_(2 * amount).sub_(amount)


def warp(
    images: Tensor,
    *,
    mirror: Tensor | None = None,
    factor: Tensor | None = None,
    stretch: Tensor | None = None,
    slant: Tensor | None = None,
    angle: Tensor | None = None,
    offset: Tensor | None = None,
    bend: Tensor | None = None,
) -> Tensor:
    """Mirror, then scale, stretch, slant, turn and move each image about its centre, in one bilinear resampling.

    What comes in from outside continues the image's edge. Differentiable in the images, twice; not in the
    other arguments.

    Args:
        images: [n, c, h, w], square.
        mirror: bool [n]; whether left and right change places.
        factor: [n]; above 1 what is seen grows.
        stretch: [n]; above 1 what is seen grows in height alone.
        slant: [n]; columns to the right for every row down.
        angle: [n], in radians; positive turns clockwise as the image is seen.
        offset: [n, 2], in shares of the width: right and down.
        bend: [n, 2, k, k], in shares of the width: how far to the right and down of each place its content lies,
            at k by k places spread over the image; between them it varies smoothly.

    Returns:
        [n, c, h, w] in the images' dtype.
    """
    with torch.autocast(images.device.type, enabled=False):  # bfloat16 is too coarse for places
        grid = _grid(
            images, mirror=mirror, factor=factor, stretch=stretch, slant=slant, angle=angle, offset=offset, bend=bend
        )
        warped: Tensor = _Resample.apply(images.float(), grid)  # type: ignore[no-untyped-call]
    return warped.to(images.dtype)


def _grid(
    images: Tensor,
    *,
    mirror: Tensor | None,
    factor: Tensor | None,
    stretch: Tensor | None,
    slant: Tensor | None,
    angle: Tensor | None,
    offset: Tensor | None,
    bend: Tensor | None,
) -> Tensor:
    """Where each place of the result comes from, [n, h, w, 2]: the steps undone, in reverse order."""
    n = len(images)
    back = torch.eye(2, device=images.device).expand(n, 2, 2)
    if mirror is not None:
        sign = 1 - 2 * mirror.float()
        back = torch.diag_embed(torch.stack([sign, torch.ones_like(sign)], dim=-1))
    if factor is not None:
        back = back / factor.view(n, 1, 1)
    if stretch is not None:
        back = back @ torch.diag_embed(torch.stack([torch.ones_like(stretch), 1 / stretch], dim=-1))
    if slant is not None:
        one, zero = torch.ones_like(slant), torch.zeros_like(slant)
        back = back @ torch.stack([one, -slant, zero, one], dim=-1).view(n, 2, 2)
    if angle is not None:
        cos, sin = angle.cos(), angle.sin()
        back = back @ torch.stack([cos, sin, -sin, cos], dim=-1).view(n, 2, 2)
    moved = torch.zeros(n, 2, 1, device=images.device) if offset is None else -2 * (back @ offset[..., None])
    theta = torch.cat([back, moved], dim=2)
    places = affine_grid(theta, [n, 1, *images.shape[-2:]], align_corners=False)
    if bend is not None:
        smooth = interpolate(bend, images.shape[-2:], mode="bicubic", align_corners=True)
        places = places + 2 * rearrange(smooth, "n xy h w -> n h w xy")
    return places


class _Resample(torch.autograd.Function):
    """grid_sample whose gradient has a gradient, as gradient penalties need: it is linear in the images."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = images.shape
        return grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (grid,) = ctx.saved_tensors
        return _Transposed.apply(gradient, grid, ctx.shape), None  # type: ignore[no-untyped-call]


class _Transposed(torch.autograd.Function):
    """The transpose of `_Resample` for the same grid."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        # The images' values play no part in their own gradient; modes 0 and 1 are bilinear and border.
        images = gradient.new_zeros(()).expand(shape)
        spread: Tensor = torch.ops.aten.grid_sampler_2d_backward(
            gradient.contiguous(), images, grid, 0, 1, False, [True, False]
        )[0]
        return spread

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return _Resample.apply(gradient, grid), None, None  # type: ignore[no-untyped-call]


def parse_augment(text: str, key: str = "data.augment") -> Augment:
    """Read a policy such as ``"flip, shift:0.125, cutout"``, the setting `key`; an empty one changes nothing.

    Raises:
        InputError: If an operation is unknown or named twice, or an amount is no number within its range.
    """
    amounts: dict[str, float] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, colon, value = (part.strip() for part in item.partition(":"))
        if name not in DEFAULT:
            raise unknown("operation", shown(name), DEFAULT, where=f"{key}: ")
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
