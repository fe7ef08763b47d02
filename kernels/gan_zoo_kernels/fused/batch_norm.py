"""Batch norm with leaky ReLU: one launch forward and one backward for lots of up to 1,024 rows, else two and two.

The first of the two leaves partial sums, the second adds them up and normalises. A row is all channels of one image or
of one pixel. Only x and each lot's mean and scale are kept for the backward pass.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .batch_norm_backward_kernels import (
    batch_norm_apply_backward_kernel,
    batch_norm_backward_kernel,
    batch_norm_sums_kernel,
)
from .batch_norm_kernels import batch_norm_apply_kernel, batch_norm_forward_kernel, batch_norm_moments_kernel
from .launches import launch, warp_size
from .operators import once_differentiable, register
from .tiles import Tile, next_power_of_two

REGISTER_ROWS = 1_024  # most rows of a lot that one program holds in registers
TILE = Tile(rows=128, columns=32, warps=8)  # of the two-launch form, with warps of 32 threads
MAX_PARTS = 128  # of a lot: every program of the second launch reads the partial sums of them all


class Shape(NamedTuple):
    """x as rows: `lots` lots of `rows` rows, the last of `last`."""

    rows: int
    last: int
    lots: int
    channels: int


def shape_of(x: Tensor, rows: int) -> Shape:
    """Of x [n, C] or [n, C, h, w] in lots of `rows` images."""
    images, channels = x.shape[:2]
    pixels = x.shape[2] * x.shape[3] if x.ndim == 4 else 1
    lots = -(-images // rows)
    return Shape(rows * pixels, (images - (lots - 1) * rows) * pixels, lots, channels)


def register_tile(rows: int) -> Tile:
    """All rows of a lot, 16 values a thread; 512 threads at most, for more have too few registers."""
    height = max(32, next_power_of_two(rows))
    width = 16 if height <= 256 else 8
    return Tile(height, width, height * width // 16 // warp_size())


def span_of(rows: int) -> int:
    """Rows of a part: a multiple of a tile's."""
    tiles = -(-rows // TILE.rows)
    return -(-tiles // MAX_PARTS) * TILE.rows


def _fake_forward(x: Tensor, weight: Tensor, bias: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), x.new_empty((-(-x.shape[0] // rest[2]), 2, x.shape[1]), dtype=torch.float32)


@register("batch_norm", _fake_forward, mutates=("running_mean", "running_var"))
def forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    rows: int,
    momentum: float,
    eps: float,
    slope: float,
) -> tuple[Tensor, Tensor]:
    """y like x, and each lot's mean and scale [lots, 2, C]; the running statistics are updated in place."""
    shape = shape_of(x, min(rows, x.shape[0]))
    y, stats = torch.empty_like(x), x.new_empty((shape.lots, 2, shape.channels), dtype=torch.float32)
    running = (stats, stats) if running_mean is None or running_var is None else (running_mean, running_var)
    tensors = (x, y, weight, bias, *running, stats)
    options = {"MOMENTUM": momentum, "EPS": eps, "SLOPE": slope, "RECORDED": running_mean is not None}
    if shape.rows <= REGISTER_ROWS:
        _launch_in_registers(batch_norm_forward_kernel, shape, tensors, options)
        return y, stats
    partials = _launch_parts(batch_norm_moments_kernel, shape, (x,), {})
    _launch_apply(batch_norm_apply_kernel, shape, (*tensors, partials), options)
    return y, stats


@register("batch_norm_backward", lambda upstream, x, weight, bias, *rest: _empty_gradients(x, weight, bias, rest[-1]))
def backward(
    upstream: Tensor, x: Tensor, weight: Tensor, bias: Tensor, stats: Tensor, rows: int, slope: float, trained: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients in x, weight and bias; empty tensors for weight and bias unless they are `trained`."""
    shape = shape_of(x, min(rows, x.shape[0]))
    gradients = _empty_gradients(x, weight, bias, trained)
    read = (x, upstream, weight, bias, stats)
    if shape.rows <= REGISTER_ROWS:
        _launch_in_registers(
            batch_norm_backward_kernel, shape, (*read, *gradients), {"SLOPE": slope, "TRAINED": trained}
        )
        return gradients
    partials = _launch_parts(batch_norm_sums_kernel, shape, read, {"SLOPE": slope})
    tensors = (*read, partials, *gradients)
    _launch_apply(batch_norm_apply_backward_kernel, shape, tensors, {"SLOPE": slope, "TRAINED": trained})
    return gradients


def _launch_in_registers(kernel: Any, shape: Shape, tensors: tuple[Tensor, ...], options: dict[str, Any]) -> None:
    tile = register_tile(shape.rows)
    programs = -(-shape.channels // tile.columns)
    launch(
        kernel, programs, tensors[0], *tensors, *shape[:3],
        **options, CHANNELS=shape.channels, ROWS=tile.rows, COLUMNS=tile.columns, num_warps=tile.warps,
    )  # fmt: skip


def _launch_parts(kernel: Any, shape: Shape, tensors: tuple[Tensor, ...], options: dict[str, Any]) -> Tensor:
    """Partial results [lots, 2, parts, C] of `tensors`."""
    parts = -(-shape.rows // span_of(shape.rows))
    partials = tensors[0].new_empty((shape.lots, 2, parts, shape.channels), dtype=torch.float32)
    _launch_tiles(kernel, shape, (*tensors, partials), options)
    return partials


def _launch_apply(kernel: Any, shape: Shape, tensors: tuple[Tensor, ...], options: dict[str, Any]) -> None:
    parts = -(-shape.rows // span_of(shape.rows))
    _launch_tiles(kernel, shape, tensors, {**options, "PADDED_PARTS": next_power_of_two(parts)})


def _launch_tiles(kernel: Any, shape: Shape, tensors: tuple[Tensor, ...], options: dict[str, Any]) -> None:
    span = span_of(shape.rows)
    parts = -(-shape.rows // span)
    programs = shape.lots * parts * -(-shape.channels // TILE.columns)
    launch(
        kernel, programs, tensors[0], *tensors, *shape[:3], parts, span,
        **options, CHANNELS=shape.channels, ROWS=TILE.rows, COLUMNS=TILE.columns,
        num_warps=TILE.warps * 32 // warp_size(),
    )  # fmt: skip


def _empty_gradients(x: Tensor, weight: Tensor, bias: Tensor, trained: bool) -> tuple[Tensor, Tensor, Tensor]:
    of_weight, of_bias = (t.new_empty(t.shape if trained else (0,)) for t in (weight, bias))
    return torch.empty_like(x), of_weight, of_bias


class _Differentiable(torch.autograd.Function):
    """y as it was computed, with its gradients in the first three of `saved`: x, weight and bias; the last is stats."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, rows: int, slope: float, *saved: Tensor) -> Tensor:
        ctx.save_for_backward(*saved)
        ctx.options = (rows, slope)
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        saved, wanted = ctx.saved_tensors, ctx.needs_input_grad[3:6]
        gradients = backward(in_rows(upstream[0]), *saved, *ctx.options, wanted[1] or wanted[2])
        guarded = (
            once_differentiable(gradient, upstream[0], *saved[:3]) if want else None
            for gradient, want in zip(gradients, wanted, strict=True)
        )
        return None, None, None, *guarded, None


def in_rows(x: Tensor) -> Tensor:
    """x itself where its memory is rows of channels, else a copy."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x.contiguous()


def batch_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    rows: int,
    momentum: float,
    eps: float,
    slope: float,
) -> Tensor:
    """See `gan_zoo_kernels.batch_norm`; the arguments are trusted here."""
    sources = (x, weight.contiguous(), bias.contiguous())
    with torch.no_grad():
        y, stats = forward(*sources, running_mean, running_var, rows, momentum, eps, slope)
    if torch.is_grad_enabled() and any(t.requires_grad for t in sources):
        y = _Differentiable.apply(y, rows, slope, *sources, stats)  # type: ignore[no-untyped-call]
    return y
