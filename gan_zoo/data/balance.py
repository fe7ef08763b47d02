"""A set with fewer images of some classes: what a model makes of unequal shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gan_zoo.errors import InputError

if TYPE_CHECKING:
    from gan_zoo.data.dataset import Dataset, Source, Split


@dataclass(frozen=True, eq=False)
class Chosen:
    """A source that has only some images of another: those at `indices`, int64 [n]."""

    source: Source
    indices: Tensor

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Tensor:
        return self.source[int(self.indices[index])]


def balanced(dataset: Dataset, balance: Sequence[float], where: str) -> Dataset:
    """`dataset` with a share of each class's images, in both splits: the set as a whole is what is uneven.

    Args:
        dataset: With labels. A test split whose labels are withheld is left as it is.
        balance: The share of each class's own images that stays, in (0, 1]; empty leaves all.
        where: The set, for messages.

    Raises:
        InputError: If there are no labels, or not one share for each class.
    """
    if not balance:
        return dataset
    if not dataset.classes or dataset.train.labels is None:
        raise InputError(
            f"{where} has no labels, so data.balance has no classes to keep shares of; accepted here: none"
        )
    if len(balance) != dataset.classes:
        raise InputError(
            f"data.balance has {len(balance)} shares and {where} has {dataset.classes} classes; accepted: one for each"
        )
    test = dataset.test and _balanced(dataset.test, balance)
    return replace(dataset, train=_balanced(dataset.train, balance), test=test)


def kept(labels: Tensor, balance: Sequence[float]) -> Tensor:
    """Which images stay, int64 [m] in ascending order.

    Of the n images of a class, round(n · share) stay, one at least, spread evenly over their order: a function of the
    set alone, so that every seed learns from the same images.
    """
    stays = torch.zeros(len(labels), dtype=torch.bool)
    for label, share in enumerate(balance):
        own = (labels == label).nonzero()[:, 0]
        if n := len(own):
            count, place = max(1, round(n * share)), torch.arange(n)
            stays[own] = (place + 1) * count // n > place * count // n
    return stays.nonzero()[:, 0]


def _balanced(split: Split, balance: Sequence[float]) -> Split:
    if split.labels is None:
        return split
    indices = kept(split.labels, balance)
    images = split.images[indices] if isinstance(split.images, Tensor) else Chosen(split.images, indices)
    return replace(split, images=images, labels=split.labels[indices])
