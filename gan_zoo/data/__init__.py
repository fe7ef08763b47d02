"""Image sets by name, and the batches that a run draws from them.

Importing this package does not import torch. The iterator over batches is `gan_zoo.data.batches.batches`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gan_zoo.data.augment import Augment, parse_augment
    from gan_zoo.data.batches import Batch, batch_indices, in_order
    from gan_zoo.data.dataset import Dataset, Split, open_dataset

__all__ = [
    "Augment",
    "Batch",
    "Dataset",
    "Split",
    "batch_indices",
    "in_order",
    "open_dataset",
    "parse_augment",
]

_HOME = {
    "Augment": "augment",
    "parse_augment": "augment",
    "Batch": "batches",
    "batch_indices": "batches",
    "in_order": "batches",
    "Dataset": "dataset",
    "Split": "dataset",
    "open_dataset": "dataset",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
