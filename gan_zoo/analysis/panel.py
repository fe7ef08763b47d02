"""Labelled grids of images, scaled by whole factors so that pixels stay sharp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from gan_zoo.images import CELL, GAP, grid

INK = (40, 40, 40)
PAPER = (255, 255, 255)


def resized(images: Tensor, side: int) -> Tensor:
    """Resize images [n, C, H, W] to [n, C, side, side]; each pixel is the mean of those that it covers."""
    return torch.nn.functional.interpolate(images, (side, side), mode="area")


@dataclass(frozen=True)
class Panel:
    """The layout of a labelled grid.

    Attributes:
        cell: Side of a cell in pixels.
        columns: The label below each column; its length is the number of columns.
        rows: The label left of each row.
        across: Name of the axis along the columns.
        down: Name of the axis down the rows.
        title: Title above the grid, aligned left.
    """

    cell: int
    columns: Sequence[str]
    rows: Sequence[str]
    across: str = ""
    down: str = ""
    title: str = ""

    @property
    def small(self) -> ImageFont.FreeTypeFont:
        """The font of the labels; five characters fit a cell."""
        return _font(0.29 * self.cell)

    @property
    def large(self) -> ImageFont.FreeTypeFont:
        """The font of axis names and titles."""
        return _font(0.34 * self.cell)

    @property
    def extent(self) -> tuple[int, int]:
        """Width and height of the grid without margins."""
        pitch = self.cell + GAP
        return pitch * len(self.columns) - GAP, pitch * len(self.rows) - GAP

    @property
    def margins(self) -> tuple[int, int, int]:
        """Pixels left of the grid, above it and below it."""
        widest = max(self.small.getlength(word) for word in self.rows)
        left = (1.5 * self.large.size if self.down else 0) + (widest + self.small.size / 2 if widest else 0)
        above = 1.5 * self.large.size if self.title else 0
        below = (1.3 * self.small.size if any(self.columns) else 0) + (1.3 * self.large.size if self.across else 0)
        return round(left), round(above), round(below)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the panel: the grid with its margins, or more for longer texts."""
        (width, height), (left, above, below) = self.extent, self.margins
        words = max(self.large.getlength(word) for word in (self.across, self.title))
        return left + max(width, round(words)), above + max(height, round(self.large.getlength(self.down))) + below

    def draw(self, images: Tensor) -> Image.Image:
        """Draw the panel with images [rows, columns, C, H, W] in [-1, 1]."""
        (width, height), (left, above, _) = self.extent, self.margins
        flat = rearrange(images.float().cpu(), "rows columns c h w -> (rows columns) c h w")
        cells = resized(flat, self.cell)
        picture = Image.new("RGB", self.size, PAPER)
        picture.paste(grid(cells, len(self.columns)).convert("RGB"), (left, above))
        pen = ImageDraw.Draw(picture)
        pitch, middle = self.cell + GAP, self.cell / 2
        bottom = above + height + 0.3 * self.small.size
        for k, word in enumerate(self.columns):
            pen.text((left + k * pitch + middle, bottom), word, INK, self.small, "mt")
        for k, word in enumerate(self.rows):
            pen.text((left - self.small.size / 3, above + k * pitch + middle), word, INK, self.small, "rm")
        if any(self.columns):
            bottom += 1.3 * self.small.size
        pen.text((left + max(width, self.large.getlength(self.across)) / 2, bottom), self.across, INK, self.large, "mt")
        pen.text((left, above - 0.4 * self.large.size), self.title, INK, self.large, "ls")
        if self.down:
            length = round(self.large.getlength(self.down))
            upright = Image.new("RGB", (length, round(1.4 * self.large.size)), PAPER)
            ImageDraw.Draw(upright).text((0, 0), self.down, INK, self.large, "lt")
            upright = upright.rotate(90, expand=True)
            picture.paste(upright, (0, above + max(0, (height - length) // 2)))
        return picture


def shelves(sizes: Sequence[tuple[int, int]], most: int, gap: int) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Arrange rectangles side by side, in lines no wider than `most` if possible.

    Args:
        sizes: Width and height of each.
        most: Maximum width of a line.
        gap: Space between rectangles and around them.

    Returns:
        The upper left corner of each, and the total size.
    """
    places: list[tuple[int, int]] = []
    x, y, line, widest = gap, gap, 0, 0
    for width, height in sizes:
        if x > gap and x + width + gap > most:
            x, y, line = gap, y + line + gap, 0
        places.append((x, y))
        x, line = x + width + gap, max(line, height)
        widest = max(widest, x)
    return places, (widest, y + line + gap)


def compose(pictures: Sequence[Image.Image], *, most: int, gap: int, footnote: str = "") -> Image.Image:
    """Lay out pictures by `shelves` on white, with a footnote."""
    places, (width, height) = shelves([picture.size for picture in pictures], most, gap)
    font = _font(0.3 * CELL)
    whole = Image.new("RGB", (width, height + (round(1.6 * font.size) if footnote else 0)), PAPER)
    for picture, place in zip(pictures, places, strict=True):
        whole.paste(picture, place)
    if footnote:
        ImageDraw.Draw(whole).text((gap, height), footnote, INK, font, "lt")
    return whole


def framed(pictures: Sequence[Image.Image], gap: int) -> list[Image.Image]:
    """Pictures on white frames of one size, with `gap` pixels more than the largest picture."""
    width, height = (max(picture.size[k] for picture in pictures) + gap for k in (0, 1))
    frames = [Image.new("RGB", (width, height), PAPER) for _ in pictures]
    for frame, picture in zip(frames, pictures, strict=True):
        frame.paste(picture, (gap // 2, gap // 2))
    return frames


def _font(size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(round(size))  # type: ignore[return-value]
