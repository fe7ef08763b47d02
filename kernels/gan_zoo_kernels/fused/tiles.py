"""How much work one program takes: pure functions of the shape, so that a choice can be read and tested.

No choice depends on the device's size, so that sums are added in the same order on every GPU, and none is
found by timing at run time, so that the first call can be captured in a graph once it is compiled.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

MAX_COLUMNS = 8_192  # classes of a code; a row is held in registers whole
MAX_THREADS = 1_024
THREADS = 128  # of a program, unless its row needs more registers than they have
VALUES_PER_THREAD = 32  # float32 values of a row: 64 registers, and so 8 programs on a multiprocessor
VALUES_WITH_GRADIENTS = 16  # of a row whose gradients stand beside it
VECTOR_BYTES = 16  # the widest load
LINE_BYTES = 128  # a store that fills a cache line needs no read
MAX_ROWS = 128
SMALL_TILE = 2_048
LONG_ROW_THREADS = 512
FLAT_BYTES = 2 * VECTOR_BYTES  # that each thread of a flat kernel loads of each tensor: two loads in flight
MAX_ELEMENTS = THREADS * FLAT_BYTES // 2
FEW_ELEMENTS = 256  # of a flat kernel where latency counts
SPREAD = 2**17  # elements up to which a flat kernel without a sum uses FEW_ELEMENTS
MAX_PARTIAL_SUMS = 1_024  # left to the second launch: 8 programs for each of 132 multiprocessors
ALONE = 4  # tiles up to which one program takes them all, which saves the second launch


@dataclass(frozen=True)
class Tile:
    """A program's block of `rows` × `columns` values, both powers of two, and its number of warps."""

    rows: int
    columns: int
    warps: int


def next_power_of_two(n: int) -> int:
    """The smallest power of two that is at least n; n ≥ 1."""
    return 1 << (n - 1).bit_length()


def row_tile(columns: int, warp_size: int = 32) -> Tile:
    """Whole rows of up to MAX_COLUMNS values, 8 a thread: the least time for one tile."""
    width = _row_width(columns)
    rows = min(MAX_ROWS, max(1, SMALL_TILE // width))
    threads = min(MAX_THREADS, max(warp_size, rows * width // 8))
    return Tile(rows, width, threads // warp_size)


def dense_tile(columns: int, warp_size: int = 32, *, values: int = VALUES_PER_THREAD) -> Tile:
    """Whole rows of up to MAX_COLUMNS values, up to `values` a thread: the most bytes in flight."""
    width = _row_width(columns)
    rows = min(MAX_ROWS, max(1, THREADS * values // width))
    threads = max(THREADS, rows * width // values)
    return Tile(rows, width, threads // warp_size)


def _row_width(columns: int) -> int:
    if not 1 <= columns <= MAX_COLUMNS:
        raise ValueError(f"a row has 1 to {MAX_COLUMNS} columns, not {columns}")
    return max(2, next_power_of_two(columns))


def long_row_tile(itemsize: int, warp_size: int = 32, *, contiguous: bool = True) -> Tile:
    """A stretch of one row that is too long for registers; `rows` counts the vectors of it that a thread loads.

    Addresses of columns at any stride take registers: one vector then.
    """
    loads = VALUES_WITH_GRADIENTS * itemsize // VECTOR_BYTES if contiguous else 1
    return Tile(loads, LONG_ROW_THREADS * VECTOR_BYTES // itemsize, LONG_ROW_THREADS // warp_size)


def chunks(tile: Tile, columns: int, itemsize: int, warp_size: int = 32, *, stored: bool = False) -> int:
    """In how many stretches a tile's rows are cut so that a thread holds one vector of each.

    A thread then reduces its own values over the stretches before threads exchange anything. A tile that is
    stored in the same arrangement has stretches of a cache line at least.
    """
    vector = min(VECTOR_BYTES // itemsize, columns & -columns)
    threads = tile.warps * warp_size
    stretch = max(1, threads * vector // tile.rows)
    if stored:
        stretch = max(stretch, LINE_BYTES // itemsize)
    return max(1, tile.columns // stretch)


@functools.lru_cache(maxsize=256)
def flat_tile(n: int, itemsize: int, warp_size: int = 32, *, summed: bool = False) -> Tile:
    """A stretch of n elements whose shape does not matter; `itemsize` is that of the widest tensor."""
    if n <= (FEW_ELEMENTS if summed else SPREAD):
        return Tile(1, FEW_ELEMENTS, 64 // warp_size)
    return Tile(1, THREADS * FLAT_BYTES // itemsize, THREADS // warp_size)


def latent_tile(noise_blocks: int, widest_code: int, warp_size: int = 32) -> Tile:
    """Rows of noise, and how many Philox blocks of four columns a program draws for each: 8 normals a thread at most.

    The warps are enough for a program that draws `rows_of_codes` one-hot codes, too.
    """
    columns = min(64, next_power_of_two(max(1, noise_blocks)))
    threads = max(THREADS, rows_of_codes(widest_code) * next_power_of_two(widest_code) // VALUES_PER_THREAD)
    return Tile(2 * THREADS // columns, columns, threads // warp_size)


def rows_of_codes(widest_code: int) -> int:
    """Rows of one code that a program draws: a word a thread, unless their one-hot columns are many."""
    return min(MAX_ROWS, max(1, THREADS * VALUES_PER_THREAD // next_power_of_two(widest_code)))


def programs_of_a_sum(tiles: int) -> int:
    """How many programs add up `tiles` tiles; each leaves one partial sum."""
    return 1 if tiles <= ALONE else min(tiles, MAX_PARTIAL_SUMS)
