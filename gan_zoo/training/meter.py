"""Means of losses and metrics between logging steps, and the first value that was not finite.

A step writes its values to the next row of a table on the device; means are computed when they are read. On several
ranks reading is a collective operation: every rank must call it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gan_zoo.data.batches import move
from gan_zoo.training.ranks import ALONE, Ranks

ROWS = 256
"""Steps that the tables hold before they are summed."""
_NEVER = 2**62


@dataclass
class _Table:
    """The values of one kind of step, by name."""

    names: tuple[str, ...]
    rows: Tensor  # float32 [ROWS, names]
    written: list[tuple[int, int]] = field(default_factory=list)  # row and step of those that are not summed yet
    total: Tensor | int = 0  # [names], of finite values
    count: Tensor | int = 0
    first_bad: Tensor | None = None  # [names], the first step with a value that is not finite


class Meter:
    """Collects scalars by name without waiting for the device. Means are over finite values.

    Args:
        row: int64 [1], the row to write next, on the device; the caller advances it.
        ranks: Over which means are taken.
    """

    def __init__(self, row: Tensor, ranks: Ranks = ALONE) -> None:
        self.row, self.ranks = row, ranks
        self._tables: dict[tuple[Hashable, tuple[str, ...]], _Table] = {}
        self._written: dict[Hashable, tuple[str, ...]] = {}  # the names last written, by kind of step
        self._next = 0

    def write(self, kind: Hashable, values: Sequence[tuple[str, Tensor]]) -> None:
        """On the device: write the scalars of a step of one kind; a name may occur more than once."""
        names, scalars = zip(*values, strict=True)
        new = torch.stack([value.detach().float() for value in scalars])
        if (kind, names) not in self._tables:
            self._tables[kind, names] = _Table(names, new.new_zeros(ROWS, len(names)))
        self._written[kind] = names
        self._tables[kind, names].rows.index_copy_(0, self.row, new[None])

    def wrote(self, kind: Hashable, step: int) -> None:
        """On the host: record that step `step`, of this kind, was written."""
        self._tables[kind, self._written[kind]].written.append((self._next, step))
        self._next += 1
        if self._next == ROWS:
            self._sum_up()

    def not_finite(self) -> tuple[str, int] | None:
        """Name and step of the first value that was NaN or infinite since the last reset. Waits for the device."""
        self._sum_up()
        firsts = [
            (step, name)
            for table in self._tables.values()
            if table.first_bad is not None
            for name, step in zip(table.names, self.ranks.minimum(table.first_bad).tolist(), strict=True)
            if step != _NEVER
        ]
        step, name = min(firsts, default=(0, ""))
        return (name, step) if name else None

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
        """Whether anything was written since the last reset."""
        return any(table.written or table.first_bad is not None for table in self._tables.values())

    def reset(self) -> None:
        """Clear all sums."""
        self._sum_up()
        for table in self._tables.values():
            table.total, table.count, table.first_bad = 0, 0, None

    def _sum_up(self) -> None:
        """Add the written rows to the sums, on the device, and start again at the first row."""
        for table in self._tables.values():
            if not table.written:
                continue
            rows, steps = move(torch.tensor(table.written), self.row.device).unbind(1)
            new = table.rows.index_select(0, rows)
            finite = new.isfinite()
            bad = torch.where(finite, _NEVER, steps[:, None]).amin(0)
            table.total = table.total + torch.where(finite, new, 0.0).sum(0)
            table.count = table.count + finite.float().sum(0)
            table.first_bad = bad if table.first_bad is None else torch.minimum(table.first_bad, bad)
            table.written.clear()
        if self._next:
            self.row.zero_()
            self._next = 0
