"""The random geometric warp of a batch of images, from the draws to the resampled pixels, in one launch.

A program takes a block of pixels of one image, all channels. It composes its image's matrix from the image's
values, which costs less than a launch that would do it once an image. Coordinates are in pixels from the image's
centre, so that draws of zero return the image exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..reference_warp import PLACES, WarpSteps
from .launches import launch
from .mathematics import exp
from .operators import register

BLOCK = 256  # pixels; an image of 28 by 28 is four programs, a batch of 128 of these fills a large GPU
WARPS = 4
CUBIC = tl.constexpr(-0.75)  # torch's parameter of the cubic convolution


@triton.jit
def cubic_weight(distance):
    """Weight of a place at this distance ≥ 0, in steps between places (Keys, 1981, equation 4)."""
    near = ((CUBIC + 2.0) * distance - (CUBIC + 3.0)) * distance * distance + 1.0
    far = ((CUBIC * distance - 5.0 * CUBIC) * distance + 8.0 * CUBIC) * distance - 4.0 * CUBIC
    return tl.where(distance <= 1.0, near, tl.where(distance < 2.0, far, 0.0))


@triton.jit
def place_weights(at):
    """Weights of four places, whose ends are repeated outwards, at coordinate `at` in [0, 3]."""
    first = cubic_weight(at) + cubic_weight(at + 1.0)
    last = cubic_weight(tl.abs(3.0 - at)) + cubic_weight(4.0 - at)  # rounding may put `at` an ulp above 3
    return first, cubic_weight(tl.abs(at - 1.0)), cubic_weight(tl.abs(at - 2.0)), last


@triton.jit
def displacement(bend, stride, down, across, BLOCK: tl.constexpr):
    """The bicubic displacement (to the right, down) at coordinates in steps between four by four places."""
    rows = place_weights(down)
    first, second, third, last = place_weights(across)
    bend_x = tl.zeros((BLOCK,), tl.float32)
    bend_y = tl.zeros((BLOCK,), tl.float32)
    for i in tl.static_range(4):
        x = bend + 4 * i * stride
        y = x + 16 * stride
        line_x = first * tl.load(x) + second * tl.load(x + stride)
        line_x += third * tl.load(x + 2 * stride) + last * tl.load(x + 3 * stride)
        line_y = first * tl.load(y) + second * tl.load(y + stride)
        line_y += third * tl.load(y + 2 * stride) + last * tl.load(y + 3 * stride)
        bend_x += rows[i] * line_x
        bend_y += rows[i] * line_y
    return bend_x, bend_y


@triton.jit
def undone(
    value, stride, flip,
    FLIP: tl.constexpr, SCALE: tl.constexpr, HEIGHT: tl.constexpr, SHEAR: tl.constexpr, ROTATE: tl.constexpr,
):  # fmt: skip
    """The matrix (xx, xy, yx, yy) that undoes an image's steps, in reverse order."""
    xx = tl.full((), 1.0, tl.float32)
    xy = tl.full((), 0.0, tl.float32)
    yx = tl.full((), 0.0, tl.float32)
    yy = tl.full((), 1.0, tl.float32)
    if FLIP:
        xx = tl.where(tl.load(value) < flip, -1.0, 1.0)
        value += stride
    if SCALE:
        shrunk = exp(-tl.load(value))
        xx *= shrunk
        yy *= shrunk
        value += stride
    if HEIGHT:
        yy *= exp(-tl.load(value))
        value += stride
    if SHEAR:
        xy = -xx * tl.load(value)
        value += stride
    if ROTATE:
        angle = tl.load(value)
        cosine = tl.cos(angle)
        sine = tl.sin(angle)
        turned = xx * cosine - xy * sine
        xy = xx * sine + xy * cosine
        xx = turned
        yx = -yy * sine
        yy = yy * cosine
    return xx, xy, yx, yy


@triton.jit
def random_warp_kernel(
    images, normals, values, out,
    image_stride, channel_stride, row_stride, column_stride,
    out_image_stride, out_channel_stride, out_row_stride, out_column_stride,
    normal_row_stride, normal_stride, value_row_stride, value_stride,
    flip, elastic, row_step, column_step,
    FLIP: tl.constexpr, SCALE: tl.constexpr, HEIGHT: tl.constexpr, SHEAR: tl.constexpr, ROTATE: tl.constexpr,
    SHIFT: tl.constexpr, ELASTIC: tl.constexpr,
    C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, BLOCKS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    image = (tl.program_id(0) // BLOCKS).to(tl.int64)
    pixel = tl.program_id(0) % BLOCKS * BLOCK + tl.arange(0, BLOCK)
    live = pixel < H * W
    row = pixel // W
    column = pixel % W
    value = values + image * value_row_stride

    # Load before the sine: the compiler moves no load across its branch for huge angles.
    x = column.to(tl.float32) - 0.5 * (W - 1)
    y = row.to(tl.float32) - 0.5 * (H - 1)
    if SHIFT:
        right = value + (FLIP + SCALE + HEIGHT + SHEAR + ROTATE) * value_stride
        x -= tl.load(right) * W
        y -= tl.load(right + value_stride) * H
    from_x = tl.zeros((BLOCK,), tl.float32) + 0.5 * (W - 1)
    from_y = tl.zeros((BLOCK,), tl.float32) + 0.5 * (H - 1)
    if ELASTIC:
        bend_x, bend_y = displacement(
            normals + image * normal_row_stride, normal_stride, row * row_step, column * column_step, BLOCK
        )
        from_x += bend_x * (elastic * W)
        from_y += bend_y * (elastic * H)

    xx, xy, yx, yy = undone(value, value_stride, flip, FLIP, SCALE, HEIGHT, SHEAR, ROTATE)
    # The matrix is that of a square: coordinates are stretched to one and back.
    from_x += xx * x + xy * (W / H) * y
    from_y += yx * (H / W) * x + yy * y

    from_x = tl.minimum(tl.maximum(from_x, 0.0), W - 1.0)  # what lies outside continues the edge
    from_y = tl.minimum(tl.maximum(from_y, 0.0), H - 1.0)
    # Bilinear: four neighbours, weighted by the shares of a pixel that separate them from the source.
    left = tl.floor(from_x)
    top = tl.floor(from_y)
    right_share = from_x - left
    low_share = from_y - top
    has_right = live & (left < W - 1)
    has_low = live & (top < H - 1)
    corner = images + image * image_stride + top.to(tl.int32) * row_stride + left.to(tl.int32) * column_stride
    to = out + image * out_image_stride + row * out_row_stride + column * out_column_stride
    for c in tl.static_range(C):
        at = corner + c * channel_stride
        seen = tl.load(at, live, 0.0).to(tl.float32) * ((1.0 - right_share) * (1.0 - low_share))
        seen += tl.load(at + column_stride, has_right, 0.0).to(tl.float32) * (right_share * (1.0 - low_share))
        seen += tl.load(at + row_stride, has_low, 0.0).to(tl.float32) * ((1.0 - right_share) * low_share)
        diagonal = tl.load(at + row_stride + column_stride, has_right & has_low, 0.0).to(tl.float32)
        seen += diagonal * (right_share * low_share)
        tl.store(to + c * out_channel_stride, seen.to(out.dtype.element_ty), live)


@register("random_warp", lambda images, *_: torch.empty_like(images))
def forward(images: Tensor, normals: Tensor | None, values: Tensor | None, steps: Sequence[float]) -> Tensor:
    """The warped images, dense and laid out as the images are; `steps` are the numbers of `WarpSteps`."""
    out = torch.empty_like(images)
    if images.numel() == 0:
        return out
    n, channels, height, width = images.shape
    flip, scale, tall, shear, rotate, shift, elastic = steps
    blocks = -(-height * width // BLOCK)
    launch(
        random_warp_kernel, n * blocks, images,
        images, images if normals is None else normals, images if values is None else values, out,
        *images.stride(), *out.stride(), *((0, 0) if normals is None else normals.stride()),
        *((0, 0) if values is None else values.stride()),
        flip, elastic, (PLACES - 1) / max(1, height - 1), (PLACES - 1) / max(1, width - 1),
        FLIP=flip > 0, SCALE=bool(scale), HEIGHT=bool(tall), SHEAR=bool(shear), ROTATE=bool(rotate),
        SHIFT=bool(shift), ELASTIC=elastic > 0,
        C=channels, H=height, W=width, BLOCKS=blocks, BLOCK=BLOCK, num_warps=WARPS,
    )  # fmt: skip
    return out


def random_warp(images: Tensor, normals: Tensor | None, values: Tensor | None, steps: WarpSteps) -> Tensor:
    """See `gan_zoo_kernels.random_warp`; the arguments are trusted here, and the images need no gradient."""
    return forward(images, normals, values, steps.numbers)
