"""All codes of a Q head in one launch forward and one backward.

A program takes one code of a block of rows: the grid has rows of blocks times codes, codes fastest, so that
programs which share cache lines of a row run side by side.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .. import layout as layouts
from ..layout import Layout, parse_layout
from . import q_head_rows, tiles
from .codes import BERNOULLI, CATEGORICAL, GAUSSIAN, find_code, has, has_learned_variance, is_class
from .column_sums import column_sums
from .launches import launch, warp_size
from .mathematics import HALF_LOG_2_PI, bound, exp, sigmoid, softplus
from .operators import is_differentiated, once_differentiable, register
from .strides import offsets


@triton.jit
def load_logits(
    parameters, row_offset, live, column, size, column_stride,
    ALIGN: tl.constexpr, CONTIGUOUS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """A code's logits [ROWS, COLUMNS] in float32, -inf beyond its last class, and which columns are classes.

    `column` and `size` are multiples of ALIGN; the compiler joins loads of neighbours only if it can see that.
    """
    k = tl.arange(0, COLUMNS)[None, :]
    here = k < size // ALIGN * ALIGN
    start = row_offset + offsets(column // ALIGN * ALIGN, column_stride, CONTIGUOUS)
    x = tl.load(parameters + start[:, None] + offsets(k, column_stride, CONTIGUOUS), live[:, None] & here, 0.0)
    return tl.where(here, x.to(tl.float32), float("-inf")), here


@triton.jit(do_not_specialize=["batch", "target_row_stride", "target_column_stride", "divisor"])
def q_head_nll_forward_kernel(
    parameters, targets, out,
    batch, row_stride, column_stride, target_row_stride, target_column_stride, divisor,
    LOW: tl.constexpr, HIGH: tl.constexpr, GROUPS: tl.constexpr, CODES: tl.constexpr,
    ALIGN: tl.constexpr, CONTIGUOUS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The sum of one code's -log Q(c | x) over this program's rows, divided by `divisor`."""
    code = tl.program_id(0) % CODES
    first_tile = tl.program_id(0) // CODES
    programs = tl.num_programs(0) // CODES  # of each code: they take its tiles in turns
    kind, size, column = find_code(code, GROUPS)
    stride = WIDTH if CONTIGUOUS else row_stride
    total = tl.zeros((ROWS,), dtype=tl.float32)
    for first in range(first_tile * ROWS, batch, programs * ROWS):
        row = first + tl.arange(0, ROWS)
        live = row < batch
        wide = row.to(tl.int64)  # offsets of rows may exceed 32 bits
        q = parameters + wide * stride + offsets(column, column_stride, CONTIGUOUS)
        c = tl.load(targets + wide * target_row_stride + code.to(tl.int64) * target_column_stride, live, 0.0)
        nll = tl.zeros((ROWS,), dtype=tl.float32)
        if has(GROUPS, CATEGORICAL):
            if kind == CATEGORICAL:
                x, _ = load_logits(
                    parameters, wide * stride, live, column, size, column_stride, ALIGN, CONTIGUOUS, COLUMNS
                )
                top = tl.max(x, axis=1)  # subtracted, so that no exponential overflows
                log_sum = tl.log(tl.sum(exp(x - top[:, None]), axis=1))
                k = tl.arange(0, COLUMNS)[None, :].to(tl.float32)
                chosen = tl.sum(tl.where(k == c[:, None], x, 0.0), axis=1)
                nll = tl.where(is_class(c, size), log_sum + (top - chosen), float("nan"))
        if has(GROUPS, GAUSSIAN):
            if kind == GAUSSIAN:
                mean = tl.load(q, live, 0.0).to(tl.float32)
                square = (c - mean) * (c - mean)
                nll = 0.5 * square + HALF_LOG_2_PI
                if has_learned_variance(GROUPS):
                    learned = size == 2
                    log_var = tl.load(q + column_stride, live & learned, 0.0).to(tl.float32)
                    log_var = tl.where(learned, bound(log_var, LOW, HIGH), 0.0)
                    nll = 0.5 * (log_var + square * exp(-log_var)) + HALF_LOG_2_PI
        if has(GROUPS, BERNOULLI):
            if kind == BERNOULLI:
                # -c log σ(x) - (1 - c) log σ(-x) = (1 - c) x + log(1 + e^-x)
                x = tl.load(q, live, 0.0).to(tl.float32)
                nll = (1.0 - c) * x + softplus(-x)
        total += tl.where(live, nll, 0.0)
    tl.store(out + tl.program_id(0), tl.div_rn(tl.sum(total, axis=0), divisor))


@triton.jit(do_not_specialize=["batch", "target_row_stride", "target_column_stride", "divisor"])
def q_head_nll_backward_kernel(
    upstream, parameters, targets, gradient,
    batch, upstream_stride, row_stride, column_stride, target_row_stride, target_column_stride, divisor,
    LOW: tl.constexpr, HIGH: tl.constexpr, GROUPS: tl.constexpr, CODES: tl.constexpr,
    ALIGN: tl.constexpr, CONTIGUOUS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The gradient in one code's parameters of a block of rows: that of its -log Q(c | x), times g = upstream / B."""
    code = tl.program_id(0) % CODES
    kind, size, column = find_code(code, GROUPS)
    stride = WIDTH if CONTIGUOUS else row_stride
    row = tl.program_id(0) // CODES * ROWS + tl.arange(0, ROWS)
    live = row < batch
    wide = row.to(tl.int64)
    q = parameters + wide * stride + offsets(column, column_stride, CONTIGUOUS)
    out = gradient + wide * WIDTH + column
    c = tl.load(targets + wide * target_row_stride + code.to(tl.int64) * target_column_stride, live, 0.0)
    g = tl.div_rn(tl.load(upstream + code * upstream_stride), divisor)
    if has(GROUPS, CATEGORICAL):
        if kind == CATEGORICAL:
            x, here = load_logits(
                parameters, wide * stride, live, column, size, column_stride, ALIGN, CONTIGUOUS, COLUMNS
            )
            e = exp(x - tl.max(x, axis=1)[:, None])
            p = e / tl.sum(e, axis=1)[:, None]
            # d/dx_k (log Σ e^x - x_c) = softmax(x)_k - [k = c]
            k = tl.arange(0, COLUMNS)[None, :]
            d = tl.where(k.to(tl.float32) == c[:, None], p - 1.0, p) * g
            d = tl.where(is_class(c, size)[:, None], d, float("nan"))
            at = gradient + (wide * WIDTH + column // ALIGN * ALIGN)[:, None] + k
            tl.store(at, d.to(gradient.dtype.element_ty), live[:, None] & here)
    if has(GROUPS, GAUSSIAN):
        if kind == GAUSSIAN:
            # With variance 1, d/dμ ½(c - μ)² = μ - c.
            error = tl.load(q, live, 0.0).to(tl.float32) - c
            if has_learned_variance(GROUPS):
                learned = size == 2
                raw = tl.load(q + column_stride, live & learned, 0.0).to(tl.float32)
                log_var = tl.where(learned, bound(raw, LOW, HIGH), 0.0)
                inside = (raw >= LOW) & (raw <= HIGH)  # beyond its bounds a log-variance has no gradient
                precision = exp(-log_var)
                # d/ds ½(s + (c - μ)² e^-s) = ½(1 - (c - μ)² e^-s), and d/dμ = (μ - c) e^-s
                d = tl.where(inside, 0.5 * (1.0 - error * error * precision) * g, 0.0)
                tl.store(out + 1, d.to(gradient.dtype.element_ty), live & learned)
                error = error * precision
            tl.store(out, (error * g).to(gradient.dtype.element_ty), live)
    if has(GROUPS, BERNOULLI):
        if kind == BERNOULLI:
            # d/dx ((1 - c) x + log(1 + e^-x)) = σ(x) - c
            x = tl.load(q, live, 0.0).to(tl.float32)
            tl.store(out, ((sigmoid(x) - c) * g).to(gradient.dtype.element_ty), live)


def constants(layout: Layout, tile: tiles.Tile) -> dict[str, Any]:
    """What a compiled kernel knows of a layout and its tile."""
    categorical = [group for group in layout.groups if group.kind == layouts.CATEGORICAL]
    return {
        "LOW": float(layout.log_var_min),
        "HIGH": float(layout.log_var_max),
        "GROUPS": layout.groups,
        "CODES": len(layout.columns),
        "ALIGN": math.gcd(16, *(n for group in categorical for n in (group.first_column, group.size))),
        "WIDTH": layout.width,
        "ROWS": tile.rows,
        "COLUMNS": tile.columns,
        "num_warps": tile.warps,
    }


def tile_of(layout: Layout, threads_of_a_warp: int) -> tiles.Tile:
    """Wide enough for the largest categorical code; codes of one or two columns use its rows only."""
    return tiles.row_tile(layout.most_classes, threads_of_a_warp)


@functools.lru_cache(maxsize=256)
def _plan(spec: str, low: float, high: float, threads_of_a_warp: int) -> tuple[tiles.Tile, dict[str, Any], int]:
    """The tile, the constants and `equal_classes` of a layout; put together once and looked up by later calls."""
    layout = parse_layout(spec, low, high)
    tile = tile_of(layout, threads_of_a_warp)
    return tile, constants(layout, tile), q_head_rows.equal_classes(layout)


@register(
    "q_head_nll",
    lambda parameters, targets, *_: parameters.new_empty(targets.shape[1], dtype=torch.float32),
)
def forward(parameters: Tensor, targets: Tensor, spec: str, low: float, high: float) -> Tensor:
    """[C] batch means; one launch, and a second that adds the partial sums of a batch of more than a few tiles.

    `spec` is a layout's; `low` and `high` bound its log-variances.
    """
    tile, known, equal_classes = _plan(spec, low, high, warp_size())
    batch, codes = targets.shape
    out = torch.empty(codes, dtype=torch.float32, device=parameters.device)
    if batch == 0:
        return out.fill_(math.nan)
    if equal_classes and q_head_rows.serves(parameters, targets, tile):
        return q_head_rows.forward(parameters, targets, equal_classes)
    programs = tiles.programs_of_a_sum(-(-batch // tile.rows))
    partials = out if programs == 1 else torch.empty((programs, codes), dtype=torch.float32, device=out.device)
    launch(
        q_head_nll_forward_kernel, programs * codes, parameters,
        parameters, targets, partials,
        batch, *parameters.stride(), *targets.stride(), float(batch) if programs == 1 else 1.0,
        **known, CONTIGUOUS=parameters.is_contiguous(),
    )  # fmt: skip
    if programs > 1:
        column_sums(partials, out, float(batch))
    return out


@register("q_head_nll_backward", lambda upstream, parameters, *_: parameters.new_empty(parameters.shape))
def backward(upstream: Tensor, parameters: Tensor, targets: Tensor, spec: str, low: float, high: float) -> Tensor:
    """[B, P] gradient in the dtype of the parameters, from the [C] gradient of the means."""
    tile, known, equal_classes = _plan(spec, low, high, warp_size())
    gradient = torch.empty(parameters.shape, dtype=parameters.dtype, device=parameters.device)
    batch, codes = targets.shape
    if batch == 0:
        return gradient
    if equal_classes and q_head_rows.serves(parameters, targets, tile):
        return q_head_rows.backward(upstream, parameters, targets, equal_classes)
    launch(
        q_head_nll_backward_kernel, -(-batch // tile.rows) * codes, parameters,
        upstream, parameters, targets, gradient,
        batch, upstream.stride(0), *parameters.stride(), *targets.stride(), float(batch),
        **known, CONTIGUOUS=parameters.is_contiguous(),
    )  # fmt: skip
    return gradient


class _QHeadNLL(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, parameters: Tensor, targets: Tensor, *layout: str | float) -> Tensor:
        ctx.save_for_backward(parameters, targets)
        ctx.layout = layout
        return forward(parameters, targets, *layout)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        parameters, targets = ctx.saved_tensors
        gradient = backward(upstream[0], parameters, targets, *ctx.layout)
        return once_differentiable(gradient, upstream[0], parameters), None, None, None, None


def q_head_nll(parameters: Tensor, targets: Tensor, layout: Layout) -> Tensor:
    """See `gan_zoo_kernels.q_head_nll`; the arguments are trusted here."""
    known = (layout.spec, float(layout.log_var_min), float(layout.log_var_max))
    if not is_differentiated(parameters):
        return forward(parameters, targets, *known)
    mean: Tensor = _QHeadNLL.apply(parameters, targets, *known)  # type: ignore[no-untyped-call]
    return mean
