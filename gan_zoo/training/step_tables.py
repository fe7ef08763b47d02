"""What differs from step to step, on the device for many steps at once: a step then needs nothing from the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gan_zoo.data.batches import move

STEPS = 256
"""Steps that one upload covers."""


class StepTables:
    """Tables with a row for each of the next steps, and counters that every step advances.

    Args:
        order: The images of step s, int64 [n]; None if they are streamed.
        rates: The learning rates and weights of step s, [k].
        device: Where steps are made.

    Attributes:
        step: int64 [], steps done.
        meter_row: int64 [1], the row that the step's losses are written to; see `Meter`.
        rates: float32 [k], this step's, at a fixed place.
    """

    def __init__(
        self,
        order: Callable[[int], Tensor] | None,
        rates: Callable[[int], Sequence[float]],
        device: torch.device,
    ) -> None:
        self._order_of, self._rates_of, self.device = order, rates, device
        self._counters = torch.zeros(3, dtype=torch.int64, device=device)
        self.step, self._row, self.meter_row = self._counters[0], self._counters[1:2], self._counters[2:3]
        self.rates = torch.zeros(len(rates(0)), device=device)
        self._order: Tensor | None = None
        self._rates = torch.empty(STEPS, len(self.rates), device=device)
        self._next, self._end = -1, -1  # the step that the counters stand at, and the first beyond the tables

    def upload_for(self, step: int) -> bool:
        """On the host: upload the tables for `step` unless they are on the device. Does not wait for it.

        Returns:
            Whether they were uploaded.
        """
        resident, self._next = step == self._next and step < self._end, step + 1
        if resident:
            return False
        steps = range(step, step + STEPS)
        self._end = steps.stop
        self._rates.copy_(move(torch.tensor([self._rates_of(s) for s in steps]), self.device))
        if self._order_of:
            rows = torch.stack([self._order_of(s) for s in steps])
            self._order = torch.empty_like(rows, device=self.device) if self._order is None else self._order
            self._order.copy_(move(rows, self.device))
        self._counters[:2].copy_(move(torch.tensor([step, 0]), self.device))
        return True

    def look_up(self) -> None:
        """On the device: copy this step's rates to their fixed place."""
        torch.index_select(self._rates, 0, self._row, out=self.rates[None])

    def images(self) -> Tensor:
        """On the device: the indices of this step's images, int64 [n]."""
        assert self._order is not None
        return self._order.index_select(0, self._row)[0]

    def advance(self) -> None:
        """On the device: advance the counters."""
        self._counters.add_(1)
