"""Where elements lie: offsets in a kernel, and views of one shape that a kernel can walk without a copy."""

from __future__ import annotations

from collections.abc import Sequence

import triton
import triton.language as tl
from torch import Tensor

Strides = tuple[int, int]


@triton.jit
def offsets(k, stride, CONTIGUOUS: tl.constexpr):
    """Offsets of columns k; in int64 where their stride may be anything."""
    if CONTIGUOUS:
        at = k
    else:
        at = k.to(tl.int64) * stride
    return at


def as_rows_and_columns(tensors: Sequence[Tensor]) -> tuple[list[Tensor], int, list[Strides], bool]:
    """Tensors of one shape (expanded ones too) as [rows, columns] with a stride for each.

    Axes are merged where every tensor allows it. Where more than two remain, tensors that are not contiguous
    are copied: that is the one case with more than one read of an input.

    Returns the tensors (or their copies), the number of columns, a (row, column) stride for each, and
    whether all are simply contiguous, so that an element's index is its offset.
    """
    n = tensors[0].numel()
    contiguous = [t.is_contiguous() for t in tensors]
    if n > 1 and all(contiguous):
        return list(tensors), n, [(0, 1)] * len(tensors), True
    axes = _merged_axes(tensors[0].shape, [t.stride() for t in tensors])
    if len(axes) > 2:
        tensors = [t.contiguous() for t in tensors]
        axes = _merged_axes(tensors[0].shape, [t.stride() for t in tensors])
    if not axes:
        return list(tensors), 1, [(0, 0)] * len(tensors), False
    flat = len(axes) == 1 and all(stride == 1 for stride in axes[0][1])
    if len(axes) == 1:
        size, column_strides = axes[0]
        return list(tensors), size, [(0, stride) for stride in column_strides], flat
    (_, row_strides), (columns, column_strides) = axes
    return list(tensors), columns, list(zip(row_strides, column_strides, strict=True)), False


def _merged_axes(shape: Sequence[int], strides: Sequence[Sequence[int]]) -> list[tuple[int, tuple[int, ...]]]:
    """(size, strides) of every axis longer than 1, neighbours merged where every tensor allows it."""
    axes: list[tuple[int, tuple[int, ...]]] = []
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        inner = tuple(stride[axis] for stride in strides)
        if axes:
            outer_size, outer = axes[-1]
            if all(o == i * size for o, i in zip(outer, inner, strict=True)):
                axes[-1] = (outer_size * size, inner)
                continue
        axes.append((size, inner))
    return axes


def extent(shape: Sequence[int], strides: Sequence[int]) -> int:
    """One more than the largest offset of an element."""
    return 1 + sum((size - 1) * abs(stride) for size, stride in zip(shape, strides, strict=True))
