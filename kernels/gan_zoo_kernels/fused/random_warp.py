"""The random geometric warp of a batch of images, from the draws to the resampled pixels, in one launch.

A program takes a block of pixels of one image, all channels. It composes its image's matrix from the image's
draws, which costs less than a launch that would do it once an image. Coordinates are in pixels from the image's
centre, so that a warp by nothing gives the image back exactly.
"""

from __future__ import annotations

import math
from dataclasses import astuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..reference_warp import PLACES, WarpAmounts
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
def random_warp_kernel(
    images, normals, uniforms, out,
    image_stride, channel_stride, row_stride, column_stride,
    out_image_stride, out_channel_stride, out_row_stride, out_column_stride,
    normal_row_stride, normal_stride, uniform_row_stride, uniform_stride,
    flip, log_scale, log_height, shear, rotate, shift, elastic, row_step, column_step,
    FLIP: tl.constexpr, SCALE: tl.constexpr, HEIGHT: tl.constexpr, SHEAR: tl.constexpr, ROTATE: tl.constexpr,
    SHIFT: tl.constexpr, ELASTIC: tl.constexpr,
    C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, BLOCKS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    image = (tl.program_id(0) // BLOCKS).to(tl.int64)
    pixel = tl.program_id(0) % BLOCKS * BLOCK + tl.arange(0, BLOCK)
    live = pixel < H * W
    row = pixel // W
    column = pixel % W

    u = uniforms + image * uniform_row_stride

    # Whatever reads the draws stands before the sine, whose branch for huge angles no load is moved across.
    x = column.to(tl.float32) - 0.5 * (W - 1)
    y = row.to(tl.float32) - 0.5 * (H - 1)
    if SHIFT:
        right = u + (FLIP + SCALE + HEIGHT + SHEAR + ROTATE) * uniform_stride
        x -= (tl.load(right) * (2.0 * shift) - shift) * W
        y -= (tl.load(right + uniform_stride) * (2.0 * shift) - shift) * H
    from_x = tl.zeros((BLOCK,), tl.float32) + 0.5 * (W - 1)
    from_y = tl.zeros((BLOCK,), tl.float32) + 0.5 * (H - 1)
    if ELASTIC:
        bend_x, bend_y = displacement(
            normals + image * normal_row_stride, normal_stride, row * row_step, column * column_step, BLOCK
        )
        from_x += bend_x * (elastic * W)
        from_y += bend_y * (elastic * H)

    # The matrix [[xx, xy], [yx, yy]] that undoes the steps, in reverse order.
    xx = 1.0
    xy = 0.0
    yx = 0.0
    yy = 1.0
    if FLIP:
        xx = tl.where(tl.load(u) < flip, -1.0, 1.0)
        u += uniform_stride
    if SCALE:
        shrunk = exp(log_scale - tl.load(u) * (2.0 * log_scale))
        xx *= shrunk
        yy *= shrunk
        u += uniform_stride
    if HEIGHT:
        yy *= exp(log_height - tl.load(u) * (2.0 * log_height))
        u += uniform_stride
    if SHEAR:
        xy = xx * (shear - tl.load(u) * (2.0 * shear))
        u += uniform_stride
    if ROTATE:
        angle = tl.load(u) * (2.0 * rotate) - rotate
        cosine = tl.cos(angle)
        sine = tl.sin(angle)
        turned = xx * cosine - xy * sine
        xy = xx * sine + xy * cosine
        xx = turned
        yx = -yy * sine
        yy = yy * cosine
    from_x += xx * x + xy * (W / H) * y
    from_y += yx * (H / W) * x + yy * y

    from_x = tl.minimum(tl.maximum(from_x, 0.0), W - 1.0)  # what lies outside continues the edge
    from_y = tl.minimum(tl.maximum(from_y, 0.0), H - 1.0)
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
        value = tl.load(at, live, 0.0).to(tl.float32) * ((1.0 - right_share) * (1.0 - low_share))
        value += tl.load(at + column_stride, has_right, 0.0).to(tl.float32) * (right_share * (1.0 - low_share))
        value += tl.load(at + row_stride, has_low, 0.0).to(tl.float32) * ((1.0 - right_share) * low_share)
        diagonal = tl.load(at + row_stride + column_stride, has_right & has_low, 0.0).to(tl.float32)
        value += diagonal * (right_share * low_share)
        tl.store(to + c * out_channel_stride, value.to(out.dtype.element_ty), live)


def forward(images: Tensor, normals: Tensor | None, uniforms: Tensor | None, amounts: list[float]) -> Tensor:
    """The warped images, dense and laid out as the images are; `amounts` are those of `WarpAmounts`, in its order."""
    out = torch.empty_like(images)
    if images.numel() == 0:
        return out
    n, channels, height, width = images.shape
    flip, scale, tall, shear, rotate, shift, elastic = amounts
    blocks = -(-height * width // BLOCK)
    launch(
        random_warp_kernel,
        n * blocks,
        images,
        images,
        images if normals is None else normals,
        images if uniforms is None else uniforms,
        out,
        *images.stride(),
        *out.stride(),
        *((0, 0) if normals is None else normals.stride()),
        *((0, 0) if uniforms is None else uniforms.stride()),
        flip,
        math.log1p(scale),
        math.log1p(tall),
        shear,
        rotate,
        shift,
        elastic,
        (PLACES - 1) / max(1, height - 1),
        (PLACES - 1) / max(1, width - 1),
        FLIP=flip > 0,
        SCALE=scale > 0,
        HEIGHT=tall > 0,
        SHEAR=shear > 0,
        ROTATE=rotate > 0,
        SHIFT=shift > 0,
        ELASTIC=elastic > 0,
        C=channels,
        H=height,
        W=width,
        BLOCKS=blocks,
        BLOCK=BLOCK,
        num_warps=WARPS,
    )
    return out


_forward = register(
    "random_warp(Tensor images, Tensor? normals, Tensor? uniforms, float[] amounts) -> Tensor",
    forward,
    lambda images, normals, uniforms, amounts: torch.empty_like(images),
)


def random_warp(images: Tensor, normals: Tensor | None, uniforms: Tensor | None, amounts: WarpAmounts) -> Tensor:
    """See `gan_zoo_kernels.random_warp`; the arguments are trusted here, and the images need no gradient."""
    warped: Tensor = _forward(images, normals, uniforms, list(astuple(amounts)))
    return warped
