"""The random numbers of a training step: counter-based, so that they need no state and nothing from the host.

Like the latents, they come from `gan_zoo_kernels.sample_latents` (Philox-4x32-10), but from other streams.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache

import torch
from gan_zoo_kernels import Layout, sample_latents
from torch import Tensor

FIRST_STREAM = 2**16
"""The stream of a step's first draw; those below belong to the latents."""
UNIT = (0.0, 1.0)

Range = tuple[float, float]


@lru_cache(maxsize=256)
def _cached_layout(normals: int, ranges: tuple[Range, ...], below: int) -> Layout:
    if below:
        return Layout(f"categorical:{below}")
    return Layout("|".join([f"noise(normal):{normals}", *(f"uniform({low},{high}):1" for low, high in ranges)]))


def _layout_of(normals: int, ranges: tuple[Range, ...], below: int) -> Layout:
    return _cached_layout(normals, ranges, below)


# As torch.compiler.assume_constant_result, which would import the compiler into every command, for seconds. Without it
# torch.compile traces the cached function, and warns.
_layout_of._dynamo_marked_constant = True  # type: ignore[attr-defined]


class Draws:
    """Random numbers of one step: a function of (seed, step, row) and of how many draws were made before.

    Every draw takes the next stream, so the same calls in the same order give the same numbers. A row's numbers depend
    neither on the rows drawn with it nor on the device: micro-batches and ranks that pass their first row draw what one
    process would have drawn for the whole batch.

    Args:
        seed: The run's, 0 to 2**64 - 1.
        step: Steps done, 0 to 2**32 - 1; an int64 scalar on `device` makes a captured graph draw anew at each value.
        first_row: The index of the first row in the whole batch.
        device: The device of the numbers.
    """

    def __init__(
        self, seed: int, step: int | Tensor, *, first_row: int = 0, device: torch.device | str = "cpu"
    ) -> None:
        self.seed, self.step, self.first_row, self.device = seed, step, first_row, torch.device(device)
        self.stream = FIRST_STREAM

    def every(self, n: int, rows: int) -> AbstractContextManager[None]:
        """A context in which draws are for the rows 0, n, 2n, … of these `rows`.

        If n divides `rows`, the numbers are those of the rows 0, n, 2n, … of the whole batch.
        """
        return self._from_row(self.first_row // rows * -(-rows // n))

    def uniform(self, rows: int, columns: int = 1) -> Tensor:
        """Uniform in [0, 1), float32 [rows, columns]."""
        return self.mixed(rows, normals=0, uniforms=columns)[1]

    def normal(self, rows: int, columns: int = 1) -> Tensor:
        """Normal with mean 0 and variance 1, float32 [rows, columns]."""
        return self.mixed(rows, normals=columns, uniforms=0)[0]

    def mixed(self, rows: int, *, normals: int, uniforms: int | tuple[Range, ...]) -> tuple[Tensor, Tensor]:
        """Normal and uniform numbers in one launch.

        Args:
            rows: How many rows.
            normals: How many normal columns, with mean 0 and variance 1.
            uniforms: How many uniform columns in [0, 1), or each one's own [low, high).

        Returns:
            float32 [rows, normals] and [rows, number of uniform columns].

        Raises:
            ValueError: If no column is requested, or a range is empty.
        """
        ranges = (UNIT,) * uniforms if isinstance(uniforms, int) else uniforms
        drawn, values = self._draw(rows, _layout_of(normals, ranges, 0))
        return drawn[:, :normals], values

    def integers(self, rows: int, below: int) -> Tensor:
        """Uniform in 0 to `below` - 1, int64 [rows]; `below` must lie in 1 to 2**24."""
        if below == 1:
            self.stream += 1  # as any other draw does, so that later draws do not depend on `below`
            return torch.zeros(rows, dtype=torch.int64, device=self.device)
        return self._draw(rows, _layout_of(0, (), below))[1][:, 0].long()

    def common(self, below: int) -> Tensor:
        """One number for the whole step, on all micro-batches and ranks: in 0 to `below` - 1, int64 [1]."""
        with self._from_row(0):
            return self.integers(1, below)

    @contextmanager
    def _from_row(self, row: int) -> Iterator[None]:
        """A context in which `row` is the first row."""
        first_row, self.first_row = self.first_row, row
        try:
            yield
        finally:
            self.first_row = first_row

    def _draw(self, rows: int, layout: Layout) -> tuple[Tensor, Tensor]:
        stream, self.stream = self.stream, self.stream + 1
        return sample_latents(
            layout,
            rows,
            seed=self.seed,
            step=self.step,
            stream=stream,
            first_row=self.first_row,
            device=self.device,
        )
