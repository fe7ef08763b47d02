"""A set with fewer images of some classes: what a model makes of unequal shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gan_zoo.errors import InputError

if TYPE_CHECKING:
    from gan_zoo.data.dataset import Dataset, Split


def balanced(dataset: Dataset, balance: Sequence[float], where: str) -> Dataset:
    """`dataset` with a share of each class's images, in both splits: the set as a whole is what is uneven.

    Factors of a set that holds every combination are dropped: it holds some of them now.

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
    return replace(dataset, train=_balanced(dataset.train, balance), test=test, factors=None)


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
    return split.choose(kept(split.labels, balance))
