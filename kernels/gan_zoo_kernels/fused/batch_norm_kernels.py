"""Device code of batch norm with leaky ReLU; `batch_norm` launches it.

x is rows [lots × rows, C] in memory; the last lot has `last` rows, all others `rows`. stats [lots, 2, C] holds each
lot's mean and 1 / √(variance + eps). partials [lots, 2, parts, C] holds two numbers of each part of `span` rows.
Variances are sums of squared deviations: E[x²] - E[x]² would cancel where the mean is large.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def per_channel(pointer, column, CHANNELS: tl.constexpr):
    return tl.load(pointer + column, column < CHANNELS, 0.0).to(tl.float32)


@triton.jit
def store_per_channel(pointer, value, column, CHANNELS: tl.constexpr):
    tl.store(pointer + column, value.to(pointer.dtype.element_ty), column < CHANNELS)


@triton.jit
def live_rows(row, count, column, CHANNELS: tl.constexpr):
    return (row < count)[:, None] & (column < CHANNELS)[None, :]


@triton.jit
def first_of(lot, rows, first, CHANNELS: tl.constexpr):
    """Offset of row `first` of a lot."""
    return (lot * rows + first).to(tl.int64) * CHANNELS


@triton.jit
def offsets_in_tile(column, CHANNELS: tl.constexpr, ROWS: tl.constexpr):
    return tl.arange(0, ROWS)[:, None] * CHANNELS + column[None, :]


@triton.jit
def divided(sums, count):
    return tl.div_rn(sums, tl.zeros_like(sums) + count)


@triton.jit
def moments(v, live, count):
    """Mean and sum of squared deviations of the `count` live values of each column; v is 0 where not live."""
    mean = divided(tl.sum(v, axis=0), tl.maximum(count, 1).to(tl.float32))
    deviation = tl.where(live, v - mean[None, :], 0.0)
    return mean, tl.sum(deviation * deviation, axis=0)


@triton.jit
def scale_of(squares, count, EPS: tl.constexpr):
    """1 / √(variance + eps)."""
    return divided(tl.zeros_like(squares) + 1.0, tl.sqrt_rn(divided(squares, count.to(tl.float32)) + EPS))


@triton.jit
def average(mean, variance, new_mean, squares, count, MOMENTUM: tl.constexpr):
    """The running mean and the running, unbiased variance after a lot."""
    new_variance = divided(squares, (count - 1).to(tl.float32))
    mean = (1.0 - MOMENTUM) * mean + MOMENTUM * new_mean
    return mean, (1.0 - MOMENTUM) * variance + MOMENTUM * new_variance


@triton.jit
def normal_and_output(v, mean, scale, w, b):
    """x̂ and what the leaky ReLU acts on; forward and backward passes round it alike."""
    normal = (v - mean[None, :]) * scale[None, :]
    return normal, normal * w[None, :] + b[None, :]


@triton.jit
def activated(z, SLOPE: tl.constexpr):
    if SLOPE == 0.0:
        z = tl.where(z <= 0.0, 0.0, z)  # NaN stays NaN
    elif SLOPE != 1.0:
        z = tl.where(z > 0.0, z, z * SLOPE)
    return z


@triton.jit(do_not_specialize=["rows", "last", "lots"])
def batch_norm_forward_kernel(
    x, y, weight, bias, running_mean, running_var, stats, rows, last, lots,
    MOMENTUM: tl.constexpr, EPS: tl.constexpr, SLOPE: tl.constexpr, RECORDED: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """All lots of COLUMNS channels, one lot after the other, each held in registers."""
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    row = tl.arange(0, ROWS)
    at = offsets_in_tile(column, CHANNELS, ROWS)
    w = per_channel(weight, column, CHANNELS)
    b = per_channel(bias, column, CHANNELS)
    if RECORDED:
        known_mean = per_channel(running_mean, column, CHANNELS)
        known_var = per_channel(running_var, column, CHANNELS)
    for lot in range(lots):
        count = tl.where(lot == lots - 1, last, rows)
        live = live_rows(row, count, column, CHANNELS)
        start = first_of(lot, rows, 0, CHANNELS)
        v = tl.load(x + start + at, live, 0.0).to(tl.float32)
        mean, squares = moments(v, live, count)
        scale = scale_of(squares, count, EPS)
        _, z = normal_and_output(v, mean, scale, w, b)
        tl.store(y + start + at, activated(z, SLOPE).to(y.dtype.element_ty), live)
        store_per_channel(stats + 2 * lot * CHANNELS, mean, column, CHANNELS)
        store_per_channel(stats + (2 * lot + 1) * CHANNELS, scale, column, CHANNELS)
        if RECORDED:
            known_mean, known_var = average(known_mean, known_var, mean, squares, count, MOMENTUM)
    if RECORDED:
        store_per_channel(running_mean, known_mean, column, CHANNELS)
        store_per_channel(running_var, known_var, column, CHANNELS)


@triton.jit
def locate(rows, last, lots, CHANNELS: tl.constexpr, parts, COLUMNS: tl.constexpr):
    """This program's channels, part and lot, and the rows of its lot; programs of neighbouring channels are next."""
    blocks = tl.cdiv(CHANNELS, COLUMNS)
    program = tl.program_id(0)
    column = program % blocks * COLUMNS + tl.arange(0, COLUMNS)
    part = program // blocks % parts
    lot = program // blocks // parts
    return column, part, lot, tl.where(lot == lots - 1, last, rows)


@triton.jit
def load_parts(partials, which, lot, parts, column, CHANNELS: tl.constexpr, PADDED_PARTS: tl.constexpr):
    """[PADDED_PARTS, COLUMNS]: one of the two numbers of every part of a lot."""
    part = tl.arange(0, PADDED_PARTS)
    at = ((lot * 2 + which) * parts + part).to(tl.int64)[:, None] * CHANNELS + column[None, :]
    return tl.load(partials + at, live_rows(part, parts, column, CHANNELS), 0.0)


@triton.jit
def store_part(partials, which, lot, parts, part, value, column, CHANNELS: tl.constexpr):
    at = ((lot * 2 + which) * parts + part).to(tl.int64) * CHANNELS + column
    tl.store(partials + at, value, column < CHANNELS)


@triton.jit
def joined_moments(partials, lot, count, parts, span, column, CHANNELS: tl.constexpr, PADDED_PARTS: tl.constexpr):
    """Mean and sum of squared deviations of a lot, of those of its parts (Chan, Golub & LeVeque, 1979)."""
    sizes = tl.minimum(tl.maximum(count - tl.arange(0, PADDED_PARTS) * span, 0), span).to(tl.float32)[:, None]
    means = load_parts(partials, 0, lot, parts, column, CHANNELS, PADDED_PARTS)
    squares = load_parts(partials, 1, lot, parts, column, CHANNELS, PADDED_PARTS)
    mean = divided(tl.sum(means * sizes, axis=0), count.to(tl.float32))
    deviation = means - mean[None, :]
    return mean, tl.sum(squares + sizes * deviation * deviation, axis=0)


@triton.jit(do_not_specialize=["rows", "last", "lots", "parts", "span"])
def batch_norm_moments_kernel(
    x, partials, rows, last, lots, parts, span,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Mean and sum of squared deviations of one part, joined tile after tile by Chan's formula."""
    column, part, lot, count = locate(rows, last, lots, CHANNELS, parts, COLUMNS)
    at = offsets_in_tile(column, CHANNELS, ROWS)
    mean = tl.zeros((COLUMNS,), tl.float32)
    squares = tl.zeros((COLUMNS,), tl.float32)
    end = tl.minimum(count, (part + 1) * span)
    for first in range(part * span, end, ROWS):
        row = first + tl.arange(0, ROWS)
        live = live_rows(row, count, column, CHANNELS)
        v = tl.load(x + first_of(lot, rows, first, CHANNELS) + at, live, 0.0).to(tl.float32)
        # Of n_old rows with mean m and n_new with mean m': the mean moves by (m' - m) n_new / (n_old + n_new), and the
        # squares grow by those of the new rows and (m' - m)² n_old n_new / (n_old + n_new).
        new = tl.minimum(end - first, ROWS)
        new_mean, new_squares = moments(v, live, new)
        old = (first - part * span).to(tl.float32)
        share = new.to(tl.float32) / (old + new.to(tl.float32))
        step = new_mean - mean
        mean += step * share
        squares += new_squares + step * step * (old * share)
    store_part(partials, 0, lot, parts, part, mean, column, CHANNELS)
    store_part(partials, 1, lot, parts, part, squares, column, CHANNELS)


@triton.jit(do_not_specialize=["rows", "last", "lots", "parts", "span"])
def batch_norm_apply_kernel(
    x, y, weight, bias, running_mean, running_var, stats, partials, rows, last, lots, parts, span,
    MOMENTUM: tl.constexpr, EPS: tl.constexpr, SLOPE: tl.constexpr, RECORDED: tl.constexpr,
    PADDED_PARTS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """The output of one part. The first program of a lot stores its statistics, the first of all the running ones."""
    column, part, lot, count = locate(rows, last, lots, CHANNELS, parts, COLUMNS)
    at = offsets_in_tile(column, CHANNELS, ROWS)
    mean, squares = joined_moments(partials, lot, count, parts, span, column, CHANNELS, PADDED_PARTS)
    scale = scale_of(squares, count, EPS)
    if part == 0:
        store_per_channel(stats + 2 * lot * CHANNELS, mean, column, CHANNELS)
        store_per_channel(stats + (2 * lot + 1) * CHANNELS, scale, column, CHANNELS)
        if RECORDED:
            if lot == 0:
                known_mean = per_channel(running_mean, column, CHANNELS)
                known_var = per_channel(running_var, column, CHANNELS)
                for k in range(lots):
                    n = tl.where(k == lots - 1, last, rows)
                    lot_mean, lot_squares = joined_moments(partials, k, n, parts, span, column, CHANNELS, PADDED_PARTS)
                    known_mean, known_var = average(known_mean, known_var, lot_mean, lot_squares, n, MOMENTUM)
                store_per_channel(running_mean, known_mean, column, CHANNELS)
                store_per_channel(running_var, known_var, column, CHANNELS)
    w = per_channel(weight, column, CHANNELS)
    b = per_channel(bias, column, CHANNELS)
    for first in range(part * span, tl.minimum(count, (part + 1) * span), ROWS):
        row = first + tl.arange(0, ROWS)
        live = live_rows(row, count, column, CHANNELS)
        start = first_of(lot, rows, first, CHANNELS)
        v = tl.load(x + start + at, live, 0.0).to(tl.float32)
        _, z = normal_and_output(v, mean, scale, w, b)
        tl.store(y + start + at, activated(z, SLOPE).to(y.dtype.element_ty), live)
