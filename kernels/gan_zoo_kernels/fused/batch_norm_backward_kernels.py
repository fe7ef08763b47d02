"""Device code of the backward pass of batch norm with leaky ReLU; shapes as in `batch_norm_kernels`.

partials holds Σ d and Σ d · x̂ of each part, d the gradient above the leaky ReLU.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .batch_norm_kernels import (
    divided,
    first_of,
    live_rows,
    load_parts,
    locate,
    normal_and_output,
    offsets_in_tile,
    per_channel,
    store_part,
    store_per_channel,
)


@triton.jit
def above_activation(upstream, z, SLOPE: tl.constexpr):
    """The gradient in z."""
    if SLOPE != 1.0:
        upstream = tl.where(z > 0.0, upstream, upstream * SLOPE)
    return upstream


@triton.jit
def gradient_of_x(d, normal, sum_d, sum_d_normal, scale, w, count):
    """The gradient in x, of d, the gradient in z = w x̂ + b with x̂ = (x - mean) · scale.

    Mean and variance depend on every row: ∂x̂_j/∂x_i = scale ([i = j] - 1 / n - x̂_i x̂_j / n). Summed over j with w d_j,
    that is w scale (d_i - Σ d / n - x̂_i Σ d x̂ / n).
    """
    rows = count.to(tl.float32)
    rest = d - divided(sum_d, rows)[None, :] - normal * divided(sum_d_normal, rows)[None, :]
    return rest * (scale * w)[None, :]


@triton.jit(do_not_specialize=["rows", "last", "lots"])
def batch_norm_backward_kernel(
    x, upstream, weight, bias, stats, d_x, d_weight, d_bias, rows, last, lots,
    SLOPE: tl.constexpr, TRAINED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Gradients of all lots of COLUMNS channels; those of weight and bias only where they are TRAINED."""
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    row = tl.arange(0, ROWS)
    at = offsets_in_tile(column, CHANNELS, ROWS)
    w = per_channel(weight, column, CHANNELS)
    b = per_channel(bias, column, CHANNELS)
    of_weight = tl.zeros((COLUMNS,), tl.float32)
    of_bias = tl.zeros((COLUMNS,), tl.float32)
    for lot in range(lots):
        count = tl.where(lot == lots - 1, last, rows)
        live = live_rows(row, count, column, CHANNELS)
        start = first_of(lot, rows, 0, CHANNELS)
        mean = per_channel(stats + 2 * lot * CHANNELS, column, CHANNELS)
        scale = per_channel(stats + (2 * lot + 1) * CHANNELS, column, CHANNELS)
        v = tl.load(x + start + at, live, 0.0).to(tl.float32)
        d = tl.load(upstream + start + at, live, 0.0).to(tl.float32)  # 0 where not live, and so is d · x̂
        normal, z = normal_and_output(v, mean, scale, w, b)
        d = above_activation(d, z, SLOPE)
        sum_d = tl.sum(d, axis=0)
        sum_d_normal = tl.sum(d * normal, axis=0)
        gradient = gradient_of_x(d, normal, sum_d, sum_d_normal, scale, w, count)
        tl.store(d_x + start + at, gradient.to(d_x.dtype.element_ty), live)
        of_weight += sum_d_normal
        of_bias += sum_d
    if TRAINED:
        store_per_channel(d_weight, of_weight, column, CHANNELS)
        store_per_channel(d_bias, of_bias, column, CHANNELS)


@triton.jit(do_not_specialize=["rows", "last", "lots", "parts", "span"])
def batch_norm_sums_kernel(
    x, upstream, weight, bias, stats, partials, rows, last, lots, parts, span,
    SLOPE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Σ d and Σ d · x̂ of one part, d the gradient above the leaky ReLU."""
    column, part, lot, count = locate(rows, last, lots, CHANNELS, parts, COLUMNS)
    at = offsets_in_tile(column, CHANNELS, ROWS)
    w = per_channel(weight, column, CHANNELS)
    b = per_channel(bias, column, CHANNELS)
    mean = per_channel(stats + 2 * lot * CHANNELS, column, CHANNELS)
    scale = per_channel(stats + (2 * lot + 1) * CHANNELS, column, CHANNELS)
    sum_d = tl.zeros((COLUMNS,), tl.float32)
    sum_d_normal = tl.zeros((COLUMNS,), tl.float32)
    for first in range(part * span, tl.minimum(count, (part + 1) * span), ROWS):
        row = first + tl.arange(0, ROWS)
        live = live_rows(row, count, column, CHANNELS)
        start = first_of(lot, rows, first, CHANNELS)
        v = tl.load(x + start + at, live, 0.0).to(tl.float32)
        d = tl.load(upstream + start + at, live, 0.0).to(tl.float32)
        normal, z = normal_and_output(v, mean, scale, w, b)
        d = above_activation(d, z, SLOPE)
        sum_d += tl.sum(d, axis=0)
        sum_d_normal += tl.sum(d * normal, axis=0)
    store_part(partials, 0, lot, parts, part, sum_d, column, CHANNELS)
    store_part(partials, 1, lot, parts, part, sum_d_normal, column, CHANNELS)


@triton.jit(do_not_specialize=["rows", "last", "lots", "parts", "span"])
def batch_norm_apply_backward_kernel(
    x, upstream, weight, bias, stats, partials, d_x, d_weight, d_bias, rows, last, lots, parts, span,
    SLOPE: tl.constexpr, TRAINED: tl.constexpr, PADDED_PARTS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    CHANNELS: tl.constexpr,
):  # fmt: skip
    """The gradient in x of one part; the first program of all adds up those of weight and bias."""
    column, part, lot, count = locate(rows, last, lots, CHANNELS, parts, COLUMNS)
    at = offsets_in_tile(column, CHANNELS, ROWS)
    if TRAINED:
        if (part == 0) & (lot == 0):
            of_weight = tl.zeros((COLUMNS,), tl.float32)
            of_bias = tl.zeros((COLUMNS,), tl.float32)
            for k in range(lots):
                of_bias += tl.sum(load_parts(partials, 0, k, parts, column, CHANNELS, PADDED_PARTS), axis=0)
                of_weight += tl.sum(load_parts(partials, 1, k, parts, column, CHANNELS, PADDED_PARTS), axis=0)
            store_per_channel(d_weight, of_weight, column, CHANNELS)
            store_per_channel(d_bias, of_bias, column, CHANNELS)
    sum_d = tl.sum(load_parts(partials, 0, lot, parts, column, CHANNELS, PADDED_PARTS), axis=0)
    sum_d_normal = tl.sum(load_parts(partials, 1, lot, parts, column, CHANNELS, PADDED_PARTS), axis=0)
    w = per_channel(weight, column, CHANNELS)
    b = per_channel(bias, column, CHANNELS)
    mean = per_channel(stats + 2 * lot * CHANNELS, column, CHANNELS)
    scale = per_channel(stats + (2 * lot + 1) * CHANNELS, column, CHANNELS)
    for first in range(part * span, tl.minimum(count, (part + 1) * span), ROWS):
        row = first + tl.arange(0, ROWS)
        live = live_rows(row, count, column, CHANNELS)
        start = first_of(lot, rows, first, CHANNELS)
        v = tl.load(x + start + at, live, 0.0).to(tl.float32)
        d = tl.load(upstream + start + at, live, 0.0).to(tl.float32)
        normal, z = normal_and_output(v, mean, scale, w, b)
        d = above_activation(d, z, SLOPE)
        gradient = gradient_of_x(d, normal, sum_d, sum_d_normal, scale, w, count)
        tl.store(d_x + start + at, gradient.to(d_x.dtype.element_ty), live)
