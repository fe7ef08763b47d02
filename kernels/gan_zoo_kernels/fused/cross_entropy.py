"""Cross-entropy of rows of logits: log-sum-exp in float32, each row read once.

Rows of up to `tiles.MAX_COLUMNS` classes are held in registers whole (`cross_entropy_rows`); longer ones are
walked along (`cross_entropy_long`), and their maxima and sums are kept for the backward pass.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch import Tensor

from . import tiles
from .column_sums import column_sums
from .cross_entropy_long import cross_entropy_long_backward_kernel, cross_entropy_long_forward_kernel
from .cross_entropy_rows import cross_entropy_backward_kernel, cross_entropy_forward_kernel
from .launches import launch, warp_size
from .operators import is_differentiated, once_differentiable, register

MOST_SCANNED = 32  # classes among which the label's logit is looked for in registers; of more it is loaded alone


def _rows(tensor: Tensor, axes: int) -> Tensor:
    """`tensor` with its first `axes` axes as one; a copy only where they are not evenly spaced."""
    return tensor if axes == 1 else tensor.reshape(tensor.shape[:axes].numel(), *tensor.shape[axes:])


@register("cross_entropy", lambda logits, target, reduction, _: _empty_results(logits, target, reduction))
def forward(logits: Tensor, target: Tensor, reduction: str, ignore_index: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """The loss [], the number of rows that count [] and, of long rows, their maxima and sums [rows, 2], else [0, 2].

    For reduction "none" the losses are [...] and the count is [0].
    """
    x, labels = _rows(logits, target.ndim), _rows(target, target.ndim)
    rows, columns = x.shape
    none = reduction == "none"
    out, count, kept = _empty_results(logits, target, reduction)
    if rows == 0:
        return out.fill_(math.nan if reduction == "mean" else 0.0), count.zero_(), kept
    long = columns > tiles.MAX_COLUMNS
    rows_of_a_program, known = _forward_plan(columns, x.element_size(), x.is_contiguous(), warp_size())
    blocks = -(-rows // rows_of_a_program)
    programs = tiles.programs_of_a_sum(blocks) if long or not none else blocks
    second = programs > 1 and not none
    partials = torch.empty((programs, 2), dtype=torch.float32, device=out.device) if second else None
    launch(
        cross_entropy_long_forward_kernel if long else cross_entropy_forward_kernel, programs, logits,
        x, labels, out if partials is None else partials, count if partials is None else partials.view(-1)[1:],
        *((kept,) if long else ()), 2, rows, *x.stride(), labels.stride(0), 0 if ignore_index is None else ignore_index,
        IGNORES=ignore_index is not None, NONE=none, DIVIDE=reduction == "mean" and not second, **known,
    )  # fmt: skip
    if partials is not None:
        column_sums(partials, out, count=count, ratio=reduction == "mean")
    return out, count, kept


def _empty_results(logits: Tensor, target: Tensor, reduction: str) -> tuple[Tensor, Tensor, Tensor]:
    none = reduction == "none"
    rows = target.numel() if logits.shape[-1] > tiles.MAX_COLUMNS else 0
    out = logits.new_empty(target.shape if none else (), dtype=torch.float32)
    count = logits.new_empty((0,) if none else (), dtype=torch.float32)
    return out, count, logits.new_empty((rows, 2), dtype=torch.float32)


@functools.lru_cache(maxsize=256)
def _forward_plan(columns: int, itemsize: int, contiguous: bool, warp_size: int) -> tuple[int, dict[str, Any]]:
    """Rows of a program, and what the kernel compiles for; put together once and looked up by later calls."""
    known: dict[str, Any] = {"CONTIGUOUS": contiguous, "K": columns}
    if columns > tiles.MAX_COLUMNS:
        tile = tiles.long_row_tile(itemsize, warp_size, contiguous=contiguous)
        return 1, {**known, "CHUNKS": tile.rows, "COLUMNS": tile.columns, "num_warps": tile.warps}
    tile = tiles.dense_tile(columns, warp_size)
    known |= {"GATHER": columns > MOST_SCANNED, "ROWS": tile.rows, "COLUMNS": tile.columns, "num_warps": tile.warps}
    return tile.rows, {**known, "CHUNKS": tiles.chunks(tile, columns, itemsize, warp_size)}


@register("cross_entropy_backward", lambda upstream, count, kept, logits, *_: logits.new_empty(logits.shape))
def backward(
    upstream: Tensor,
    count: Tensor,
    kept: Tensor,
    logits: Tensor,
    target: Tensor,
    reduction: str,
    ignore_index: int | None,
) -> Tensor:
    """The gradient of the logits, contiguous and in their dtype; `count` and `kept` are those of the forward pass."""
    gradient = torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)
    x, labels = _rows(logits, target.ndim), _rows(target, target.ndim)
    rows, columns = x.shape
    if rows == 0:
        return gradient
    g = _rows(upstream, target.ndim)
    long = columns > tiles.MAX_COLUMNS
    rows_of_a_program, stretches, known = _backward_plan(columns, x.element_size(), x.is_contiguous(), warp_size())
    launch(
        cross_entropy_long_backward_kernel if long else cross_entropy_backward_kernel,
        -(-rows // rows_of_a_program) * stretches, logits,
        g, count, x, labels, gradient, *((kept,) if long else ()),
        rows, g.stride(0) if reduction == "none" else 0, *x.stride(), labels.stride(0),
        0 if ignore_index is None else ignore_index,
        IGNORES=ignore_index is not None, MEAN=reduction == "mean", NONE=reduction == "none", **known,
    )  # fmt: skip
    return gradient


@functools.lru_cache(maxsize=256)
def _backward_plan(columns: int, itemsize: int, contiguous: bool, warp_size: int) -> tuple[int, int, dict[str, Any]]:
    """Rows of a program, programs for each row, and what the kernel compiles for, as in `_forward_plan`."""
    known: dict[str, Any] = {"CONTIGUOUS": contiguous, "K": columns}
    if columns > tiles.MAX_COLUMNS:
        tile = tiles.long_row_tile(itemsize, warp_size, contiguous=contiguous)
        stretches = -(-columns // (tile.rows * tile.columns))
        return 1, stretches, {**known, "CHUNKS": tile.rows, "COLUMNS": tile.columns, "num_warps": tile.warps}
    # With float32's exact exponentials, 512 threads of the longest rows spill on sm_100.
    longest_float32 = itemsize == 4 and columns > tiles.MAX_COLUMNS // 2
    values = tiles.VALUES_WITH_GRADIENTS // 2 if longest_float32 else tiles.VALUES_WITH_GRADIENTS
    tile = tiles.dense_tile(columns, warp_size, values=values)
    known |= {"ROWS": tile.rows, "COLUMNS": tile.columns, "num_warps": tile.warps}
    return tile.rows, 1, {**known, "CHUNKS": tiles.chunks(tile, columns, itemsize, warp_size, stored=True)}


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, reduction: str, ignore_index: int | None) -> Tensor:
        loss, count, kept = forward(logits, target, reduction, ignore_index)
        ctx.save_for_backward(logits, target, count, kept)
        ctx.options = (reduction, ignore_index)
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        logits, target, count, kept = ctx.saved_tensors
        gradient = backward(upstream[0], count, kept, logits, target, *ctx.options)
        return once_differentiable(gradient, upstream[0], logits), None, None, None


def cross_entropy(logits: Tensor, target: Tensor, reduction: str, ignore_index: int | None) -> Tensor:
    """See `gan_zoo_kernels.cross_entropy`; the arguments are trusted here."""
    if not is_differentiated(logits):
        return forward(logits, target, reduction, ignore_index)[0]
    loss: Tensor = _CrossEntropy.apply(logits, target, reduction, ignore_index)  # type: ignore[no-untyped-call]
    return loss
