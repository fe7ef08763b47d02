"""The definition of the geometric warp, in plain torch: mirror, scale, stretch, slant, turn, move and bend.

Letters in shapes: n images, c channels, h by w pixels. Arithmetic is in float32, or in float64 for float64 images.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from .reference import compute_dtype

PLACES = 4
"""A random displacement is drawn at PLACES by PLACES places spread over the image."""
PerImage = Tensor | None  # the values of one step, or no such step


@dataclass(frozen=True)
class WarpSteps:
    """The steps of a random warp and the numbers that an image draws for them, in this order.

    Args:
        flip: Probability that left and right change places, 0 for never. One value in [0, 1): mirrored if below `flip`.
        scale: Whether what is seen grows. One value: the factor's logarithm.
        height: Whether it grows in height alone. One value: the factor's logarithm.
        shear: Whether it slants. One value: columns to the right for every row down.
        rotate: Whether it turns. One value: radians, positive clockwise as the image is seen.
        shift: Whether it moves. Two values, in shares of the width and of the height: right, down.
        elastic: Standard deviation of a smooth displacement, as a share of the width and of the height; 0 for none.
            2 * PLACES² normals: first those to the right, then those down, each by row.
    """

    flip: float = 0.0
    scale: bool = False
    height: bool = False
    shear: bool = False
    rotate: bool = False
    shift: bool = False
    elastic: float = 0.0
    numbers: tuple[float, ...] = field(init=False, repr=False, compare=False)  # all of them, in this order

    def __post_init__(self) -> None:
        for name, amount in (("flip", self.flip), ("elastic", self.elastic)):
            if not (isfinite(amount) and amount >= 0):
                raise ValueError(f"{name} must be a finite number of at least 0, not {amount}")
        steps = (self.flip, self.scale, self.height, self.shear, self.rotate, self.shift, self.elastic)
        object.__setattr__(self, "numbers", tuple(float(step) for step in steps))

    @property
    def values(self) -> int:
        """Values an image needs: one column for each active step, two for a shift."""
        return (self.flip > 0) + self.scale + self.height + self.shear + self.rotate + 2 * self.shift

    @property
    def normals(self) -> int:
        """Normal numbers an image needs."""
        return 2 * PLACES**2 if self.elastic else 0


def random_warp(images: Tensor, normals: Tensor | None, values: Tensor | None, steps: WarpSteps) -> Tensor:
    """See `gan_zoo_kernels.random_warp`; the arguments are trusted here."""
    dtype = compute_dtype(images)
    columns = iter(() if values is None else values.to(dtype).unbind(1))
    arguments: dict[str, Tensor] = {}
    if steps.flip:
        arguments["mirror"] = next(columns) < steps.flip
    if steps.scale:
        arguments["factor"] = next(columns).exp()
    if steps.height:
        arguments["stretch"] = next(columns).exp()
    if steps.shear:
        arguments["slant"] = next(columns)
    if steps.rotate:
        arguments["angle"] = next(columns)
    if steps.shift and values is not None:
        arguments["offset"] = values[:, -2:].to(dtype)
    if steps.elastic and normals is not None:
        arguments["bend"] = (steps.elastic * normals.to(dtype)).reshape(-1, 2, PLACES, PLACES)
    return warp(images, **arguments)


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
        images: [n, c, h, w]. Turns and slants are those of a square: others are stretched to one and back.
        mirror: bool [n]; whether left and right change places.
        factor: [n]; above 1 what is seen grows.
        stretch: [n]; above 1 what is seen grows in height alone.
        slant: [n]; columns to the right for every row down.
        angle: [n], in radians; positive turns clockwise as the image is seen.
        offset: [n, 2], in shares of the width and the height: right and down.
        bend: [n, 2, k, k], in the same shares: how far to the right and down of each place its content lies,
            at k by k places spread over the image; between them it varies smoothly.

    Returns:
        [n, c, h, w] in the images' dtype.
    """
    with torch.autocast(images.device.type, enabled=False):  # bfloat16 is too coarse for places
        whole = images.to(compute_dtype(images))
        grid = _grid(whole, mirror, factor, stretch, slant, angle, offset, bend)
        warped: Tensor = _Resample.apply(whole, grid)  # type: ignore[no-untyped-call]
    return warped.to(images.dtype)


def _grid(
    images: Tensor,
    mirror: PerImage,
    factor: PerImage,
    stretch: PerImage,
    slant: PerImage,
    angle: PerImage,
    offset: PerImage,
    bend: PerImage,
) -> Tensor:
    """Where each place of the result comes from, [n, h, w, 2]: the steps undone, in reverse order."""
    n, _, h, w = images.shape
    if angle is None:
        back = torch.eye(2, dtype=images.dtype, device=images.device).expand(n, 2, 2)
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
    x, y = _centres(w, images), _centres(h, images)
    if offset is not None:
        x, y = torch.sub(x, offset[:, :1], alpha=2), torch.sub(y, offset[:, 1:], alpha=2)
    rows = y[..., :, None] * back[:, None, :, 1]
    places = torch.addcmul(rows[:, :, None], x[..., None, :, None], back[:, None, None, :, 0])
    if bend is not None:
        smooth = interpolate(bend, (h, w), mode="bicubic", align_corners=True)
        places = places.add(smooth.permute(0, 2, 3, 1), alpha=2)
    return places


def _centres(pixels: int, images: Tensor) -> Tensor:
    """The centres of pixels side by side that span -1 to 1, [pixels]."""
    edge = 1 - 1 / pixels
    return torch.linspace(-edge, edge, pixels, dtype=images.dtype, device=images.device)


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
