"""All codes of a Q head in one launch forward and one backward.

A program takes one code of a block of rows: the grid has rows of blocks times codes, codes fastest, so that
programs which share cache lines of a row run side by side. What the columns of a code mean is looked up by
comparing its index with the runs of the layout, which are constants of the compiled kernel.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..layout import Kind, Layout, Segment
from . import q_head_rows, tiles
from .column_sums import column_sums
from .launches import launch, warp_size
from .mathematics import HALF_LOG_2_PI, bound, exp, log1p_of_exp
from .operators import is_differentiated, once_differentiable, register
from .strides import offsets

CATEGORICAL = tl.constexpr(int(Kind.CATEGORICAL))
GAUSSIAN = tl.constexpr(int(Kind.GAUSSIAN))
GAUSSIAN_FIXED = tl.constexpr(int(Kind.GAUSSIAN_FIXED))


@triton.jit
def find_code(code, RUNS: tl.constexpr):
    """(kind, number of columns, first column) of a code; RUNS holds five numbers a run, as in `Run`."""
    kind = RUNS[0]
    size = RUNS[1]
    column = RUNS[4] + (code - RUNS[3]) * RUNS[1]
    for i in tl.static_range(5, len(RUNS), 5):
        here = code >= RUNS[i + 3]
        kind = tl.where(here, RUNS[i], kind)
        size = tl.where(here, RUNS[i + 1], size)
        column = tl.where(here, RUNS[i + 4] + (code - RUNS[i + 3]) * RUNS[i + 1], column)
    return kind, size, column


@triton.jit(do_not_specialize=["batch", "target_row_stride", "target_column_stride", "divisor"])
def q_head_nll_forward_kernel(
    parameters, targets, out,
    batch, row_stride, column_stride, target_row_stride, target_column_stride, divisor,
    LOW: tl.constexpr, HIGH: tl.constexpr, RUNS: tl.constexpr, CODES: tl.constexpr, KINDS: tl.constexpr,
    ALIGN: tl.constexpr, CONTIGUOUS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    code = tl.program_id(0) % CODES
    part = tl.program_id(0) // CODES
    parts = tl.num_programs(0) // CODES
    kind, size, column = find_code(code, RUNS)
    stride = WIDTH if CONTIGUOUS else row_stride
    total = tl.zeros((ROWS,), dtype=tl.float32)
    for first in range(part * ROWS, batch, parts * ROWS):
        row = first + tl.arange(0, ROWS)
        live = row < batch
        wide = row.to(tl.int64)
        q = parameters + wide * stride + offsets(column, column_stride, CONTIGUOUS)
        c = tl.load(targets + wide * target_row_stride + code.to(tl.int64) * target_column_stride, live, 0.0)
        nll = tl.zeros((ROWS,), dtype=tl.float32)
        if KINDS & 1:
            if kind == CATEGORICAL:
                k = tl.arange(0, COLUMNS)
                here = k[None, :] < size // ALIGN * ALIGN  # as below: what the compiler must know to join loads
                start = wide * stride + offsets(column // ALIGN * ALIGN, column_stride, CONTIGUOUS)
                logits = parameters + start[:, None] + offsets(k, column_stride, CONTIGUOUS)[None, :]
                x = tl.load(logits, live[:, None] & here, 0.0).to(tl.float32)
                x = tl.where(here, x, float("-inf"))
                top = tl.max(x, axis=1)
                log_sum = tl.log(tl.sum(exp(x - top[:, None]), axis=1))
                chosen = tl.sum(tl.where(k[None, :].to(tl.float32) == c[:, None], x, 0.0), axis=1)
                is_class = (c >= 0) & (c < size) & (c == tl.floor(c))
                nll = tl.where(is_class, log_sum + (top - chosen), float("nan"))
        if KINDS & 6:
            if (kind == GAUSSIAN) | (kind == GAUSSIAN_FIXED):
                mean = tl.load(q, live, 0.0).to(tl.float32)
                square = (c - mean) * (c - mean)
                nll = 0.5 * square + HALF_LOG_2_PI
                if KINDS & 2:
                    learned = kind == GAUSSIAN
                    log_var = tl.load(q + column_stride, live & learned, 0.0).to(tl.float32)
                    log_var = tl.where(learned, bound(log_var, LOW, HIGH), 0.0)
                    nll = 0.5 * (log_var + square * exp(-log_var)) + HALF_LOG_2_PI
        if KINDS & 8:
            if kind > GAUSSIAN_FIXED:
                x = tl.load(q, live, 0.0).to(tl.float32)
                nll = (1.0 - c) * x + tl.maximum(-x, 0.0) + log1p_of_exp(-tl.abs(x))
        total += tl.where(live, nll, 0.0)
    tl.store(out + tl.program_id(0), tl.div_rn(tl.sum(total, axis=0), divisor))


@triton.jit(do_not_specialize=["batch", "target_row_stride", "target_column_stride", "divisor"])
def q_head_nll_backward_kernel(
    upstream, parameters, targets, gradient,
    batch, upstream_stride, row_stride, column_stride, target_row_stride, target_column_stride, divisor,
    LOW: tl.constexpr, HIGH: tl.constexpr, RUNS: tl.constexpr, CODES: tl.constexpr, KINDS: tl.constexpr,
    ALIGN: tl.constexpr, CONTIGUOUS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    code = tl.program_id(0) % CODES
    kind, size, column = find_code(code, RUNS)
    stride = WIDTH if CONTIGUOUS else row_stride
    row = tl.program_id(0) // CODES * ROWS + tl.arange(0, ROWS)
    live = row < batch
    wide = row.to(tl.int64)
    q = parameters + wide * stride + offsets(column, column_stride, CONTIGUOUS)
    out = gradient + wide * WIDTH + column
    c = tl.load(targets + wide * target_row_stride + code.to(tl.int64) * target_column_stride, live, 0.0)
    g = tl.div_rn(tl.load(upstream + code * upstream_stride), divisor)
    if KINDS & 1:
        if kind == CATEGORICAL:
            k = tl.arange(0, COLUMNS)
            here = k[None, :] < size // ALIGN * ALIGN  # what the compiler must know to join loads and stores
            first_logit = column // ALIGN * ALIGN
            start = wide * stride + offsets(first_logit, column_stride, CONTIGUOUS)
            logits = parameters + start[:, None] + offsets(k, column_stride, CONTIGUOUS)[None, :]
            x = tl.load(logits, live[:, None] & here, 0.0).to(tl.float32)
            x = tl.where(here, x, float("-inf"))
            e = exp(x - tl.max(x, axis=1)[:, None])
            p = e / tl.sum(e, axis=1)[:, None]
            d = tl.where(k[None, :].to(tl.float32) == c[:, None], p - 1.0, p) * g
            is_class = (c >= 0) & (c < size) & (c == tl.floor(c))
            d = tl.where(is_class[:, None], d, float("nan"))
            at = gradient + (wide * WIDTH + first_logit)[:, None] + k[None, :]
            tl.store(at, d.to(gradient.dtype.element_ty), live[:, None] & here)
    if KINDS & 6:
        if (kind == GAUSSIAN) | (kind == GAUSSIAN_FIXED):
            error = tl.load(q, live, 0.0).to(tl.float32) - c
            if KINDS & 2:
                learned = kind == GAUSSIAN
                raw = tl.load(q + column_stride, live & learned, 0.0).to(tl.float32)
                log_var = tl.where(learned, bound(raw, LOW, HIGH), 0.0)
                inside = (raw >= LOW) & (raw <= HIGH)
                precision = exp(-log_var)
                d = tl.where(inside, 0.5 * (1.0 - error * error * precision) * g, 0.0)
                tl.store(out + 1, d.to(gradient.dtype.element_ty), live & learned)
                error = error * precision
            tl.store(out, (error * g).to(gradient.dtype.element_ty), live)
    if KINDS & 8:
        if kind > GAUSSIAN_FIXED:
            x = tl.load(q, live, 0.0).to(tl.float32)
            e = exp(-tl.abs(x))
            p = tl.where(x >= 0, 1.0, e) / (1.0 + e)
            tl.store(out, ((p - c) * g).to(gradient.dtype.element_ty), live)


def runs_of(layout: Layout) -> tuple[int, ...]:
    """Five numbers a run, as device code reads them."""
    runs = ((run.kind, run.size, run.count, run.first_code, run.first_column) for run in layout.runs)
    return tuple(int(n) for run in runs for n in run)


def constants(layout: Layout, tile: tiles.Tile) -> dict[str, Any]:
    """What a compiled kernel knows of a layout and its tile."""
    categorical = [run for run in layout.runs if run.kind == Kind.CATEGORICAL]
    return {
        "LOW": float(layout.log_var_min),
        "HIGH": float(layout.log_var_max),
        "RUNS": runs_of(layout),
        "CODES": len(layout.segments),
        "KINDS": functools.reduce(operator.or_, (1 << run.kind for run in layout.runs)),
        "ALIGN": math.gcd(16, *(n for run in categorical for n in (run.first_column, run.size))),
        "WIDTH": layout.width,
        "ROWS": tile.rows,
        "COLUMNS": tile.columns,
        "num_warps": tile.warps,
    }


def tile_of(layout: Layout, threads_of_a_warp: int) -> tiles.Tile:
    """Wide enough for the largest categorical code; codes of one or two columns use its rows only."""
    return tiles.row_tile(layout.most_classes, threads_of_a_warp)


@functools.lru_cache(maxsize=256)
def layout_of(segments: tuple[int, ...], low: float, high: float) -> Layout:
    """The layout of these `numbers` and bounds, which is how an operator receives it."""
    triples = zip(segments[0::3], segments[1::3], segments[2::3], strict=True)
    return Layout(tuple(Segment(Kind(k), start, size) for k, start, size in triples), low, high)


@functools.lru_cache(maxsize=256)
def _plan(
    segments: tuple[int, ...], low: float, high: float, threads_of_a_warp: int
) -> tuple[tiles.Tile, dict[str, Any], int]:
    """The tile, the constants and `equal_classes` of a layout; put together once and looked up by later calls."""
    layout = layout_of(segments, low, high)
    tile = tile_of(layout, threads_of_a_warp)
    return tile, constants(layout, tile), q_head_rows.equal_classes(layout)


def forward(parameters: Tensor, targets: Tensor, segments: Sequence[int], low: float, high: float) -> Tensor:
    """[C] batch means; one launch, and a second that adds the parts of a batch of more than a few tiles.

    `segments` are a layout's `numbers`; `low` and `high` bound its log-variances.
    """
    tile, known, equal_classes = _plan(tuple(segments), low, high, warp_size())
    batch, codes = targets.shape
    out = torch.empty(codes, dtype=torch.float32, device=parameters.device)
    if batch == 0:
        return out.fill_(math.nan)
    if equal_classes and q_head_rows.serves(parameters, targets, tile):
        return q_head_rows.forward(parameters, targets, equal_classes)
    parts = tiles.parts(-(-batch // tile.rows))
    partials = out if parts == 1 else torch.empty((parts, codes), dtype=torch.float32, device=out.device)
    launch(
        q_head_nll_forward_kernel,
        parts * codes,
        parameters,
        parameters,
        targets,
        partials,
        batch,
        *parameters.stride(),
        *targets.stride(),
        float(batch) if parts == 1 else 1.0,
        **known,
        CONTIGUOUS=parameters.is_contiguous(),
    )
    if parts > 1:
        column_sums(partials, out, float(batch))
    return out


def backward(
    upstream: Tensor, parameters: Tensor, targets: Tensor, segments: Sequence[int], low: float, high: float
) -> Tensor:
    """[B, P] gradient in the dtype of the parameters, from the [C] gradient of the means."""
    tile, known, equal_classes = _plan(tuple(segments), low, high, warp_size())
    gradient = torch.empty(parameters.shape, dtype=parameters.dtype, device=parameters.device)
    batch, codes = targets.shape
    if batch == 0:
        return gradient
    if equal_classes and q_head_rows.serves(parameters, targets, tile):
        return q_head_rows.backward(upstream, parameters, targets, equal_classes)
    launch(
        q_head_nll_backward_kernel,
        -(-batch // tile.rows) * codes,
        parameters,
        upstream,
        parameters,
        targets,
        gradient,
        batch,
        upstream.stride(0),
        *parameters.stride(),
        *targets.stride(),
        float(batch),
        **known,
        CONTIGUOUS=parameters.is_contiguous(),
    )
    return gradient


_forward = register(
    "q_head_nll(Tensor parameters, Tensor targets, int[] segments, float low, float high) -> Tensor",
    forward,
    lambda parameters, targets, segments, low, high: parameters.new_empty(targets.shape[1], dtype=torch.float32),
)
_backward = register(
    "q_head_nll_backward(Tensor upstream, Tensor parameters, Tensor targets, int[] segments, float low, "
    "float high) -> Tensor",
    backward,
    lambda upstream, parameters, *_: parameters.new_empty(parameters.shape),
)


class _QHeadNLL(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, parameters: Tensor, targets: Tensor, segments: tuple[int, ...], low: float, high: float
    ) -> Tensor:
        ctx.save_for_backward(parameters, targets)
        ctx.layout = (segments, low, high)
        mean: Tensor = _forward(parameters, targets, segments, low, high)
        return mean

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        parameters, targets = ctx.saved_tensors
        gradient = _backward(upstream[0], parameters, targets, *ctx.layout)
        return once_differentiable(gradient, upstream[0], parameters), None, None, None, None


def q_head_nll(parameters: Tensor, targets: Tensor, layout: Layout) -> Tensor:
    """See `gan_zoo_kernels.q_head_nll`; the arguments are trusted here."""
    known = (layout.numbers, layout.log_var_min, layout.log_var_max)
    mean: Tensor
    if not is_differentiated(parameters):
        mean = _forward(parameters, targets, *known)
        return mean
    mean = _QHeadNLL.apply(parameters, targets, *known)  # type: ignore[no-untyped-call]
    return mean
