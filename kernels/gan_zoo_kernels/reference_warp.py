"""The definition of the geometric warp, in plain torch: mirror, scale, stretch, slant, turn, move and bend.

Letters in shapes: n images, c channels, h by w pixels. Arithmetic is in float32, or in float64 for float64 images.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from math import isfinite, log1p
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from .reference import compute_dtype

PLACES = 4
"""The displacement is drawn at PLACES by PLACES places spread over the image."""


@dataclass(frozen=True)
class WarpAmounts:
    """How far the random steps of a warp go; an amount of 0 leaves a step out. Fields are in the order of the draws.

    Args:
        flip: Probability that left and right change places. One uniform u: mirrored where u < flip.
        scale: Largest enlargement less one; the factor is log-uniform in [1 / (1 + scale), 1 + scale]. One uniform.
        height: As scale, of the height alone. One uniform.
        shear: Largest slant, in columns a row; uniform in [-shear, shear]. One uniform.
        rotate: Largest angle in radians; uniform in [-rotate, rotate]. One uniform.
        shift: Largest shift, as a share of the width; each axis uniform in [-shift, shift]. Two: right, down.
        elastic: Standard deviation of a smooth displacement, as a share of the width. 2 * PLACES² normals.
    """

    flip: float = 0.0
    scale: float = 0.0
    height: float = 0.0
    shear: float = 0.0
    rotate: float = 0.0
    shift: float = 0.0
    elastic: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            amount = getattr(self, field.name)
            if not (isfinite(amount) and amount >= 0):
                raise ValueError(f"{field.name} must be a finite number of at least 0, not {amount}")

    @property
    def uniforms(self) -> int:
        """Uniform numbers an image needs: columns of `uniforms`, those of the active steps alone."""
        *singles, shift, _ = astuple(self)
        return sum(amount > 0 for amount in singles) + 2 * (shift > 0)

    @property
    def normals(self) -> int:
        """Normal numbers an image needs: columns of `normals`, in the order right or down, row, column."""
        return 2 * PLACES * PLACES if self.elastic else 0


def random_warp(images: Tensor, normals: Tensor | None, uniforms: Tensor | None, amounts: WarpAmounts) -> Tensor:
    """`warp` by steps that are functions of the draws; see `gan_zoo_kernels.random_warp`."""
    return warp(images, **steps(normals, uniforms, amounts, compute_dtype(images)))


def steps(
    normals: Tensor | None, uniforms: Tensor | None, amounts: WarpAmounts, dtype: torch.dtype
) -> dict[str, Tensor]:
    """The arguments of `warp` that draws stand for: normals [n, amounts.normals], uniforms [n, amounts.uniforms]."""
    columns = iter(() if uniforms is None else uniforms.unbind(1))

    def centred(amount: float) -> Tensor:
        return next(columns).to(dtype) * (2 * amount) - amount

    found: dict[str, Tensor] = {}
    if amounts.flip:
        found["mirror"] = next(columns) < amounts.flip
    if amounts.scale:
        found["factor"] = centred(log1p(amounts.scale)).exp()
    if amounts.height:
        found["stretch"] = centred(log1p(amounts.height)).exp()
    if amounts.shear:
        found["slant"] = centred(amounts.shear)
    if amounts.rotate:
        found["angle"] = centred(amounts.rotate)
    if amounts.shift:
        found["offset"] = torch.stack([centred(amounts.shift), centred(amounts.shift)], dim=1)
    if amounts.elastic and normals is not None:
        found["bend"] = (normals.to(dtype) * amounts.elastic).view(-1, 2, PLACES, PLACES)
    return found


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
        values = images.to(compute_dtype(images))
        grid = _grid(
            values, mirror=mirror, factor=factor, stretch=stretch, slant=slant, angle=angle, offset=offset, bend=bend
        )
        warped: Tensor = _Resample.apply(values, grid)  # type: ignore[no-untyped-call]
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
    n, as_images = len(images), {"dtype": images.dtype, "device": images.device}
    back = torch.eye(2, **as_images).expand(n, 2, 2)
    if mirror is not None:
        sign = 1 - 2 * mirror.to(images.dtype)
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
    moved = torch.zeros(n, 2, 1, **as_images) if offset is None else -2 * (back @ offset[..., None])
    theta = torch.cat([back, moved], dim=2)
    places = affine_grid(theta, [n, 1, *images.shape[-2:]], align_corners=False)
    if bend is not None:
        smooth = interpolate(bend, images.shape[-2:], mode="bicubic", align_corners=True)
        places = places + 2 * smooth.permute(0, 2, 3, 1)
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
