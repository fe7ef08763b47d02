"""The consistency term of all categorical codes, in one launch forward and one backward.

Forward, a program takes one code and walks over all rows, for its entropy needs the mean probability of the batch;
it leaves that mean for the backward pass. The values of several codes are added by a second launch. Backward, a
program takes one code of a block of rows, and the columns of other kinds of codes get zeros.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..layout import Kind, Layout, Segment
from ..reference_consistency import FLOOR as _FLOOR
from . import tiles
from .column_sums import column_sums
from .launches import launch, warp_size
from .mathematics import exp
from .operators import is_differentiated, once_differentiable, register

FLOOR = tl.constexpr(_FLOOR)
MAX_ROWS = 1_024
MAX_TILES = 64  # that one program walks over; beyond, plain torch has a whole GPU and this has one multiprocessor


def covers(rows: int, layout: Layout) -> bool:
    """Whether a batch is small enough for a program a code."""
    if layout.most_classes > tiles.MAX_COLUMNS:
        return False
    return 1 <= rows <= min(MAX_ROWS, MAX_TILES * tiles.row_tile(layout.most_classes).rows)


@triton.jit
def find_columns(code, RUNS: tl.constexpr):
    """(first column, columns, first class, whether categorical) of a code; RUNS has five numbers a run."""
    column = RUNS[1] + (code - RUNS[0]) * RUNS[2]
    size = RUNS[2]
    first_class = RUNS[3] + (code - RUNS[0]) * RUNS[2]
    categorical = RUNS[4]
    for i in tl.static_range(5, len(RUNS), 5):
        here = code >= RUNS[i]
        column = tl.where(here, RUNS[i + 1] + (code - RUNS[i]) * RUNS[i + 2], column)
        size = tl.where(here, RUNS[i + 2], size)
        first_class = tl.where(here, RUNS[i + 3] + (code - RUNS[i]) * RUNS[i + 2], first_class)
        categorical = tl.where(here, RUNS[i + 4], categorical)
    return column, size, first_class, categorical


@triton.jit
def load_logits(logits, row, live, column, here, k, row_stride, column_stride):
    """A tile of a code's logits in float32, -inf beyond its last class; 0 in rows that are not live."""
    at = logits + row.to(tl.int64)[:, None] * row_stride + (column + k).to(tl.int64)[None, :] * column_stride
    x = tl.load(at, live[:, None] & here[None, :], 0.0).to(tl.float32)
    return tl.where(here[None, :], x, float("-inf"))


@triton.jit(do_not_specialize=["rows", "shared", "spread"])
def consistency_forward_kernel(
    parameters, warped, log_priors, out, means,
    rows, shared, spread, row_stride, column_stride, warped_row_stride, warped_column_stride,
    PRIORS: tl.constexpr, RUNS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    column, size, first_class, _ = find_columns(tl.program_id(0), RUNS)
    k = tl.arange(0, COLUMNS)
    here = k < size
    agreed = tl.zeros((ROWS, COLUMNS), tl.float32)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for first in range(0, rows, ROWS):
        row = first + tl.arange(0, ROWS)
        live = row < rows
        pair = row < shared
        x = load_logits(parameters, row, live, column, here, k, row_stride, column_stride)
        y = load_logits(warped, row, pair, column, here, k, warped_row_stride, warped_column_stride)
        e = exp(x - tl.max(x, axis=1)[:, None])
        p = e / tl.sum(e, axis=1)[:, None]
        y -= tl.max(y, axis=1)[:, None]
        log_q = y - tl.log(tl.sum(exp(y), axis=1))[:, None]
        total += tl.where(live[:, None], p, 0.0)
        agreed += p * tl.where(pair[:, None] & here[None, :], log_q, 0.0)
    mean = tl.sum(total, axis=0) / rows
    tl.store(means + first_class + k, mean, here)
    told = tl.log(tl.where(mean < FLOOR, FLOOR, mean))
    if PRIORS:
        told -= tl.load(log_priors + first_class + k, here, 0.0)
    divergence = tl.sum(tl.where(here, mean * told, 0.0), axis=0)
    agreement = tl.sum(tl.sum(agreed, axis=1), axis=0) / shared
    tl.store(out + tl.program_id(0), spread * divergence - agreement)


@triton.jit(do_not_specialize=["rows", "shared", "spread"])
def consistency_backward_kernel(
    upstream, parameters, warped, log_priors, means, gradient, warped_gradient,
    rows, shared, spread, row_stride, column_stride, warped_row_stride, warped_column_stride,
    PRIORS: tl.constexpr, RUNS: tl.constexpr, CODES: tl.constexpr, WIDTH: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    column, size, first_class, categorical = find_columns(tl.program_id(0) % CODES, RUNS)
    k = tl.arange(0, COLUMNS)
    here = k < size
    row = tl.program_id(0) // CODES * ROWS + tl.arange(0, ROWS)
    live = row < rows
    pair = row < shared
    d = tl.zeros((ROWS, COLUMNS), tl.float32)
    warped_d = tl.zeros((ROWS, COLUMNS), tl.float32)
    if categorical != 0:
        g = tl.load(upstream)
        x = load_logits(parameters, row, live, column, here, k, row_stride, column_stride)
        y = load_logits(warped, row, pair, column, here, k, warped_row_stride, warped_column_stride)
        e = exp(x - tl.max(x, axis=1)[:, None])
        p = e / tl.sum(e, axis=1)[:, None]
        y -= tl.max(y, axis=1)[:, None]
        e = exp(y)
        sum_e = tl.sum(e, axis=1)
        log_q = y - tl.log(sum_e)[:, None]
        mean = tl.load(means + first_class + k, here, 1.0)
        pull = tl.log(tl.where(mean < FLOOR, FLOOR, mean))
        pull += tl.where(mean < FLOOR, 0.0, 1.0)
        if PRIORS:
            pull -= tl.load(log_priors + first_class + k, here, 0.0)
        pull = (tl.zeros((ROWS, COLUMNS), tl.float32) + pull[None, :]) * (spread / rows)
        pull -= tl.where(pair[:, None] & here[None, :], log_q, 0.0) / shared
        d = g * (p * (pull - tl.sum(p * pull, axis=1)[:, None]))
        warped_d = g * ((e / sum_e[:, None] - p) / shared)
    at = (row.to(tl.int64) * WIDTH)[:, None] + (column + k)[None, :]
    tl.store(gradient + at, d.to(gradient.dtype.element_ty), live[:, None] & here[None, :])
    tl.store(warped_gradient + at, warped_d.to(warped_gradient.dtype.element_ty), pair[:, None] & here[None, :])


class Plan(NamedTuple):
    """What the kernels know of a layout; runs as `find_columns` reads them.

    A run has five numbers: its first code and the first column, the columns of a code, the first class (counted among
    the classes of all categorical codes), and whether it is categorical.
    """

    categorical: tuple[int, ...]  # the runs of categorical codes alone
    every: tuple[int, ...]
    codes: int  # categorical ones
    classes: int  # of all of them
    layout: Layout
    tile: tiles.Tile


@functools.lru_cache(maxsize=256)
def plan(segments: tuple[int, ...], threads_of_a_warp: int) -> Plan:
    """The plan for a layout that an operator received as numbers: kind, start and size of each segment."""
    triples = zip(segments[0::3], segments[1::3], segments[2::3], strict=True)
    layout = Layout(tuple(Segment(Kind(kind), start, size) for kind, start, size in triples))
    categorical: list[int] = []
    every: list[int] = []
    codes = classes = 0
    for run in layout.runs:
        chosen = run.kind is Kind.CATEGORICAL
        every += [run.first_code, run.first_column, run.size, classes, int(chosen)]
        if chosen:
            categorical += [codes, run.first_column, run.size, classes, 1]
            codes += run.count
            classes += run.count * run.size
    tile = tiles.row_tile(layout.most_classes, threads_of_a_warp)
    return Plan(tuple(categorical), tuple(every), codes, classes, layout, tile)


def forward(
    parameters: Tensor, warped: Tensor, log_priors: Tensor | None, segments: Sequence[int], spread: float
) -> tuple[Tensor, Tensor]:
    """The term [] and the mean probability of every class of every categorical code, one after the other."""
    runs, _, codes, classes, _, tile = plan(tuple(segments), warp_size())
    out = torch.empty((), dtype=torch.float32, device=parameters.device)
    means = torch.empty(classes, dtype=torch.float32, device=parameters.device)
    partials = out if codes == 1 else torch.empty((codes, 1), dtype=torch.float32, device=parameters.device)
    launch(
        consistency_forward_kernel,
        codes,
        parameters,
        parameters,
        warped,
        means if log_priors is None else log_priors,
        partials,
        means,
        len(parameters),
        len(warped),
        spread,
        *parameters.stride(),
        *warped.stride(),
        PRIORS=log_priors is not None,
        RUNS=runs,
        ROWS=tile.rows,
        COLUMNS=tile.columns,
        num_warps=tile.warps,
    )
    if codes > 1:
        column_sums(partials, out)
    return out, means


def backward(
    upstream: Tensor,
    parameters: Tensor,
    warped: Tensor,
    log_priors: Tensor | None,
    means: Tensor,
    segments: Sequence[int],
    spread: float,
) -> tuple[Tensor, Tensor]:
    """The gradients of `parameters` and `warped`, contiguous and in their dtypes, from the term's []."""
    _, runs, *_, layout, tile = plan(tuple(segments), warp_size())
    codes = len(layout.segments)
    gradient = torch.empty(parameters.shape, dtype=parameters.dtype, device=parameters.device)
    warped_gradient = torch.empty(warped.shape, dtype=warped.dtype, device=warped.device)
    launch(
        consistency_backward_kernel,
        -(-len(parameters) // tile.rows) * codes,
        parameters,
        upstream,
        parameters,
        warped,
        means if log_priors is None else log_priors,
        means,
        gradient,
        warped_gradient,
        len(parameters),
        len(warped),
        spread,
        *parameters.stride(),
        *warped.stride(),
        PRIORS=log_priors is not None,
        RUNS=runs,
        CODES=codes,
        WIDTH=layout.width,
        ROWS=tile.rows,
        COLUMNS=tile.columns,
        num_warps=tile.warps,
    )
    return gradient, warped_gradient


_forward = register(
    "consistency(Tensor parameters, Tensor warped, Tensor? log_priors, int[] segments, float spread) "
    "-> (Tensor, Tensor)",
    forward,
    lambda parameters, warped, log_priors, segments, spread: (
        parameters.new_empty((), dtype=torch.float32),
        parameters.new_empty(
            sum(n for kind, n in zip(segments[0::3], segments[2::3], strict=True) if kind == Kind.CATEGORICAL),
            dtype=torch.float32,
        ),
    ),
)
_backward = register(
    "consistency_backward(Tensor upstream, Tensor parameters, Tensor warped, Tensor? log_priors, Tensor means, "
    "int[] segments, float spread) -> (Tensor, Tensor)",
    backward,
    lambda upstream, parameters, warped, *_: (
        parameters.new_empty(parameters.shape),
        warped.new_empty(warped.shape),
    ),
)


class _Consistency(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, parameters: Tensor, warped: Tensor, log_priors: Tensor | None, *options: tuple[int, ...] | float
    ) -> Tensor:
        term: Tensor
        term, means = _forward(parameters, warped, log_priors, *options)
        ctx.save_for_backward(parameters, warped, log_priors, means)
        ctx.options = options
        return term

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        parameters, warped, log_priors, means = ctx.saved_tensors
        gradients = _backward(upstream[0], parameters, warped, log_priors, means, *ctx.options)
        guarded = (once_differentiable(g, upstream[0], parameters, warped) for g in gradients)
        return *guarded, None, None, None


def consistency(
    parameters: Tensor, warped: Tensor, layout: Layout, spread: float, log_priors: Sequence[Tensor] | None
) -> Tensor:
    """See `gan_zoo_kernels.consistency`; the arguments are trusted here, at least one code is categorical."""
    joined = None
    if log_priors is not None:
        joined = (log_priors[0] if len(log_priors) == 1 else torch.cat(tuple(log_priors))).float().contiguous()
    term: Tensor
    if not is_differentiated(parameters, warped):
        term, _ = _forward(parameters, warped, joined, layout.numbers, spread)
        return term
    term = _Consistency.apply(parameters, warped, joined, layout.numbers, spread)  # type: ignore[no-untyped-call]
    return term
