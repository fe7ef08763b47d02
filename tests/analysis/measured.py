"""Small datasets with classes that are easy to separate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from gan_zoo.config import Data
from gan_zoo.data.dataset import Dataset, open_dataset

SIDE = 12


def striped(n: int, *, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [n, 1, 12, 12] with a bright band whose height is the class, on noise; and their labels."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    images = random.integers(0, 60, (n, 1, SIDE, SIDE), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[0, label * (SIDE // classes) :][: SIDE // classes] += 180
    return images, labels


def write_striped(path: Path, *, train: int = 60, test: int = 30, classes: int = 3, labels: bool = True) -> Path:
    """An .npz file of such images, in two splits if `test` is not 0."""
    images, told = striped(train, classes=classes)
    arrays = {"images": images} | ({"labels": told} if labels else {})
    if test:
        images, told = striped(test, classes=classes, seed=1)
        arrays |= {"test_images": images} | ({"test_labels": told} if labels else {})
    np.savez(path, **arrays)
    return path


def opened(path: Path) -> Dataset:
    return open_dataset(Data(name=str(path)))


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
