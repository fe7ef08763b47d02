"""Means of what a step tells, kept on the device between logging steps, and the watch over what is not finite.

On several ranks, what is read is that of all of them: every rank has to read it then.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gan_zoo.training.ranks import ALONE, Ranks

_NEVER = 2**62


class Meter:
    """Collects scalars by name without waiting for the device. Means are over the finite ones."""

    def __init__(self, ranks: Ranks = ALONE) -> None:
        self.ranks = ranks
        self._sums: dict[tuple[str, ...], tuple[Tensor, Tensor, Tensor]] = {}  # sum, first step of a bad one, count

    def add(self, values: Mapping[str, Tensor], step: int) -> None:
        """Take in the scalars of step `step`."""
        names = tuple(values)
        new = torch.stack([value.detach().float() for value in values.values()])
        finite = new.isfinite()
        bad = torch.where(finite, _NEVER, step)
        total, first_bad, count = self._sums.get(names, (torch.zeros_like(new), bad, torch.zeros_like(new)))
        self._sums[names] = (total + torch.where(finite, new, 0.0), torch.minimum(first_bad, bad), count + finite)

    def not_finite(self) -> tuple[str, int] | None:
        """Name and step of the first value that was NaN or infinite since the last reset. Waits for the device."""
        firsts = [
            (step, name)
            for names, (_, first_bad, _) in self._sums.items()
            for name, step in zip(names, self.ranks.least(first_bad).tolist(), strict=True)
            if step != _NEVER
        ]
        return min(firsts)[::-1] if firsts else None

    def means(self) -> dict[str, float]:
        """The mean of each value since the last reset. Waits for the device."""
        sums: dict[str, float] = {}
        counts: dict[str, float] = {}
        for names, (total, _, count) in self._sums.items():
            both = torch.stack([total, count])
            self.ranks.average([both])
            for name, value, number in zip(names, *both.tolist(), strict=True):
                sums[name] = sums.get(name, 0.0) + value
                counts[name] = counts.get(name, 0.0) + number
        return {name: value / counts[name] for name, value in sums.items() if counts[name]}

    def __bool__(self) -> bool:
        """Whether anything was taken in since the last reset."""
        return bool(self._sums)

    def reset(self) -> None:
        """Start anew."""
        self._sums.clear()
