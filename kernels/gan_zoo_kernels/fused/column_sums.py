"""The second launch of a reduction: partial sums of the programs to one number a column, in a fixed order."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from .launches import launch

NARROW, WIDE = (512, 2, 4), (512, 16, 16)  # rows, columns and warps: all loads of a thread are in flight at once


@triton.jit(do_not_specialize=["rows", "columns", "divisor"])
def column_sums_kernel(
    partials, out, count_out, rows, columns, divisor,
    COUNTED: tl.constexpr, RATIO: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for first in range(0, rows, ROWS):
        row = first + tl.arange(0, ROWS)
        live = (row < rows)[:, None] & (column < columns)[None, :]
        total += tl.load(partials + row[:, None] * columns + column[None, :], mask=live, other=0.0)
    sums = tl.sum(total, axis=0)
    if RATIO:  # columns are (sum, count)
        count = tl.sum(tl.where(column == 1, sums, 0.0), axis=0)
        sums = tl.where(column == 0, tl.div_rn(sums, tl.zeros_like(sums) + count), sums)
    else:
        sums = tl.div_rn(sums, tl.zeros_like(sums) + divisor)
    if COUNTED:
        tl.store(out + column, sums, mask=column == 0)
        tl.store(count_out + column - 1, sums, mask=column == 1)
    else:
        tl.store(out + column, sums, mask=column < columns)


def column_sums(
    partials: Tensor, out: Tensor, divisor: float = 1.0, *, count: Tensor | None = None, ratio: bool = False
) -> None:
    """out [C] = the sums over the first axis of partials [n, C], divided by `divisor`.

    With `count` the two columns are a sum, which goes to out [], and a count, which goes there; with `ratio` too, out
    is their ratio.
    """
    rows, columns = partials.shape
    tile_rows, tile_columns, warps = NARROW if columns <= NARROW[1] else WIDE
    launch(
        column_sums_kernel, -(-columns // tile_columns), out,
        partials, out, out if count is None else count, rows, columns, float(divisor),
        COUNTED=count is not None, RATIO=ratio, ROWS=tile_rows, COLUMNS=tile_columns, num_warps=warps,
    )  # fmt: skip
