"""Device code of the information term's backward pass; shapes and roundings as in `information_kernels`."""

from __future__ import annotations

import triton
import triton.language as tl

from .information_kernels import activation


@triton.jit
def before_activation(
    upstream, slopes, normal, w, gain, shift, row, batch, column,
    SLOPE: tl.constexpr, HIDDEN: tl.constexpr, PADDED: tl.constexpr, OPERAND: tl.constexpr, DOT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """For a block of rows and columns: the gradient d in y = gain · x + shift, x = normal, the activations; and e, the
    gradient in the parameters [ROWS, PADDED].
    """
    p = tl.arange(0, PADDED)
    live = (row < batch)[:, None]
    e = tl.load(slopes + row[:, None] * PADDED + p[None, :], live, 0.0) * upstream
    x = tl.load(normal + row[:, None] * HIDDEN + column[None, :], live & (column < HIDDEN)[None, :], 0.0)
    y, slope = activation(x, gain[None, :], shift[None, :], SLOPE)
    # parameters = activation(y) @ wᵀ, so the gradient in the activations is e @ w
    d = tl.dot(e.to(OPERAND).to(DOT), w.to(OPERAND).to(DOT), input_precision=PRECISION)
    return d * slope, x, y, e


@triton.jit
def store_hidden_gradient(
    hidden, d, x, of_beta, of_gamma, inverse, gamma, row, batch, column, HIDDEN: tl.constexpr
):  # fmt: skip
    """The gradient in h, of d, the gradient in y = gamma x + beta with x = (h - mean) · inverse.

    Mean and variance depend on every row: it is inverse · gamma · (d - (Σ d + x Σ d x) / B), and the sums are the
    gradients in beta and gamma.
    """
    d = inverse[None, :] * gamma[None, :] * (d - (of_beta[None, :] + x * of_gamma[None, :]) / batch)
    live = (row < batch)[:, None] & (column < HIDDEN)[None, :]
    tl.store(hidden + row[:, None] * HIDDEN + column[None, :], d.to(hidden.dtype.element_ty), live)


@triton.jit(do_not_specialize=["batch"])
def hidden_backward_kernel(
    upstream, slopes, normal, scale, gain, shift, weight, hidden, d_gain, d_shift, d_weight, d_bias, batch,
    SLOPE: tl.constexpr, HIDDEN: tl.constexpr, WIDTH: tl.constexpr, TRAINED: tl.constexpr, WHOLE: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, PADDED: tl.constexpr, OPERAND: tl.constexpr, DOT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """hidden [B, H]: the gradient in features @ weight1ᵀ, rounded to an operand; and those in the weights after it.

    A program holds all rows of its columns, block by block. With more blocks than one it computes what a block gets
    from above twice: once for the sums over the rows, once for what needs them.
    """
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < HIDDEN
    p = tl.arange(0, PADDED)
    g = tl.load(upstream).to(tl.float32)
    inverse = tl.load(scale + column, inside, 0.0)
    gamma = tl.load(gain + column, inside, 0.0).to(tl.float32)
    beta = tl.load(shift + column, inside, 0.0).to(tl.float32)
    place = p[:, None] * HIDDEN + column[None, :]
    within = (p < WIDTH)[:, None] & inside[None, :]
    w = tl.load(weight + place, within, 0.0)

    of_beta = tl.zeros((COLUMNS,), dtype=tl.float32)
    of_gamma = tl.zeros((COLUMNS,), dtype=tl.float32)
    of_bias = tl.zeros((PADDED,), dtype=tl.float32)
    of_weight = tl.zeros((PADDED, COLUMNS), dtype=tl.float32)
    if WHOLE:
        row = tl.arange(0, ROWS)
        d, x, y, e = before_activation(
            g, slopes, normal, w, gamma, beta, row, batch, column, SLOPE, HIDDEN, PADDED, OPERAND, DOT, PRECISION
        )
        of_beta = tl.sum(d, axis=0)
        of_gamma = tl.sum(d * x, axis=0)
        if TRAINED:
            of_bias = tl.sum(e, axis=0)
            left = tl.trans(e.to(OPERAND).to(DOT))
            of_weight = tl.dot(left, y.to(OPERAND).to(DOT), of_weight, input_precision=PRECISION)
        store_hidden_gradient(hidden, d, x, of_beta, of_gamma, inverse, gamma, row, batch, column, HIDDEN)
    else:
        for first in range(0, batch, ROWS):
            row = first + tl.arange(0, ROWS)
            d, x, y, e = before_activation(
                g, slopes, normal, w, gamma, beta, row, batch, column, SLOPE, HIDDEN, PADDED, OPERAND, DOT,
                PRECISION,
            )  # fmt: skip
            of_beta += tl.sum(d, axis=0)
            of_gamma += tl.sum(d * x, axis=0)
            if TRAINED:
                of_bias += tl.sum(e, axis=0)
                left = tl.trans(e.to(OPERAND).to(DOT))
                of_weight = tl.dot(left, y.to(OPERAND).to(DOT), of_weight, input_precision=PRECISION)
        for first in range(0, batch, ROWS):
            row = first + tl.arange(0, ROWS)
            d, x, y, e = before_activation(
                g, slopes, normal, w, gamma, beta, row, batch, column, SLOPE, HIDDEN, PADDED, OPERAND, DOT,
                PRECISION,
            )  # fmt: skip
            store_hidden_gradient(hidden, d, x, of_beta, of_gamma, inverse, gamma, row, batch, column, HIDDEN)
    if TRAINED:
        tl.store(d_gain + column, of_gamma.to(d_gain.dtype.element_ty), inside)
        tl.store(d_shift + column, of_beta.to(d_shift.dtype.element_ty), inside)
        tl.store(d_weight + place, of_weight.to(d_weight.dtype.element_ty), within)
        first_alone = (p < WIDTH) & (tl.program_id(0) == 0)
        tl.store(d_bias + p, of_bias.to(d_bias.dtype.element_ty), first_alone)


@triton.jit
def features_tile(
    hidden, weight, d_features, batch, row, column,
    WIDTH: tl.constexpr, HIDDEN: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHUNK: tl.constexpr,
    OPERAND: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """A tile of d_features = hidden @ weight."""
    live = (row < batch)[:, None]
    inside = (column < WIDTH)[None, :]
    total = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for start in range(0, HIDDEN, CHUNK):
        k = start + tl.arange(0, CHUNK)
        h = tl.load(hidden + row[:, None] * HIDDEN + k[None, :], live & (k < HIDDEN)[None, :], 0.0)
        w = tl.load(weight + k[:, None] * WIDTH + column[None, :], (k < HIDDEN)[:, None] & inside, 0.0)
        total = tl.dot(h.to(DOT), w.to(OPERAND).to(DOT), total, input_precision=PRECISION)
    at = d_features + row.to(tl.int64)[:, None] * WIDTH + column[None, :]
    tl.store(at, total.to(d_features.dtype.element_ty), live & inside)


@triton.jit
def weight_tile(
    hidden, features, d_weight, batch, row_stride, unit, column,
    WIDTH: tl.constexpr, HIDDEN: tl.constexpr, UNITS: tl.constexpr, COLUMNS: tl.constexpr, CHUNK: tl.constexpr,
    OPERAND: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """A tile of d_weight = hiddenᵀ @ features."""
    live = (unit < HIDDEN)[:, None]
    inside = (column < WIDTH)[None, :]
    total = tl.zeros((UNITS, COLUMNS), dtype=tl.float32)
    for start in range(0, batch, CHUNK):
        k = start + tl.arange(0, CHUNK)
        h = tl.load(hidden + k[None, :] * HIDDEN + unit[:, None], live & (k < batch)[None, :], 0.0)
        at = features + k.to(tl.int64)[:, None] * row_stride + column[None, :]
        x = tl.load(at, (k < batch)[:, None] & inside, 0.0)
        total = tl.dot(h.to(DOT), x.to(OPERAND).to(DOT), total, input_precision=PRECISION)
    at = d_weight + unit[:, None] * WIDTH + column[None, :]
    tl.store(at, total.to(d_weight.dtype.element_ty), live & inside)


@triton.jit(do_not_specialize=["batch", "feature_tiles"])
def outer_backward_kernel(
    hidden, features, weight, d_features, d_weight, batch, row_stride, feature_tiles,
    WIDTH: tl.constexpr, HIDDEN: tl.constexpr, ROWS: tl.constexpr, UNITS: tl.constexpr, COLUMNS: tl.constexpr,
    CHUNK: tl.constexpr, OPERAND: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The first linear layer: `feature_tiles` tiles of the gradient in the features, then those in the weight."""
    blocks: tl.constexpr = (WIDTH + COLUMNS - 1) // COLUMNS
    program = tl.program_id(0)
    column = program % blocks * COLUMNS + tl.arange(0, COLUMNS)  # feature_tiles is a multiple of blocks
    block = program // blocks
    if program < feature_tiles:
        features_tile(
            hidden, weight, d_features, batch, block * ROWS + tl.arange(0, ROWS), column,
            WIDTH, HIDDEN, ROWS, COLUMNS, CHUNK, OPERAND, DOT, PRECISION,
        )  # fmt: skip
    else:
        unit = (block - feature_tiles // blocks) * UNITS + tl.arange(0, UNITS)
        weight_tile(
            hidden, features, d_weight, batch, row_stride, unit, column,
            WIDTH, HIDDEN, UNITS, COLUMNS, CHUNK, OPERAND, DOT, PRECISION,
        )  # fmt: skip
