"""Means of what a step tells, kept on the device between logging steps, and the watch over what is not finite."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_NEVER = 2**62


class Meter:
    """Collects scalars by name without waiting for the device."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, ...], tuple[Tensor, Tensor, int]] = {}

    def add(self, values: Mapping[str, Tensor], step: int) -> None:
        """Take in the scalars of step `step`."""
        names = tuple(values)
        new = torch.stack([value.detach().float() for value in values.values()])
        bad = torch.where(new.isfinite(), _NEVER, step)
        total, first_bad, count = self._sums.get(names, (torch.zeros_like(new), bad, 0))
        self._sums[names] = (total + new, torch.minimum(first_bad, bad), count + 1)

    def not_finite(self) -> tuple[str, int] | None:
        """Name and step of the first value that was NaN or infinite since the last reset. Waits for the device."""
        firsts = [
            (step, name)
            for names, (_, first_bad, _) in self._sums.items()
            for name, step in zip(names, first_bad.tolist(), strict=True)
            if step != _NEVER
        ]
        return min(firsts)[::-1] if firsts else None

    def means(self) -> dict[str, float]:
        """The mean of each value since the last reset. Waits for the device."""
        sums: dict[str, float] = {}
        counts: dict[str, int] = {}
        for names, (total, _, count) in self._sums.items():
            for name, value in zip(names, total.tolist(), strict=True):
                sums[name] = sums.get(name, 0.0) + value
                counts[name] = counts.get(name, 0) + count
        return {name: value / counts[name] for name, value in sums.items()}

    def reset(self) -> None:
        """Start anew."""
        self._sums.clear()
