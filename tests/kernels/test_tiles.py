"""Tiles and strides: pure functions of the shape."""

import pytest
import torch
from gan_zoo_kernels.fused import tiles

COLUMNS = [1, 2, 3, 10, 16, 17, 100, 128, 1000, 1024, 4096, 4097, tiles.MAX_COLUMNS]


@pytest.mark.parametrize("warp_size", [32, 64])
@pytest.mark.parametrize("itemsize", [2, 4])
@pytest.mark.parametrize("n", [1, 256, 257, 2**17, 2**17 + 1, 2**25])
def test_a_thread_of_a_flat_tile_loads_at_most_two_vectors(n, itemsize, warp_size):
    for summed in (False, True):
        tile = tiles.flat_tile(n, itemsize, warp_size, summed=summed)
        values = tile.columns // (tile.warps * warp_size)
        assert values >= 1 and values & (values - 1) == 0
        assert values * itemsize <= 2 * tiles.VECTOR_BYTES


@pytest.mark.parametrize("count", [1, 2, 5, 1000, 10**6])
def test_the_partial_sums_of_a_sum_are_bounded(count):
    assert 1 <= tiles.programs_of_a_sum(count) <= min(count, tiles.MAX_PARTIAL_SUMS)


@pytest.mark.parametrize("warp_size", [32, 64])
@pytest.mark.parametrize("columns", COLUMNS)
def test_row_tiles_hold_a_row_and_fit_the_device(columns, warp_size):
    for tile, values in (
        (tiles.row_tile(columns, warp_size), 8),
        (tiles.dense_tile(columns, warp_size), 32),
        (tiles.dense_tile(columns, warp_size, values=16), 16),
    ):
        assert tile.columns >= columns
        threads = tile.warps * warp_size
        for power in (tile.rows, tile.columns, tile.warps):
            assert power & (power - 1) == 0
        assert warp_size <= threads <= 1024
        assert tile.rows * tile.columns <= values * threads


@pytest.mark.parametrize("warp_size", [32, 64])
@pytest.mark.parametrize("itemsize", [2, 4])
@pytest.mark.parametrize("columns", COLUMNS)
def test_a_thread_holds_a_vector_of_each_chunk(columns, itemsize, warp_size):
    tile = tiles.dense_tile(columns, warp_size)
    chunks = tiles.chunks(tile, columns, itemsize, warp_size)
    assert tile.columns % chunks == 0
    vector = min(16 // itemsize, columns & -columns)
    values = tile.rows * tile.columns // chunks
    assert values == tile.warps * warp_size * vector or chunks in (1, tile.columns)
    stored = tiles.chunks(tile, columns, itemsize, warp_size, stored=True)
    assert stored == 1 or tile.columns // stored * itemsize >= 128


@pytest.mark.parametrize("warp_size", [32, 64])
@pytest.mark.parametrize("classes", [c for c in COLUMNS if c > 1])
@pytest.mark.parametrize("noise_blocks", [0, 1, 16, 33, 1000])
def test_latent_tiles_fit_the_device(noise_blocks, classes, warp_size):
    tile = tiles.latent_tile(noise_blocks, classes, warp_size)
    threads = tile.warps * warp_size
    assert 128 <= threads <= 1024
    assert tile.rows * tile.columns <= 2 * threads  # four normals for each
    assert tiles.rows_of_codes(classes) * tiles.next_power_of_two(classes) <= 32 * threads


def test_a_row_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="not 8193"):
        tiles.row_tile(tiles.MAX_COLUMNS + 1)


def test_strides_merge_axes_where_all_tensors_allow_it():
    pytest.importorskip("triton")
    from gan_zoo_kernels.fused.strides import as_rows_and_columns

    base = torch.empty(4, 6, 8)
    same, columns, strides, flat = as_rows_and_columns([base, torch.empty(4, 6, 8)])
    assert (columns, strides, flat) == (192, [(0, 1), (0, 1)], True)
    assert same[0] is base

    _, columns, strides, flat = as_rows_and_columns([base, torch.empty(8).expand(4, 6, 8)])
    assert (columns, strides, flat) == (8, [(8, 1), (0, 1)], False)

    kept, columns, strides, flat = as_rows_and_columns([base, torch.empty(4, 8, 6).mT])
    assert (columns, strides, flat) == (192, [(0, 1), (0, 1)], True)
    assert kept[1].is_contiguous()  # three strides: copied
