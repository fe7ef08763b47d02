"""The ground truth of a set that holds every combination of its factors' values once."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from gan_zoo.errors import InputError


@dataclass(frozen=True)
class Factors:
    """What varies in a set, and how its images are counted: the last factor turns fastest, as in dSprites.

    Args:
        names: What the factors are called.
        sizes: How many values each takes; factor k has the values 0 to sizes[k] - 1.

    Raises:
        InputError: If there is no factor, two have one name, or a size is below 1.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        named = 0 < len(self.names) == len(set(self.names)) == len(self.sizes)
        if not named or min(self.sizes) < 1:
            raise InputError(
                f"factors {self.names} of sizes {self.sizes}: one or more are needed, each with a name of its own and "
                "a size from 1"
            )

    @property
    def count(self) -> int:
        """How many combinations there are, and so how many images."""
        return prod(self.sizes)

    def values(self, indices: Tensor) -> Tensor:
        """The factors' values, int64 [n, F], of the images at `indices` (int64 [n]).

        Raises:
            InputError: If an index lies outside 0 to count - 1.
        """
        _refuse_outside("image", indices, self.count)
        return indices[:, None] // self._strides % torch.tensor(self.sizes)

    def indices(self, values: Tensor) -> Tensor:
        """Which images, int64 [n], have the factors' values `values` (int64 [n, F]).

        Raises:
            InputError: If a factor does not take a value.
        """
        if values.ndim != 2 or values.shape[1] != len(self.sizes):
            raise InputError(
                f"the values of {len(self.sizes)} factors are [n, {len(self.sizes)}], not {[*values.shape]}"
            )
        for name, size, column in zip(self.names, self.sizes, values.unbind(1), strict=True):
            _refuse_outside(name, column, size)
        return (values * self._strides).sum(1)

    @property
    def _strides(self) -> Tensor:
        return torch.tensor([prod(self.sizes[k + 1 :]) for k in range(len(self.sizes))])


def _refuse_outside(what: str, numbers: Tensor, size: int) -> None:
    if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < size:
        raise InputError(f"{what} runs from 0 to {size - 1}, not from {int(numbers.min())} to {int(numbers.max())}")
