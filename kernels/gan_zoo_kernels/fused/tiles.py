"""How much work one program takes: pure functions of the shape, so that a choice can be read and tested.

No choice depends on the device's size, so that sums are added in the same order on every GPU, and none is
found by timing at run time, so that the first call can be captured in a graph once it is compiled.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

MAX_COLUMNS = 8_192  # a row is held in registers whole; twice as many spill on sm_120
MAX_THREADS = 1_024
VALUES_PER_THREAD = 8  # float32 values that live beside their exponentials
MAX_ROWS = 128
SMALL_TILE = 2_048
ELEMENTS = 1_024  # of a flat kernel: 8 values a thread, one 128-bit load in a half precision
PARTS = 512  # most partial sums that are left to the second launch
ALONE = 4  # up to so many tiles, one program does them all and the second launch is saved


@dataclass(frozen=True)
class Tile:
    """A program's block of `rows` × `columns` values, both powers of two, and its number of warps."""

    rows: int
    columns: int
    warps: int


def next_power_of_two(n: int) -> int:
    """The smallest power of two that is at least n; n ≥ 1."""
    return 1 << (n - 1).bit_length()


@functools.lru_cache(maxsize=256)
def row_tile(columns: int, warp_size: int = 32) -> Tile:
    """Whole rows of up to MAX_COLUMNS values: many short rows a program, or one long one."""
    if not 1 <= columns <= MAX_COLUMNS:
        raise ValueError(f"a row has 1 to {MAX_COLUMNS} columns, not {columns}")
    width = max(2, next_power_of_two(columns))
    rows = min(MAX_ROWS, max(1, SMALL_TILE // width))
    threads = min(MAX_THREADS, max(warp_size, rows * width // VALUES_PER_THREAD))
    return Tile(rows, width, threads // warp_size)


@functools.lru_cache(maxsize=256)
def flat_tile(warp_size: int = 32) -> Tile:
    """A stretch of elements whose shape does not matter."""
    return Tile(1, ELEMENTS, ELEMENTS // 8 // warp_size)


def latent_tile(noise_blocks: int, widest_code: int, warp_size: int = 32) -> Tile:
    """Rows of latents, and how many Philox blocks of four noise columns a program draws for each.

    Box-Muller is in float64, two registers a value: a thread draws at most 8 normals at a time.
    """
    columns = min(64, next_power_of_two(max(1, noise_blocks)))
    rows = min(16, 256 // columns, max(1, 2 * SMALL_TILE // next_power_of_two(widest_code)))
    threads = max(4 * 32, min(MAX_THREADS, rows * next_power_of_two(widest_code) // VALUES_PER_THREAD))
    return Tile(rows, columns, threads // warp_size)


def parts(tiles: int) -> int:
    """Programs that share `tiles` tiles of one sum, and so the partial sums that they leave behind."""
    return 1 if tiles <= ALONE else min(tiles, PARTS)
