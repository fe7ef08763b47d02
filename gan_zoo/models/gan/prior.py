"""What the generator is fed: noise z and codes c, drawn from P(z) P(c)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from gan_zoo_kernels import Layout, sample_latents
from torch import Tensor

from gan_zoo.models.gan.codes import Code

TRAINING, SHOWN, STATISTICS = 0, 1, 2
"""Streams of random numbers: what is looked at was not trained on, and does not enter batch norm's statistics."""


@dataclass(frozen=True)
class Latents:
    """A batch of generator inputs.

    Attributes:
        input: [n, width]: the noise, then each code, a categorical one as one-hot.
        codes: float32 [n, number of codes]: the codes' values, a categorical one as its class.
        steps_done: Steps done before the one that they were drawn for; None where one graph serves many steps.
    """

    input: Tensor
    codes: Tensor
    steps_done: int | None = 0

    @property
    def step(self) -> int:
        """Steps done before the one that the latents were drawn for.

        Raises:
            RuntimeError: In a step that is recorded once for many, of a model without a `phase` of its own.
        """
        if self.steps_done is None:
            raise RuntimeError("the objective reads latents.step: a model whose steps differ must override `phase`")
        return self.steps_done

    def chunk(self, parts: int) -> list[Latents]:
        """The batch in `parts` pieces of nearly equal size."""
        pairs = zip(self.input.chunk(parts), self.codes.chunk(parts), strict=True)
        return [Latents(*pair, self.steps_done) for pair in pairs]


class Prior:
    """P(z) P(c), a function of (seed, step, row): the same latents on every device and for every number of ranks."""

    def __init__(self, noise: int, distribution: Literal["normal", "uniform"], codes: Sequence[Code] = ()) -> None:
        self.noise = noise
        self.codes = tuple(codes)
        self.layout = Layout("|".join([f"noise({distribution}):{noise}", *(code.spec for code in self.codes)]))
        self.drawn = self.layout

    @property
    def width(self) -> int:
        """Columns of the generator's input."""
        return self.layout.width

    def probabilities(self) -> dict[str, Tensor]:
        """What a prior has learned: P(c) [K] by the name of each code that has a learned one. None here."""
        return {}

    def sample(
        self,
        n: int,
        *,
        seed: int,
        step: int | Tensor = 0,
        stream: int = TRAINING,
        first_row: int = 0,
        device: torch.device | str = "cpu",
    ) -> Latents:
        """Rows `first_row` to `first_row + n` of the latents of one step."""
        drawn = sample_latents(self.drawn, n, seed=seed, step=step, stream=stream, first_row=first_row, device=device)
        return Latents(*self.from_drawn(*drawn), step if isinstance(step, int) else None)

    def from_drawn(self, drawn: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """`Latents.input` and `Latents.codes` from numbers of the layout `drawn`: here the numbers themselves."""
        return drawn, values

    def compose(self, noise: Tensor, codes: Tensor) -> Latents:
        """Latents of chosen values: noise [n, noise], codes [n, number of codes]."""
        columns = [noise]
        for value, code in zip(codes.unbind(1), self.codes, strict=True):
            column = one_hot(value, code.classes) if code.kind == "categorical" else value[:, None]
            columns.append(column.to(noise))
        return Latents(torch.cat(columns, 1), codes)

    def traverse(self, code: Code, values: Sequence[float], rows: int, *, seed: int) -> Latents:
        """Latents of a figure-2 grid, row after row: a row shares its noise and its other codes, `code` takes `values`.

        Returns:
            `rows * len(values)` latents.
        """
        return self.vary([(code, values)], rows, seed=seed)

    def vary(
        self,
        varied: Sequence[tuple[Code, Sequence[float]]],
        samples: int,
        *,
        seed: int,
        fixed: Mapping[str, float] | None = None,
    ) -> Latents:
        """Latents of samples that share their noise and their other codes over all combinations of some codes' values.

        Args:
            varied: Codes, each with the values that it takes.
            samples: How many samples.
            seed: Decides the noise and the other codes.
            fixed: Values of other codes, by name, that are not drawn.

        Returns:
            Latents sample after sample, the last of the codes turning fastest.
        """
        drawn = self.sample(samples, seed=seed, stream=SHOWN)
        for name, value in (fixed or {}).items():
            drawn.codes[:, [code.name for code in self.codes].index(name)] = value
        combinations = torch.tensor(list(product(*(values for _, values in varied))), dtype=drawn.codes.dtype)
        noise = drawn.input[:, : self.noise].repeat_interleave(len(combinations), 0)
        codes = drawn.codes.repeat_interleave(len(combinations), 0)
        codes[:, [self.codes.index(code) for code, _ in varied]] = combinations.repeat(samples, 1)
        return self.compose(noise, codes)


def one_hot(index: Tensor, classes: int) -> Tensor:
    """Classes [n] as bool [n, classes]; torch's own looks at the values on the host."""
    return index[:, None] == torch.arange(classes, device=index.device)
