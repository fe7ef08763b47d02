"""Cross-entropy of rows that registers hold whole: each row is read once, and all its values are there at once.

A program takes a block of rows. Forward, it walks over several blocks and leaves the sum of the losses and
the number of rows that count; a second launch adds what the programs left, unless there was only one.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .mathematics import exp_below_1
from .strides import offsets


@triton.jit
def load_rows(
    logits, row, live, row_stride, column_stride, CONTIGUOUS: tl.constexpr,
    K: tl.constexpr, CHUNKS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """A tile [CHUNKS, ROWS, COLUMNS / CHUNKS] of logits in float32, -inf beyond the last column, and its columns."""
    stretch: tl.constexpr = COLUMNS // CHUNKS
    k = tl.arange(0, CHUNKS)[:, None, None] * stretch + tl.arange(0, stretch)[None, None, :]
    at = logits + (row.to(tl.int64) * row_stride)[None, :, None] + offsets(k, column_stride, CONTIGUOUS)
    if K == COLUMNS:
        x = tl.load(at, mask=live[None, :, None], other=0.0).to(tl.float32)
    else:
        here = k < K
        x = tl.load(at, mask=live[None, :, None] & here, other=0.0).to(tl.float32)
        x = tl.where(here, x, float("-inf"))
    return x, k


@triton.jit
def load_labels(labels, row, live, label_stride, ignore_index, IGNORES: tl.constexpr, K: tl.constexpr):
    """The labels of rows as int32, whether each is a class, and whether each counts."""
    label = tl.load(labels + row.to(tl.int64) * label_stride, mask=live, other=0).to(tl.int64)
    is_class = (label >= 0) & (label < K)
    counted = live
    if IGNORES:
        counted = live & (label != ignore_index)
    return tl.where(is_class, label, 0).to(tl.int32), is_class, counted


@triton.jit
def load_upstream(
    upstream, count, row, live, upstream_stride, MEAN: tl.constexpr, NONE: tl.constexpr, ROWS: tl.constexpr
):
    """The gradient of each row's loss."""
    if NONE:
        g = tl.load(upstream + row.to(tl.int64) * upstream_stride, mask=live, other=0.0)
    else:
        g = tl.zeros((ROWS,), dtype=tl.float32) + tl.load(upstream)
    if MEAN:
        g = tl.div_rn(g, tl.zeros((ROWS,), tl.float32) + tl.load(count))
    return g


@triton.jit
def store_sums(out, count_out, partial_stride, total, count, NONE: tl.constexpr, DIVIDE: tl.constexpr):
    """A program's sum of losses and number of rows that count; those of several programs alternate in memory."""
    if not NONE:
        sum_of_losses = tl.sum(total, axis=0)
        row_count = tl.sum(count, axis=0)
        if DIVIDE:
            sum_of_losses = tl.div_rn(sum_of_losses, row_count)
        tl.store(out + tl.program_id(0) * partial_stride, sum_of_losses)
        tl.store(count_out + tl.program_id(0) * partial_stride, row_count)


@triton.jit(do_not_specialize=["rows", "label_stride", "ignore_index"])
def cross_entropy_forward_kernel(
    logits, labels, out, count_out, partial_stride,
    rows, row_stride, column_stride, label_stride, ignore_index: tl.int64,
    IGNORES: tl.constexpr, NONE: tl.constexpr, DIVIDE: tl.constexpr, CONTIGUOUS: tl.constexpr,
    K: tl.constexpr, GATHER: tl.constexpr, ROWS: tl.constexpr, CHUNKS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    # Losses of this program's blocks of rows: stored if NONE, else their sum, and the number of rows that count.
    stride = K if CONTIGUOUS else row_stride
    total = tl.zeros((ROWS,), dtype=tl.float32)
    count = tl.zeros((ROWS,), dtype=tl.float32)
    for first in range(tl.program_id(0) * ROWS, rows, tl.num_programs(0) * ROWS):
        row = first + tl.arange(0, ROWS)
        live = row < rows
        label, is_class, counted = load_labels(labels, row, live, label_stride, ignore_index, IGNORES, K)
        x, k = load_rows(logits, row, live, stride, column_stride, CONTIGUOUS, K, CHUNKS, COLUMNS)
        if GATHER:
            at = logits + row.to(tl.int64) * stride + offsets(label, column_stride, CONTIGUOUS)
            chosen = tl.load(at, mask=live, other=0.0).to(tl.float32)
        else:
            chosen = tl.sum(tl.sum(tl.where(k == label[None, :, None], x, 0.0), axis=0), axis=1)
        top = tl.max(tl.max(x, axis=0), axis=1)  # over chunks in a thread first, then between threads
        log_sum = tl.log(tl.sum(tl.sum(exp_below_1(x - top[None, :, None], False), axis=0), axis=1))
        nll = tl.where(is_class, log_sum + (top - chosen), float("nan"))
        nll = tl.where(counted, nll, 0.0)
        if NONE:
            tl.store(out + row.to(tl.int64), nll, mask=live)
        total += nll
        count += counted.to(tl.float32)
    store_sums(out, count_out, partial_stride, total, count, NONE, DIVIDE)


@triton.jit(do_not_specialize=["rows", "label_stride", "ignore_index"])
def cross_entropy_backward_kernel(
    upstream, count, logits, labels, gradient,
    rows, upstream_stride, row_stride, column_stride, label_stride, ignore_index: tl.int64,
    IGNORES: tl.constexpr, MEAN: tl.constexpr, NONE: tl.constexpr, CONTIGUOUS: tl.constexpr,
    K: tl.constexpr, ROWS: tl.constexpr, CHUNKS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    stride = K if CONTIGUOUS else row_stride
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < rows
    label, is_class, counted = load_labels(labels, row, live, label_stride, ignore_index, IGNORES, K)
    g = load_upstream(upstream, count, row, live, upstream_stride, MEAN, NONE, ROWS)
    g = tl.where(is_class, g, float("nan"))
    x, k = load_rows(logits, row, live, stride, column_stride, CONTIGUOUS, K, CHUNKS, COLUMNS)
    top = tl.max(tl.max(x, axis=0), axis=1)
    e = exp_below_1(x - top[None, :, None], gradient.dtype.element_ty == tl.float32)
    # d/dx_k (log Σ e^x - x_label) = softmax(x)_k - [k = label]; one division a row
    d = e * (g / tl.sum(tl.sum(e, axis=0), axis=1))[None, :, None]
    d = tl.where(k == label[None, :, None], d - g[None, :, None], d)
    if IGNORES:
        d = tl.where(counted[None, :, None], d, 0.0)
    at = gradient + (row.to(tl.int64) * K)[None, :, None] + k
    if K == COLUMNS:
        tl.store(at, d.to(gradient.dtype.element_ty), mask=live[None, :, None])
    else:
        tl.store(at, d.to(gradient.dtype.element_ty), mask=live[None, :, None] & (k < K))
