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

from .. import layout as layouts
from ..layout import CodeGroup, Layout, parse_layout
from ..reference_consistency import FLOOR as _FLOOR
from . import tiles
from .codes import CATEGORICAL, FIRST_CLASS, FIRST_COLUMN, find_code, of_group
from .column_sums import column_sums
from .launches import launch, warp_size
from .mathematics import exp
from .operators import is_differentiated, once_differentiable, register

FLOOR = tl.constexpr(_FLOOR)
MAX_ROWS = 1_024
MAX_TILES = 64  # of one program; larger batches would occupy one multiprocessor, and plain torch takes the whole GPU


def covers(rows: int, layout: Layout) -> bool:
    """Whether a batch is small enough for one program per code."""
    if layout.most_classes > tiles.MAX_COLUMNS:
        return False
    return 1 <= rows <= min(MAX_ROWS, MAX_TILES * tiles.row_tile(layout.most_classes).rows)


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
    PRIORS: tl.constexpr, GROUPS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """One code's spread · KL(mean of p ‖ prior) - mean of Σ p log q, with p of the image and q of its copy."""
    code = tl.program_id(0)
    _, size, column = find_code(code, GROUPS)
    first_class = column + of_group(code, GROUPS, FIRST_CLASS) - of_group(code, GROUPS, FIRST_COLUMN)
    k = tl.arange(0, COLUMNS)
    here = k < size
    agreed = tl.zeros((ROWS, COLUMNS), tl.float32)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for first in range(0, rows, ROWS):
        row = first + tl.arange(0, ROWS)
        live = row < rows
        pair = row < shared  # images that have a copy
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
    # KL(mean ‖ prior) = Σ mean (log mean - log prior); without priors log K is left out
    log_ratio = tl.log(tl.where(mean < FLOOR, FLOOR, mean))
    if PRIORS:
        log_ratio -= tl.load(log_priors + first_class + k, here, 0.0)
    divergence = tl.sum(tl.where(here, mean * log_ratio, 0.0), axis=0)
    agreement = tl.sum(tl.sum(agreed, axis=1), axis=0) / shared
    tl.store(out + tl.program_id(0), spread * divergence - agreement)


@triton.jit(do_not_specialize=["rows", "shared", "spread"])
def consistency_backward_kernel(
    upstream, parameters, warped, log_priors, means, gradient, warped_gradient,
    rows, shared, spread, row_stride, column_stride, warped_row_stride, warped_column_stride,
    PRIORS: tl.constexpr, GROUPS: tl.constexpr, CODES: tl.constexpr, WIDTH: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Both inputs' gradients in one code's columns of a block of rows; 0 unless the code is categorical."""
    code = tl.program_id(0) % CODES
    kind, size, column = find_code(code, GROUPS)
    first_class = column + of_group(code, GROUPS, FIRST_CLASS) - of_group(code, GROUPS, FIRST_COLUMN)
    k = tl.arange(0, COLUMNS)
    here = k < size
    row = tl.program_id(0) // CODES * ROWS + tl.arange(0, ROWS)
    live = row < rows
    pair = row < shared  # images that have a copy
    d = tl.zeros((ROWS, COLUMNS), tl.float32)
    warped_d = tl.zeros((ROWS, COLUMNS), tl.float32)
    if kind == CATEGORICAL:
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
        # v = ∂loss/∂p = spread (log mean + 1 - log prior) / n - log q / m; below FLOOR the logarithm is constant
        pull = tl.log(tl.where(mean < FLOOR, FLOOR, mean))
        pull += tl.where(mean < FLOOR, 0.0, 1.0)
        if PRIORS:
            pull -= tl.load(log_priors + first_class + k, here, 0.0)
        pull = (tl.zeros((ROWS, COLUMNS), tl.float32) + pull[None, :]) * (spread / rows)
        pull -= tl.where(pair[:, None] & here[None, :], log_q, 0.0) / shared
        # through the softmax, ∂loss/∂x = p (v - ⟨p, v⟩); and ∂(-Σ p log q)/∂y = q - p
        d = g * (p * (pull - tl.sum(p * pull, axis=1)[:, None]))
        warped_d = g * ((e / sum_e[:, None] - p) / shared)
    at = (row.to(tl.int64) * WIDTH)[:, None] + (column + k)[None, :]
    tl.store(gradient + at, d.to(gradient.dtype.element_ty), live[:, None] & here[None, :])
    tl.store(warped_gradient + at, warped_d.to(warped_gradient.dtype.element_ty), pair[:, None] & here[None, :])


class Plan(NamedTuple):
    """A layout, and what the kernels are compiled for."""

    layout: Layout
    tile: tiles.Tile
    categorical: tuple[CodeGroup, ...]  # those groups alone, their codes numbered without the others
    codes: int  # categorical ones
    classes: int  # of all of them


@functools.lru_cache(maxsize=256)
def _plan(spec: str, threads_of_a_warp: int) -> Plan:
    layout = parse_layout(spec)
    categorical: list[CodeGroup] = []
    codes = 0
    for group in layout.groups:
        if group.kind == layouts.CATEGORICAL:
            categorical.append(group._replace(first_code=codes))
            codes += group.length
    classes = sum(group.length * group.size for group in categorical)
    return Plan(layout, tiles.row_tile(layout.most_classes, threads_of_a_warp), tuple(categorical), codes, classes)


@register(
    "consistency",
    lambda parameters, warped, log_priors, spec, _: (
        parameters.new_empty((), dtype=torch.float32),
        parameters.new_empty(_plan(spec, 32).classes, dtype=torch.float32),
    ),
)
def forward(
    parameters: Tensor, warped: Tensor, log_priors: Tensor | None, spec: str, spread: float
) -> tuple[Tensor, Tensor]:
    """The term [] and the mean probability of every class of every categorical code, one after the other."""
    _, tile, groups, codes, classes = _plan(spec, warp_size())
    out = torch.empty((), dtype=torch.float32, device=parameters.device)
    means = torch.empty(classes, dtype=torch.float32, device=parameters.device)
    partials = out if codes == 1 else torch.empty((codes, 1), dtype=torch.float32, device=parameters.device)
    launch(
        consistency_forward_kernel, codes, parameters,
        parameters, warped, means if log_priors is None else log_priors, partials, means,
        len(parameters), len(warped), spread, *parameters.stride(), *warped.stride(),
        PRIORS=log_priors is not None, GROUPS=groups, ROWS=tile.rows, COLUMNS=tile.columns, num_warps=tile.warps,
    )  # fmt: skip
    if codes > 1:
        column_sums(partials, out)
    return out, means


@register(
    "consistency_backward",
    lambda upstream, parameters, warped, *_: (parameters.new_empty(parameters.shape), warped.new_empty(warped.shape)),
)
def backward(
    upstream: Tensor,
    parameters: Tensor,
    warped: Tensor,
    log_priors: Tensor | None,
    means: Tensor,
    spec: str,
    spread: float,
) -> tuple[Tensor, Tensor]:
    """The gradients of `parameters` and `warped`, contiguous and in their dtypes, from the term's []."""
    layout, tile, *_ = _plan(spec, warp_size())
    codes = len(layout.columns)
    gradient = torch.empty(parameters.shape, dtype=parameters.dtype, device=parameters.device)
    warped_gradient = torch.empty(warped.shape, dtype=warped.dtype, device=warped.device)
    launch(
        consistency_backward_kernel, -(-len(parameters) // tile.rows) * codes, parameters,
        upstream, parameters, warped, means if log_priors is None else log_priors, means, gradient, warped_gradient,
        len(parameters), len(warped), spread, *parameters.stride(), *warped.stride(),
        PRIORS=log_priors is not None, GROUPS=layout.groups, CODES=codes, WIDTH=layout.width,
        ROWS=tile.rows, COLUMNS=tile.columns, num_warps=tile.warps,
    )  # fmt: skip
    return gradient, warped_gradient


class _Consistency(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, parameters: Tensor, warped: Tensor, log_priors: Tensor | None, *options: str | float
    ) -> Tensor:
        term, means = forward(parameters, warped, log_priors, *options)
        ctx.save_for_backward(parameters, warped, log_priors, means)
        ctx.options = options
        return term

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        parameters, warped, log_priors, means = ctx.saved_tensors
        gradients = backward(upstream[0], parameters, warped, log_priors, means, *ctx.options)
        guarded = (once_differentiable(g, upstream[0], parameters, warped) for g in gradients)
        return *guarded, None, None, None


def consistency(
    parameters: Tensor, warped: Tensor, layout: Layout, spread: float, log_priors: Sequence[Tensor] | None
) -> Tensor:
    """See `gan_zoo_kernels.consistency`; the arguments are trusted here, at least one code is categorical."""
    joined = None
    if log_priors is not None:
        joined = (log_priors[0] if len(log_priors) == 1 else torch.cat(tuple(log_priors))).float().contiguous()
    if not is_differentiated(parameters, warped):
        return forward(parameters, warped, joined, layout.spec, spread)[0]
    term: Tensor = _Consistency.apply(parameters, warped, joined, layout.spec, spread)  # type: ignore[no-untyped-call]
    return term
