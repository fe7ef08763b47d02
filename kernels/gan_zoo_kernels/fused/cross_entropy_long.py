"""Cross-entropy of rows too long for registers: one pass forward with a running log-sum-exp, one backward.

Forward, a program walks along a row in stretches. Each of its lanes keeps the maximum of the logits it has
met and the sum of their exponentials below it (Milakov and Gimelshein 2018, arXiv:1805.02867); the lanes are
joined once, at the row's end. The row's maximum and sum are kept for the backward pass, in which every
stretch of a row is a program of its own.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .cross_entropy_rows import load_labels, load_upstream, store_sums
from .mathematics import exp_below_1
from .strides import offsets


@triton.jit
def load_stretch(
    row_start, first, column_stride, CONTIGUOUS: tl.constexpr,
    K: tl.constexpr, CHUNKS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Logits [CHUNKS, COLUMNS] in float32 from column `first` on, -inf beyond the last, and their columns."""
    k = first + tl.arange(0, CHUNKS)[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    x = tl.load(row_start + offsets(k, column_stride, CONTIGUOUS), mask=k < K, other=0.0).to(tl.float32)
    return tl.where(k < K, x, float("-inf")), k


@triton.jit(do_not_specialize=["rows", "label_stride", "ignore_index"])
def cross_entropy_long_forward_kernel(
    logits, labels, out, count_out, tops_and_sums, partial_stride,
    rows, row_stride, column_stride, label_stride, ignore_index: tl.int64,
    IGNORES: tl.constexpr, NONE: tl.constexpr, DIVIDE: tl.constexpr, CONTIGUOUS: tl.constexpr,
    K: tl.constexpr, CHUNKS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    stride = K if CONTIGUOUS else row_stride
    total = tl.zeros((1,), dtype=tl.float32)
    count = tl.zeros((1,), dtype=tl.float32)
    for i in range(tl.program_id(0), rows, tl.num_programs(0)):
        row = i + tl.arange(0, 1)
        live = row < rows
        wide = tl.full((), 0, tl.int64) + i
        label, is_class, counted = load_labels(labels, row, live, label_stride, ignore_index, IGNORES, K)
        start = logits + wide * stride
        chosen = tl.load(start + offsets(label, column_stride, CONTIGUOUS)).to(tl.float32)
        # A running maximum and sum in each lane, joined once at the row's end.
        tops = tl.full((COLUMNS,), float("-inf"), tl.float32)
        sums = tl.zeros((COLUMNS,), dtype=tl.float32)
        for first in range(0, K, CHUNKS * COLUMNS):
            x, _ = load_stretch(start, first, column_stride, CONTIGUOUS, K, CHUNKS, COLUMNS)
            higher = tl.maximum(tops, tl.max(x, axis=0))
            finite = tl.where(higher == float("-inf"), 0.0, higher)  # a lane may have met no finite logit yet
            sums = sums * exp_below_1(tops - finite, False)  # what was added under the old maximum
            sums += tl.sum(exp_below_1(x - finite[None, :], False), axis=0)
            tops = higher
        top = tl.max(tops, axis=0)
        row_sum = tl.sum(sums * exp_below_1(tops - top, False), axis=0)
        tl.store(tops_and_sums + 2 * wide, top)
        tl.store(tops_and_sums + 2 * wide + 1, row_sum)
        nll = tl.where(is_class, tl.log(row_sum) + (top - chosen), float("nan"))
        nll = tl.where(counted, nll, 0.0)
        if NONE:
            tl.store(out + row.to(tl.int64), nll)
        total += nll
        count += counted.to(tl.float32)
    store_sums(out, count_out, partial_stride, total, count, NONE, DIVIDE)


@triton.jit(do_not_specialize=["rows", "label_stride", "ignore_index"])
def cross_entropy_long_backward_kernel(
    upstream, count, logits, labels, gradient, tops_and_sums,
    rows, upstream_stride, row_stride, column_stride, label_stride, ignore_index: tl.int64,
    IGNORES: tl.constexpr, MEAN: tl.constexpr, NONE: tl.constexpr, CONTIGUOUS: tl.constexpr,
    K: tl.constexpr, CHUNKS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    stretches: tl.constexpr = (K + CHUNKS * COLUMNS - 1) // (CHUNKS * COLUMNS)
    stride = K if CONTIGUOUS else row_stride
    i = (tl.program_id(0) // stretches).to(tl.int64)
    row = i + tl.arange(0, 1)
    live = row < rows
    label, is_class, counted = load_labels(labels, row, live, label_stride, ignore_index, IGNORES, K)
    g = load_upstream(upstream, count, row, live, upstream_stride, MEAN, NONE, 1)
    g = tl.where(is_class, g, float("nan"))
    top = tl.load(tops_and_sums + 2 * i)
    row_sum = tl.load(tops_and_sums + 2 * i + 1)
    first = tl.program_id(0) % stretches * (CHUNKS * COLUMNS)
    x, k = load_stretch(logits + i * stride, first, column_stride, CONTIGUOUS, K, CHUNKS, COLUMNS)
    # d/dx_k (log Σ e^x - x_label) = e^(x_k - top) / row_sum - [k = label]
    d = exp_below_1(x - top, gradient.dtype.element_ty == tl.float32) * (g / row_sum)[:, None]
    d = tl.where(k == label[:, None], d - g[:, None], d)
    if IGNORES:
        d = tl.where(counted[:, None], d, 0.0)
    tl.store(gradient + i * K + k, d.to(gradient.dtype.element_ty), mask=k < K)
