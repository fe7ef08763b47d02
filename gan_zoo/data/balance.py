"""Class imbalance: keep a given share of each class's images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def balanced_indices(labels: Tensor, shares: Sequence[float]) -> Tensor:
    """The indices of the images to keep, int64 [m] in ascending order.

    Of the n images of a class, max(1, round(n · share)) are kept, evenly spaced in their order. This depends only on
    the dataset, so that every seed trains on the same images.

    Args:
        labels: int64 [n] in 0..len(shares)-1.
        shares: By class, in (0, 1].
    """
    stays = torch.zeros(len(labels), dtype=torch.bool)
    for label, share in enumerate(shares):
        members = (labels == label).nonzero()[:, 0]
        if n := len(members):
            count, rank = max(1, round(n * share)), torch.arange(n)
            stays[members] = (rank + 1) * count // n > rank * count // n
    return stays.nonzero()[:, 0]
