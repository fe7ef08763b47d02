"""Device code of the information term: a Q head and the likelihood of its codes; `information_launchers` launches it.

Shapes: B batch, K features, H hidden units, P parameters of Q(c | x), C codes. Operands of a product are rounded to
OPERAND, as autocast would, and added in float32. DOT is OPERAND too, but for the interpreter, which cannot multiply
bfloat16 and gets the rounded values in float32.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .codes import (
    BERNOULLI,
    CATEGORICAL,
    FIRST_CODE,
    FIRST_COLUMN,
    GAUSSIAN,
    KIND,
    LENGTH,
    SIZE,
    find_code,
    has_constant_variance,
    is_class,
)
from .mathematics import HALF_LOG_2_PI, bound, exp, sigmoid, softplus


@triton.jit
def add_product(
    total, left, left_row, left_stride, left_end, right, right_column, right_stride, right_end, first, last,
    CHUNK: tl.constexpr, OPERAND: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """total + left[left_row, first:last] @ right[right_column, first:last]ᵀ; rows from the two ends on are zero."""
    for start in range(first, last, CHUNK):
        k = start + tl.arange(0, CHUNK)
        a = left + left_row.to(tl.int64)[:, None] * left_stride + k[None, :]
        a = tl.load(a, (left_row < left_end)[:, None] & (k < last)[None, :], 0.0)
        b = right + right_column.to(tl.int64)[None, :] * right_stride + k[:, None]
        b = tl.load(b, (right_column < right_end)[None, :] & (k < last)[:, None], 0.0)
        total = tl.dot(a.to(OPERAND).to(DOT), b.to(OPERAND).to(DOT), total, input_precision=PRECISION)
    return total


@triton.jit(do_not_specialize=["batch"])
def hidden_split_kernel(
    features, weight, partials, batch, row_stride,
    WIDTH: tl.constexpr, HIDDEN: tl.constexpr, SPLIT: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    CHUNK: tl.constexpr, OPERAND: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """partials [splits, B, H]: features @ weightᵀ, each over SPLIT of the features."""
    # Programs of neighbouring columns run side by side, then those of the next rows, then the next split.
    column_blocks = tl.cdiv(HIDDEN, COLUMNS)
    row_blocks = tl.cdiv(batch, ROWS)
    column = tl.program_id(0) % column_blocks * COLUMNS + tl.arange(0, COLUMNS)
    row = tl.program_id(0) // column_blocks % row_blocks * ROWS + tl.arange(0, ROWS)
    split = tl.program_id(0) // column_blocks // row_blocks
    first = split * SPLIT
    total = add_product(
        tl.zeros((ROWS, COLUMNS), dtype=tl.float32), features, row, row_stride, batch, weight, column, WIDTH, HIDDEN,
        first, tl.minimum(first + SPLIT, WIDTH), CHUNK, OPERAND, DOT, PRECISION,
    )  # fmt: skip
    live = (row < batch)[:, None] & (column < HIDDEN)[None, :]
    out = partials + (split * batch + row).to(tl.int64)[:, None] * HIDDEN + column[None, :]
    tl.store(out, total, live)


@triton.jit(do_not_specialize=["batch"])
def hidden_kernel(
    features, weight, partials, running_mean, running_var, normal, scale, batch, row_stride,
    MOMENTUM: tl.constexpr, EPS: tl.constexpr, WIDTH: tl.constexpr, HIDDEN: tl.constexpr, SPLITS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHUNK: tl.constexpr, OPERAND: tl.constexpr, DOT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """normal [B, H] = (h - mean) scale, h = features @ weightᵀ, scale [H] = 1 / √(variance + eps).

    A program holds all rows of its columns, so that their statistics need no other program. The sum of squares is that
    of deviations from the mean: E[h²] - E[h]² would cancel where the mean is large.
    """
    row = tl.arange(0, ROWS)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < HIDDEN
    live = (row < batch)[:, None] & inside[None, :]
    h = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    if SPLITS:
        for split in range(SPLITS):
            at = partials + (split * batch + row).to(tl.int64)[:, None] * HIDDEN + column[None, :]
            h += tl.load(at, live, 0.0)
    else:
        h = add_product(
            h, features, row, row_stride, batch, weight, column, WIDTH, HIDDEN, 0, WIDTH, CHUNK, OPERAND, DOT, PRECISION
        )
    rows = tl.zeros((COLUMNS,), dtype=tl.float32) + batch
    mean = tl.div_rn(tl.sum(h, axis=0), rows)
    deviation = tl.where(live, h - mean[None, :], 0.0)
    squares = tl.sum(deviation * deviation, axis=0)
    inverse = tl.div_rn(tl.full((COLUMNS,), 1.0, tl.float32), tl.sqrt_rn(tl.div_rn(squares, rows) + EPS))
    tl.store(normal + row[:, None] * HIDDEN + column[None, :], deviation * inverse[None, :], live)
    tl.store(scale + column, inverse, inside)
    old = tl.load(running_mean + column, inside, 0.0).to(tl.float32)
    new = (1.0 - MOMENTUM) * old + MOMENTUM * mean
    tl.store(running_mean + column, new.to(running_mean.dtype.element_ty), inside)
    old = tl.load(running_var + column, inside, 0.0).to(tl.float32)
    new = (1.0 - MOMENTUM) * old + MOMENTUM * tl.div_rn(squares, rows - 1.0)  # the unbiased variance, as torch's
    tl.store(running_var + column, new.to(running_var.dtype.element_ty), inside)


@triton.jit
def activation(x, gain, shift, SLOPE: tl.constexpr):
    """(leaky ReLU of y, its slope) of y = gain x + shift."""
    y = x * gain + shift
    slope = tl.where(y > 0.0, 1.0, SLOPE)
    return y * slope, slope


@triton.jit
def column_of(parameters, p, column):
    """[ROWS]: one column of a tile [ROWS, P]."""
    return tl.sum(tl.where(p[None, :] == column, parameters, 0.0), axis=1)


@triton.jit
def likelihood(
    parameters, p, c, column, CODE_KIND: tl.constexpr, CODE_SIZE: tl.constexpr, LOW: tl.constexpr, HIGH: tl.constexpr
):
    """-log Q(c | x) [ROWS] of the code in CODE_SIZE columns of the tile from `column` on, and its slope in the tile."""
    here = ((p >= column) & (p < column + CODE_SIZE))[None, :]
    if CODE_KIND == CATEGORICAL:
        x = tl.where(here, parameters, float("-inf"))
        top = tl.max(x, axis=1)
        e = exp(x - top[:, None])
        total = tl.sum(e, axis=1)
        chosen = (p - column)[None, :].to(tl.float32) == c[:, None]
        valid = is_class(c, CODE_SIZE)
        log_p = tl.sum(tl.where(here & chosen, parameters, 0.0), axis=1) - top - tl.log(total)
        nll = tl.where(valid, -log_p, float("nan"))
        # d/dx_k (log Σ e^x - x_c) = softmax(x)_k - [k = c]
        slope = e * (1.0 / total)[:, None] - tl.where(chosen, 1.0, 0.0)
        slope = tl.where(valid[:, None], slope, float("nan"))
    elif CODE_KIND == BERNOULLI:
        x = column_of(parameters, p, column)
        nll = (1.0 - c) * x + softplus(-x)
        # d/dx ((1 - c) x + log(1 + e^-x)) = σ(x) - c
        slope = tl.zeros_like(parameters) + (sigmoid(x) - c)[:, None]
    elif CODE_SIZE == 1:
        error = column_of(parameters, p, column) - c
        nll = 0.5 * error * error + HALF_LOG_2_PI
        slope = tl.zeros_like(parameters) + error[:, None]  # d/dμ ½(c - μ)² = μ - c
    else:
        error = column_of(parameters, p, column) - c
        raw = column_of(parameters, p, column + 1)
        log_variance = bound(raw, LOW, HIGH)
        precision = exp(-log_variance)
        nll = 0.5 * (log_variance + error * error * precision) + HALF_LOG_2_PI
        free = (raw >= LOW) & (raw <= HIGH)  # beyond its bounds a log-variance has no gradient
        # d/dμ ½(s + (c - μ)² e^-s) = (μ - c) e^-s, and d/ds = ½(1 - (c - μ)² e^-s)
        of_variance = tl.where(free, 0.5 * (1.0 - error * error * precision), 0.0)
        slope = tl.where((p == column)[None, :], (error * precision)[:, None], of_variance[:, None])
    return nll, tl.where(here, slope, 0.0)


@triton.jit
def store_information(
    nll, code, entropies, weights, variances, bounds, term,
    GROUPS: tl.constexpr, LOW: tl.constexpr, HIGH: tl.constexpr, UNIT_GRADIENT: tl.constexpr,
    VARIANCE_MOMENTUM: tl.constexpr, CODES: tl.constexpr,
):  # fmt: skip
    """Entropies less `nll`, their sum, and minus their weighted sum: bounds [C + 1] and term []; then new variances.

    `nll` is that of a variance of 1 for codes with one Gaussian column, whose variance is constant; that of the other
    codes is 1.
    """
    here = code < CODES
    weight = tl.load(weights + code, here, 0.0)
    if has_constant_variance(GROUPS):
        variance = tl.load(variances + code, here, 1.0)
        one = tl.full((code.shape[0],), 1.0, tl.float32)
        precision = tl.div_rn(one, variance)
        squares = 2.0 * (nll - HALF_LOG_2_PI)
        # ½ (log 2πσ² + r²/σ²), from ½ (log 2π + r²)
        nll = nll * precision + 0.5 * tl.log(variance) + (1.0 - precision) * HALF_LOG_2_PI
        if UNIT_GRADIENT:
            weight *= variance
        if VARIANCE_MOMENTUM > 0.0:
            kind, size, _ = find_code(code, GROUPS)
            new = bound(variance + VARIANCE_MOMENTUM * (squares - variance), exp(one * LOW), exp(one * HIGH))
            tl.store(variances + code, new, here & (kind == GAUSSIAN) & (size == 1))
    # L_I(c_i) = H(c_i) - E[-log Q(c_i | x)] (eq. 5), and the term -Σ λ_i L_I(c_i) (eq. 6)
    information = tl.where(here, tl.load(entropies + code, here, 0.0) - nll, 0.0)
    tl.store(bounds + code, information, here)
    tl.store(bounds + CODES, tl.sum(information, axis=0))
    tl.store(term, -tl.sum(information * weight, axis=0))


@triton.jit(do_not_specialize=["batch"])
def likelihood_kernel(
    normal, gain, shift, weight, bias, targets, entropies, weights, variances, slopes, partials, bounds, term, batch,
    SLOPE: tl.constexpr, HIDDEN: tl.constexpr, WIDTH: tl.constexpr, LOW: tl.constexpr, HIGH: tl.constexpr,
    GROUPS: tl.constexpr, UNIT_GRADIENT: tl.constexpr, VARIANCE_MOMENTUM: tl.constexpr, CODES: tl.constexpr,
    DIFFERENTIATED: tl.constexpr, WHOLE: tl.constexpr, SPAN: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, PADDED_CODES: tl.constexpr, CHUNK: tl.constexpr, OPERAND: tl.constexpr,
    DOT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The second linear layer and every code's likelihood: the result if one program has all rows, else its sums.

    A program takes SPAN rows, ROWS at a time.

    slopes [B, COLUMNS] is the slope of the term in the layer's output, 0 beside its columns: the backward pass
    multiplies it by the gradient that comes in.
    """
    p = tl.arange(0, COLUMNS)
    within = p < WIDTH
    code_of = tl.arange(0, PADDED_CODES)
    sums = tl.zeros((PADDED_CODES,), dtype=tl.float32)
    rows = batch.to(tl.float32)
    start = tl.program_id(0) * SPAN
    for first in range(start, tl.minimum(start + SPAN, batch), ROWS):
        row = first + tl.arange(0, ROWS)
        live = row < batch
        # parameters = leaky_relu(gain · normal + shift) @ weightᵀ + bias, CHUNK hidden units at a time
        parameters = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
        for unit in range(0, HIDDEN, CHUNK):
            k = unit + tl.arange(0, CHUNK)
            inside = k < HIDDEN
            x = tl.load(normal + row[:, None] * HIDDEN + k[None, :], live[:, None] & inside[None, :], 0.0)
            g = tl.load(gain + k, inside, 0.0).to(tl.float32)
            s = tl.load(shift + k, inside, 0.0).to(tl.float32)
            y, _ = activation(x, g[None, :], s[None, :], SLOPE)
            w = tl.load(weight + p[None, :] * HIDDEN + k[:, None], within[None, :] & inside[:, None], 0.0)
            parameters = tl.dot(y.to(OPERAND).to(DOT), w.to(OPERAND).to(DOT), parameters, input_precision=PRECISION)
        parameters += tl.load(bias + p, within, 0.0).to(tl.float32)[None, :]

        # Each code's loss is put into its column; the slopes of all codes add up, for each has columns of its own.
        losses = tl.zeros((ROWS, PADDED_CODES), dtype=tl.float32)
        slope = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
        for i in tl.static_range(len(GROUPS)):
            for index in range(GROUPS[i][LENGTH]):
                code = GROUPS[i][FIRST_CODE] + index
                column = GROUPS[i][FIRST_COLUMN] + index * GROUPS[i][SIZE]
                c = tl.load(targets + row * CODES + code, live, 0.0)
                nll, code_slope = likelihood(parameters, p, c, column, GROUPS[i][KIND], GROUPS[i][SIZE], LOW, HIGH)
                losses = tl.where((code_of == code)[None, :], nll[:, None], losses)
                if DIFFERENTIATED:
                    scale = tl.load(weights + code)
                    if GROUPS[i][KIND] == GAUSSIAN and GROUPS[i][SIZE] == 1 and not UNIT_GRADIENT:
                        scale = scale / tl.load(variances + code)
                    slope += code_slope * scale
        sums += tl.sum(tl.where(live[:, None], losses, 0.0), axis=0)
        if DIFFERENTIATED:
            tl.store(slopes + row[:, None] * COLUMNS + p[None, :], slope / rows, live[:, None])
    if WHOLE:
        store_information(
            tl.div_rn(sums, rows), code_of, entropies, weights, variances, bounds, term,
            GROUPS, LOW, HIGH, UNIT_GRADIENT, VARIANCE_MOMENTUM, CODES,
        )  # fmt: skip
    else:
        tl.store(partials + tl.program_id(0) * CODES + code_of, sums, code_of < CODES)


@triton.jit(do_not_specialize=["blocks", "batch"])
def information_kernel(
    partials, entropies, weights, variances, bounds, term, blocks, batch,
    WIDTH: tl.constexpr, LOW: tl.constexpr, HIGH: tl.constexpr, GROUPS: tl.constexpr, UNIT_GRADIENT: tl.constexpr,
    VARIANCE_MOMENTUM: tl.constexpr, CODES: tl.constexpr, PADDED_CODES: tl.constexpr,
):  # fmt: skip
    """The result, from the sums [blocks, C] of the likelihoods of blocks of rows."""
    code = tl.arange(0, PADDED_CODES)
    sums = tl.zeros((PADDED_CODES,), dtype=tl.float32)
    for block in range(blocks):
        sums += tl.load(partials + block * CODES + code, code < CODES, 0.0)
    nll = tl.div_rn(sums, batch.to(tl.float32))
    store_information(
        nll, code, entropies, weights, variances, bounds, term,
        GROUPS, LOW, HIGH, UNIT_GRADIENT, VARIANCE_MOMENTUM, CODES,
    )  # fmt: skip
