"""The geometric warp of images, in one resampling that is differentiable twice.

Letters in shapes: n images, c channels, r by r pixels.
"""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate


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
        images: [n, c, r, r].
        mirror: bool [n]; whether left and right change places.
        factor: [n]; above 1 what is seen grows.
        stretch: [n]; above 1 what is seen grows in height alone.
        slant: [n]; columns to the right for every row down.
        angle: [n], in radians; positive turns clockwise as the image is seen.
        offset: [n, 2], in shares of the width: right and down.
        bend: [n, 2, k, k], in shares of the width: how far to the right and down of each place its content lies,
            at k by k places spread over the image; between them it varies smoothly.

    Returns:
        [n, c, r, r] in the images' dtype.
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
    """Where each place of the result comes from, [n, r, r, 2]: the steps undone, in reverse order."""
    n, device = len(images), images.device
    if angle is None:
        back = torch.eye(2, device=device).expand(n, 2, 2)
    else:
        cos, sin = angle.cos(), angle.sin()
        back = torch.stack([cos, sin, -sin, cos], 1).view(n, 2, 2)
    top, bottom = back.unbind(1)
    if slant is not None:
        top = torch.addcmul(top, slant[:, None], bottom, value=-1)
    if stretch is not None:
        bottom = bottom / stretch[:, None]
    if mirror is not None:
        top = torch.where(mirror[:, None], -top, top)
    back = torch.stack([top, bottom], 1)
    if factor is not None:
        back = back / factor[:, None, None]
    to = centres(images, -1.0, 1.0).expand(n, 2, -1)
    if offset is not None:
        to = torch.sub(to, offset[:, :, None], alpha=2)
    x, y = to.unbind(1)
    rows = y[:, :, None] * back[:, None, :, 1]
    places = torch.addcmul(rows[:, :, None], x[:, None, :, None], back[:, None, None, :, 0])
    if bend is not None:
        smooth = interpolate(bend, images.shape[-2:], mode="bicubic", align_corners=True)
        places = places.add(rearrange(smooth, "n xy row column -> n row column xy"), alpha=2)
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


def centres(images: Tensor, low: float, high: float) -> Tensor:
    """The centres of r pixels side by side that span low to high, [r]."""
    r = images.shape[-1]
    half = (high - low) / (2 * r)
    return torch.linspace(low + half, high - half, r, device=images.device)
