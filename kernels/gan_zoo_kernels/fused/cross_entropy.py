"""Cross-entropy of rows of logits: log-sum-exp in float32, each row read once and held in registers whole.

A program takes a block of rows. Forward, it walks over several blocks and leaves the sum of the losses and
the number of rows that count; a second launch adds what the programs left, unless there was only one.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import tiles
from .column_sums import column_sums
from .launches import launch, warp_size
from .mathematics import exp
from .operators import is_differentiated, once_differentiable, register
from .strides import offsets


@triton.jit
def load_rows(
    logits, row, live, row_stride, column_stride, CONTIGUOUS: tl.constexpr, K: tl.constexpr, COLUMNS: tl.constexpr
):
    """A tile of logits in float32, -inf beyond the last column, and its column numbers."""
    k = tl.arange(0, COLUMNS)
    here = (k < K)[None, :]
    at = logits + row.to(tl.int64)[:, None] * row_stride + offsets(k, column_stride, CONTIGUOUS)[None, :]
    x = tl.load(at, mask=live[:, None] & here, other=0.0).to(tl.float32)
    return tl.where(here, x, float("-inf")), k


@triton.jit(do_not_specialize=["rows", "label_stride", "ignore_index"])
def cross_entropy_forward_kernel(
    logits, labels, out, count_out, part_stride,
    rows, row_stride, column_stride, label_stride, ignore_index: tl.int64,
    IGNORES: tl.constexpr, NONE: tl.constexpr, DIVIDE: tl.constexpr, CONTIGUOUS: tl.constexpr,
    K: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    stride = K if CONTIGUOUS else row_stride
    total = tl.zeros((ROWS,), dtype=tl.float32)
    count = tl.zeros((ROWS,), dtype=tl.float32)
    for first in range(tl.program_id(0) * ROWS, rows, tl.num_programs(0) * ROWS):
        row = first + tl.arange(0, ROWS)
        live = row < rows
        label = tl.load(labels + row.to(tl.int64) * label_stride, mask=live, other=0).to(tl.int64)
        x, k = load_rows(logits, row, live, stride, column_stride, CONTIGUOUS, K, COLUMNS)
        top = tl.max(x, axis=1)
        log_sum = tl.log(tl.sum(exp(x - top[:, None]), axis=1))
        chosen = tl.sum(tl.where(k[None, :] == label[:, None], x, 0.0), axis=1)
        nll = tl.where((label >= 0) & (label < K), log_sum + (top - chosen), float("nan"))
        counted = live
        if IGNORES:
            counted = live & (label != ignore_index)
        nll = tl.where(counted, nll, 0.0)
        if NONE:
            tl.store(out + row.to(tl.int64), nll, mask=live)
        total += nll
        count += counted.to(tl.float32)
    if not NONE:
        sum_of_losses = tl.sum(total, axis=0)
        row_count = tl.sum(count, axis=0)
        if DIVIDE:
            sum_of_losses = tl.div_rn(sum_of_losses, row_count)
        tl.store(out + tl.program_id(0) * part_stride, sum_of_losses)
        tl.store(count_out + tl.program_id(0) * part_stride, row_count)


@triton.jit(do_not_specialize=["rows", "label_stride", "ignore_index"])
def cross_entropy_backward_kernel(
    upstream, count, logits, labels, gradient,
    rows, upstream_stride, row_stride, column_stride, label_stride, ignore_index: tl.int64,
    IGNORES: tl.constexpr, MEAN: tl.constexpr, NONE: tl.constexpr, CONTIGUOUS: tl.constexpr,
    K: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    stride = K if CONTIGUOUS else row_stride
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < rows
    wide = row.to(tl.int64)
    label = tl.load(labels + wide * label_stride, mask=live, other=0).to(tl.int64)
    if NONE:
        g = tl.load(upstream + wide * upstream_stride, mask=live, other=0.0)
    else:
        g = tl.zeros((ROWS,), dtype=tl.float32) + tl.load(upstream)
    if MEAN:
        g = tl.div_rn(g, tl.zeros((ROWS,), tl.float32) + tl.load(count))
    x, k = load_rows(logits, row, live, stride, column_stride, CONTIGUOUS, K, COLUMNS)
    e = exp(x - tl.max(x, axis=1)[:, None])
    p = e / tl.sum(e, axis=1)[:, None]
    d = tl.where(k[None, :] == label[:, None], p - 1.0, p) * g[:, None]
    d = tl.where(((label >= 0) & (label < K))[:, None], d, float("nan"))
    if IGNORES:
        d = tl.where((label != ignore_index)[:, None], d, 0.0)
    at = gradient + wide[:, None] * K + k[None, :]
    tl.store(at, d.to(gradient.dtype.element_ty), mask=live[:, None] & (k < K)[None, :])


def _rows(tensor: Tensor, axes: int) -> Tensor:
    """`tensor` with its first `axes` axes as one; a copy only where they are not evenly spaced."""
    return tensor if axes == 1 else tensor.reshape(tensor.shape[:axes].numel(), *tensor.shape[axes:])


def forward(logits: Tensor, target: Tensor, reduction: str, ignore_index: int | None) -> tuple[Tensor, Tensor]:
    """The loss [] and the number of rows that count []; for reduction "none" the losses [...] and no count [0]."""
    x, labels = _rows(logits, target.ndim), _rows(target, target.ndim)
    rows, columns = x.shape
    none = reduction == "none"
    out = torch.empty(target.shape if none else (), dtype=torch.float32, device=logits.device)
    count = torch.empty((0,) if none else (), dtype=torch.float32, device=logits.device)
    if rows == 0:
        return out.fill_(math.nan if reduction == "mean" else 0.0), count.zero_()
    tile = tiles.row_tile(columns, warp_size())
    blocks = -(-rows // tile.rows)
    parts = blocks if none else tiles.parts(blocks)
    second = parts > 1 and not none
    partials = torch.empty((parts, 2), dtype=torch.float32, device=out.device) if second else None
    launch(
        cross_entropy_forward_kernel,
        parts,
        logits,
        x,
        labels,
        out if partials is None else partials,
        count if partials is None else partials.view(-1)[1:],
        2,
        rows,
        *x.stride(),
        labels.stride(0),
        0 if ignore_index is None else ignore_index,
        IGNORES=ignore_index is not None,
        NONE=none,
        DIVIDE=reduction == "mean" and not second,
        CONTIGUOUS=x.is_contiguous(),
        K=columns,
        ROWS=tile.rows,
        COLUMNS=tile.columns,
        num_warps=tile.warps,
    )
    if partials is not None:
        column_sums(partials, out, count=count, ratio=reduction == "mean")
    return out, count


def backward(
    upstream: Tensor, count: Tensor, logits: Tensor, target: Tensor, reduction: str, ignore_index: int | None
) -> Tensor:
    """The gradient of the logits, contiguous and in their dtype; `count` is that of the forward pass."""
    gradient = torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)
    x, labels = _rows(logits, target.ndim), _rows(target, target.ndim)
    rows, columns = x.shape
    if rows == 0:
        return gradient
    g = _rows(upstream, target.ndim)
    tile = tiles.row_tile(columns, warp_size())
    launch(
        cross_entropy_backward_kernel,
        -(-rows // tile.rows),
        logits,
        g,
        count,
        x,
        labels,
        gradient,
        rows,
        g.stride(0) if reduction == "none" else 0,
        *x.stride(),
        labels.stride(0),
        0 if ignore_index is None else ignore_index,
        IGNORES=ignore_index is not None,
        MEAN=reduction == "mean",
        NONE=reduction == "none",
        CONTIGUOUS=x.is_contiguous(),
        K=columns,
        ROWS=tile.rows,
        COLUMNS=tile.columns,
        num_warps=tile.warps,
    )
    return gradient


_forward = register(
    "cross_entropy(Tensor logits, Tensor target, str reduction, int? ignore_index) -> (Tensor, Tensor)",
    forward,
    lambda logits, target, reduction, ignore_index: (
        logits.new_empty(target.shape if reduction == "none" else (), dtype=torch.float32),
        logits.new_empty((0,) if reduction == "none" else (), dtype=torch.float32),
    ),
)
_backward = register(
    "cross_entropy_backward(Tensor upstream, Tensor count, Tensor logits, Tensor target, str reduction, "
    "int? ignore_index) -> Tensor",
    backward,
    lambda upstream, count, logits, *_: logits.new_empty(logits.shape),
)


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, reduction: str, ignore_index: int | None) -> Tensor:
        loss: Tensor
        loss, count = _forward(logits, target, reduction, ignore_index)
        ctx.save_for_backward(logits, target, count)
        ctx.options = (reduction, ignore_index)
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        logits, target, count = ctx.saved_tensors
        gradient = _backward(upstream[0], count, logits, target, *ctx.options)
        return once_differentiable(gradient, upstream[0], logits), None, None, None


def cross_entropy(logits: Tensor, target: Tensor, reduction: str, ignore_index: int | None) -> Tensor:
    """See `gan_zoo_kernels.cross_entropy`; the arguments are trusted here."""
    loss: Tensor
    if not is_differentiated(logits):
        loss, _ = _forward(logits, target, reduction, ignore_index)
        return loss
    loss = _CrossEntropy.apply(logits, target, reduction, ignore_index)  # type: ignore[no-untyped-call]
    return loss
