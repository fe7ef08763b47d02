"""The second launch of a reduction: partial sums of the programs to one number a column, in a fixed order."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from .launches import launch

ROWS = 64
COLUMNS = 16
WARPS = 4


@triton.jit(do_not_specialize=["rows", "columns", "divisor"])
def column_sums_kernel(
    partials, out, rows, columns, divisor, RATIO: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for first in range(0, rows, ROWS):
        row = first + tl.arange(0, ROWS)
        live = (row < rows)[:, None] & (column < columns)[None, :]
        total += tl.load(partials + row[:, None] * columns + column[None, :], mask=live, other=0.0)
    sums = tl.sum(total, axis=0)
    if RATIO:  # columns are (sum, count): leave (sum / count, count)
        count = tl.sum(tl.where(column == 1, sums, 0.0), axis=0)
        sums = tl.where(column == 0, tl.div_rn(sums, tl.zeros_like(sums) + count), sums)
    else:
        sums = tl.div_rn(sums, tl.zeros_like(sums) + divisor)
    tl.store(out + column, sums, mask=column < columns)


def column_sums(partials: Tensor, out: Tensor, divisor: float = 1.0, *, ratio: bool = False) -> None:
    """out [C] = the sums over the first axis of partials [n, C], divided by `divisor`.

    With `ratio` the two columns are a sum and a count, and out is (sum / count, count).
    """
    rows, columns = partials.shape
    launch(
        column_sums_kernel,
        -(-columns // COLUMNS),
        out,
        partials,
        out,
        rows,
        columns,
        float(divisor),
        RATIO=ratio,
        ROWS=ROWS,
        COLUMNS=COLUMNS,
        num_warps=WARPS,
    )
