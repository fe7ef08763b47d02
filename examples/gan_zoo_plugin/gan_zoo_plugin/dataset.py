"""The dataset stripes."""

from __future__ import annotations

import torch
from gan_zoo.config import Data
from gan_zoo.data.dataset import Dataset, Split
from gan_zoo.shapes import ImageShape


def stripes(settings: Data) -> Dataset:
    """Grey images with bright rows (label 0) or bright columns (label 1)."""
    side = settings.resolution or 12
    rows = torch.zeros(32, 1, side, side, dtype=torch.uint8)
    rows[:, :, ::3] = 255
    images = torch.cat([rows, rows.transpose(2, 3)])
    return Dataset(settings.name, ImageShape(1, side), 2, Split(images, torch.arange(64) // 32))
