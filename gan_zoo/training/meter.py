"""Means of losses and metrics, kept on the device between logging steps, and the watch over what is not finite.

A step writes its numbers into the next line of a table, and nothing is computed from them before they are read. On
several ranks reading is collective: every rank must call it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gan_zoo.data.batches import move
from gan_zoo.training.ranks import ALONE, Ranks

LINES = 256
"""Steps that the tables hold; then they are summed up."""
_NEVER = 2**62


@dataclass
class _Table:
    """The numbers of one kind of step, by name."""

    names: tuple[str, ...]
    lines: Tensor  # float32 [LINES, names]
    written: list[tuple[int, int]] = field(default_factory=list)  # line and step of those that are not summed up
    total: Tensor | int = 0  # [names], of the finite ones
    count: Tensor | int = 0
    first_bad: Tensor | None = None  # the first step of one that is not finite


class Meter:
    """Collects scalars by name without waiting for the device. Means are over the finite ones.

    Args:
        line: int64 [1], the line to write next, on the device; the caller advances it.
        ranks: Over which means are taken.
    """

    def __init__(self, line: Tensor, ranks: Ranks = ALONE) -> None:
        self.line, self.ranks = line, ranks
        self._tables: dict[tuple[Hashable, tuple[str, ...]], _Table] = {}
        self._written: dict[Hashable, tuple[str, ...]] = {}  # names of each kind of step, when it was written last
        self._next = 0

    def write(self, kind: Hashable, values: Sequence[tuple[str, Tensor]]) -> None:
        """On the device: write the scalars of a step of one kind; a name may occur more than once."""
        names, scalars = zip(*values, strict=True)
        new = torch.stack([value.detach().float() for value in scalars])
        if (kind, names) not in self._tables:
            self._tables[kind, names] = _Table(names, new.new_zeros(LINES, len(names)))
        self._written[kind] = names
        self._tables[kind, names].lines.index_copy_(0, self.line, new[None])

    def wrote(self, kind: Hashable, step: int) -> None:
        """On the host: record that step `step`, of this kind, was written."""
        self._tables[kind, self._written[kind]].written.append((self._next, step))
        self._next += 1
        if self._next == LINES:
            self._sum_up()

    def not_finite(self) -> tuple[str, int] | None:
        """Name and step of the first value that was NaN or infinite since the last reset. Waits for the device."""
        self._sum_up()
        firsts = [
            (step, name)
            for table in self._tables.values()
            if table.first_bad is not None
            for name, step in zip(table.names, self.ranks.least(table.first_bad).tolist(), strict=True)
            if step != _NEVER
        ]
        return min(firsts)[::-1] if firsts else None

    def means(self) -> dict[str, float]:
        """The mean of each value since the last reset. Waits for the device."""
        self._sum_up()
        sums: dict[str, float] = {}
        counts: dict[str, float] = {}
        for table in self._tables.values():
            if table.first_bad is None:
                continue
            both = torch.stack([torch.as_tensor(table.total), torch.as_tensor(table.count)])
            self.ranks.average([both])
            for name, value, number in zip(table.names, *both.tolist(), strict=True):
                sums[name] = sums.get(name, 0.0) + value
                counts[name] = counts.get(name, 0.0) + number
        return {name: value / counts[name] for name, value in sums.items() if counts[name]}

    def __bool__(self) -> bool:
        """Whether anything was taken in since the last reset."""
        return any(table.written or table.first_bad is not None for table in self._tables.values())

    def reset(self) -> None:
        """Clear all sums."""
        self._sum_up()
        for table in self._tables.values():
            table.total, table.count, table.first_bad = 0, 0, None

    def _sum_up(self) -> None:
        """Add what is written to the sums, on the device, and begin again at the tables' top."""
        for table in self._tables.values():
            if not table.written:
                continue
            where, steps = move(torch.tensor(table.written), self.line.device).unbind(1)
            new = table.lines.index_select(0, where)
            finite = new.isfinite()
            bad = torch.where(finite, _NEVER, steps[:, None]).amin(0)
            table.total = table.total + torch.where(finite, new, 0.0).sum(0)
            table.count = table.count + finite.float().sum(0)
            table.first_bad = bad if table.first_bad is None else torch.minimum(table.first_bad, bad)
            table.written.clear()
        if self._next:
            self.line.zero_()
            self._next = 0
