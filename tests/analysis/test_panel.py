"""Labelled grids: positions, and that nothing overlaps."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from gan_zoo.analysis.panel import Panel, compose, shelves
from gan_zoo.images import GAP, cell_side

TENS = [str(k) for k in range(10)]
TWENTY = [str(k) for k in range(20)]
VALUES = [f"{-2 + 4 * k / 9:.2g}" for k in range(10)]
PANELS = [
    Panel(84, TENS, TENS, across="c1, categorical", down="sample"),
    Panel(64, TWENTY, VALUES, across="c1, categorical", down="c4, uniform", title="sample 12"),
    Panel(64, VALUES, TWENTY, across="c4, uniform", down="c1, categorical"),
    Panel(84, VALUES, ["1"], across="c2, uniform", down="sample"),
    Panel(56, ["-2", "2"], ["-2", "2"], across="c2, gaussian", down="c1, categorical", title="sample 1"),
    Panel(43, [str(k) for k in range(4063, 4095)], ["10000"], across="c1, categorical: 32 of 4096 values", down="c2"),
    Panel(56, [""] * 8, [""] * 8, title="c2, uniform: -0.67"),
    Panel(56, [""], [""], title="c2, uniform: -0.67"),
]


def test_a_cell_is_a_whole_multiple_or_fraction_of_64_to_127_pixels() -> None:
    for resolution in range(4, 1025):
        cell = cell_side(resolution)
        assert 64 <= cell < 128
        assert cell % resolution == 0 or cell == resolution // (resolution // cell)
    assert [cell_side(resolution) for resolution in (28, 32, 64, 128, 1024)] == [84, 64, 64, 64, 64]


def boxes_of(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float, float, float]]:
    """Where each word of a panel's own picture was written: left, top, right, bottom."""
    found = []
    real = ImageDraw.ImageDraw.text

    def text(pen: ImageDraw.ImageDraw, at: tuple[float, float], word: str, ink: object, font: object, anchor: str):
        if word and word != panel.down:
            found.append(pen.textbbox(at, word, font, anchor))
        real(pen, at, word, ink, font, anchor)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    panel.draw(torch.zeros(len(panel.rows), len(panel.columns), 1, 8, 8))
    return found


@pytest.mark.parametrize("panel", PANELS, ids=lambda p: f"{p.cell}-{len(p.columns)}x{len(p.rows)}")
def test_words_lie_in_the_picture_beside_the_grid_and_apart(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = boxes_of(panel, monkeypatch)
    written = sum(map(bool, [*panel.columns, *panel.rows, panel.across, panel.title]))
    assert len(boxes) == written > 0
    left, above, _ = panel.margins
    own = (left, above, left + panel.extent[0], above + panel.extent[1])
    for box in boxes:
        assert 0 <= box[0] < box[2] <= panel.size[0] and 0 <= box[1] < box[3] <= panel.size[1], box
    for one, other in combinations([own, *boxes], 2):
        beside = one[2] <= other[0] or other[2] <= one[0]
        assert beside or one[3] <= other[1] or other[3] <= one[1], (one, other)


def test_columns_and_rows_are_named_at_their_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = PANELS[1]
    boxes = boxes_of(panel, monkeypatch)
    left, above, _ = panel.margins
    for k, box in enumerate(boxes[:20]):
        assert (box[0] + box[2]) / 2 == pytest.approx(left + k * (64 + GAP) + 32, abs=2)
        assert box[1] >= above + panel.extent[1]
    for k, box in enumerate(boxes[20:30]):
        assert (box[1] + box[3]) / 2 == pytest.approx(above + k * (64 + GAP) + 32, abs=3)
        assert box[2] < left


def test_the_name_down_the_rows_is_written_upwards_at_their_left() -> None:
    with_name, without = (
        Panel(56, ["0"], ["0", "1", "2"], down=down).draw(torch.ones(3, 1, 1, 4, 4)) for down in ("c1, uniform", "")
    )
    margin = np.asarray(with_name.convert("L"))[:, : with_name.width - without.width]
    rows, columns = np.nonzero(margin < 128)
    assert np.ptp(rows) > 3 * np.ptp(columns) > 0
    assert (rows.min() + rows.max()) / 2 == pytest.approx((3 * 58 - 2) / 2, abs=3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [28, 64, 128])
def test_images_lie_row_after_row_pixel_for_pixel(side: int, channels: int) -> None:
    images = torch.rand(2, 3, channels, side, side) * 2 - 1
    panel = Panel(cell_side(side), ["0", "1", "2"], ["1", "2"], across="c1", down="sample")
    pixels = np.asarray(panel.draw(images)).astype(float)
    left, above, _ = panel.margins
    for row in range(2):
        for column in range(3):
            y, x = above + row * (panel.cell + GAP), left + column * (panel.cell + GAP)
            shown = torch.from_numpy(pixels[y : y + panel.cell, x : x + panel.cell]).permute(2, 0, 1)
            expected = (images[row, column] + 1) * 127.5
            if side < panel.cell:
                expected = expected.repeat_interleave(3, 1).repeat_interleave(3, 2)
            elif side > panel.cell:
                expected = torch.nn.functional.avg_pool2d(expected, 2)
            assert (shown - expected).abs().max() <= 0.51


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=12))
def test_shelves_keep_rectangles_apart_and_inside(sizes: list[tuple[int, int]]) -> None:
    places, (width, height) = shelves(sizes, 100, 5)
    assert width <= max(100, max(w for w, _ in sizes) + 10)
    spans = [(x, y, x + w, y + h) for (x, y), (w, h) in zip(places, sizes, strict=True)]
    for left, top, right, bottom in spans:
        assert left >= 5 and top >= 5 and right <= width - 5 and bottom <= height - 5
    for a, b in combinations(spans, 2):
        assert a[2] + 5 <= b[0] or b[2] + 5 <= a[0] or a[3] + 5 <= b[1] or b[3] + 5 <= a[1]


def test_a_footnote_stands_below_everything() -> None:
    black = Image.new("RGB", (50, 50), "black")
    bare, noted = (np.asarray(compose([black], most=100, gap=5, footnote=note)) for note in ("", "of many"))
    assert noted.shape[0] > bare.shape[0]
    assert np.array_equal(noted[: bare.shape[0]], bare)
    assert (noted[bare.shape[0] :] < 128).any()
