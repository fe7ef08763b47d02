"""Ground-truth factors of variation of a dataset with one image of every combination of their values."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from gan_zoo.errors import InputError


@dataclass(frozen=True)
class Factors:
    """The factors, and the order of the images: the last factor varies fastest, as in dSprites.

    Args:
        names: The factors' names.
        sizes: Their numbers of values; factor k takes the values 0 to sizes[k] - 1.

    Raises:
        InputError: If there is no factor, two have one name, or a size is below 1.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        named = 0 < len(self.names) == len(set(self.names)) == len(self.sizes)
        if not named or min(self.sizes) < 1:
            raise InputError(
                f"factors {self.names} of sizes {self.sizes}; expected: at least one, with different names and sizes "
                "of at least 1"
            )

    @property
    def count(self) -> int:
        """Number of combinations, which is the number of images."""
        return prod(self.sizes)

    def values(self, indices: Tensor) -> Tensor:
        """The factors' values, int64 [n, F], of the images at `indices` (int64 [n]).

        Raises:
            InputError: If an index lies outside 0 to count - 1.
        """
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < self.count:
            raise InputError(
                f"image from {int(indices.min())} to {int(indices.max())}; accepted: 0 to {self.count - 1}"
            )
        return torch.stack(torch.unravel_index(indices, self.sizes), 1)
