"""What the generator is fed: noise z and codes c, drawn from P(z) P(c)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from gan_zoo_kernels import Layout, sample_latents
from torch import Tensor

from gan_zoo.errors import InputError, unknown
from gan_zoo.models.gan.codes import LABEL, Code

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

    def __len__(self) -> int:
        """The number of latents, n."""
        return len(self.input)

    @classmethod
    def cat(cls, batches: Sequence[Latents]) -> Latents:
        """Batches of latents as one."""
        return cls(torch.cat([batch.input for batch in batches]), torch.cat([batch.codes for batch in batches]))

    def first(self, n: int) -> Latents:
        """The first n latents."""
        return Latents(self.input[:n], self.codes[:n], self.steps_done)


CodeValues = Mapping[str, float | Sequence[float] | Tensor]
"""Values of codes by name: one for all images, or one for each."""


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

    @property
    def classes(self) -> int:
        """Classes that both networks are conditioned on, the last columns of the generator's input; 0 if none."""
        return sum(code.classes for code in self.codes if code.conditions)

    def labels(self, codes: Tensor) -> Tensor | None:
        """The labels among codes [n, number of codes], int64 [n]; None if no code stands for the data's labels."""
        return codes[:, -1].long() if self.codes and self.codes[-1].name == LABEL else None

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

    def chosen(self, n: int, codes: CodeValues | None) -> dict[str, Tensor]:
        """Chosen values of codes for n images, checked: [] or [n] by name.

        Raises:
            InputError: For an unknown code, an invalid value, or another number of values.
        """
        if codes is not None and not isinstance(codes, Mapping):
            raise InputError(f"codes must be a dict of values by name, such as {{'c1': 3}}, not {codes!r}")
        by_name = {code.name: code for code in self.codes}
        chosen = {}
        for name, value in (codes or {}).items():
            if name not in by_name:
                raise unknown("code", name, by_name)
            try:
                column = torch.as_tensor(value, dtype=torch.float32)
            except (TypeError, ValueError):
                raise InputError(f"code {name} must be a number or numbers, not {value!r}") from None
            if column.ndim > 1 or (column.ndim == 1 and len(column) != n):
                raise InputError(f"code {name} must have one value or {n}, not the shape {list(column.shape)}")
            for single in set(column.reshape(-1).tolist()):
                by_name[name].check(single)
            chosen[name] = column
        return chosen

    def with_codes(self, latents: Latents, codes: CodeValues | None) -> Latents:
        """The latents with chosen values of some codes; noise and other codes stay.

        Raises:
            InputError: As `chosen`.
        """
        values = latents.codes.clone()
        for name, column in self.chosen(len(latents), codes).items():
            values[:, [code.name for code in self.codes].index(name)] = column.to(values)
        return self.compose(latents.input[:, : self.noise], values)

    def truncated(self, latents: Latents, truncation: float) -> Latents:
        """The latents with noise ψ z in place of z, for ψ = `truncation` in [0, 1]: nearer to the mean, 0.

        Scaling is StyleGAN's truncation (Karras et al., 2019, appendix B), but of z, since most trunks have no w;
        BigGAN instead draws values beyond a bound anew (Brock et al., 2018).

        Raises:
            InputError: If `truncation` is not in [0, 1].
        """
        if not (isinstance(truncation, int | float) and 0 <= truncation <= 1):
            raise InputError(f"truncation must be a number from 0 to 1, not {truncation!r}")
        return self.compose(truncation * latents.input[:, : self.noise], latents.codes)

    @property
    def noise_variance(self) -> float:
        """The variance of each column of the noise: 1, or 1/3 of uniform noise."""
        return 1.0 if self.layout.normal else 1 / 3

    def from_normal(self, numbers: Tensor) -> Tensor:
        """Numbers g from N(0, 1) as noise: as they are, or of uniform noise 2 Φ(g) - 1, uniform in (-1, 1)."""
        return numbers if self.layout.normal else torch.erf(numbers / math.sqrt(2))

    def within(self, noise: Tensor) -> Tensor:
        """Noise [n, noise] moved to the nearest point of the region that samples come from.

        This is the cube [-1, 1] of uniform noise. Of normal noise it is the ball of radius √d + 1 for d = `noise`, with
        nine tenths of the samples: their norm is √d ± 0.7.
        """
        if not self.layout.normal:
            return noise.clamp(-1, 1)
        norm: Tensor = torch.linalg.vector_norm(noise, dim=1, keepdim=True)
        return noise * ((math.sqrt(self.noise) + 1) / norm).clamp(max=1)

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
        seed: int | Latents,
        fixed: Mapping[str, float] | None = None,
    ) -> Latents:
        """Latents of samples that share their noise and their other codes over all combinations of some codes' values.

        Args:
            varied: Codes, each with the values that it takes.
            samples: How many samples.
            seed: Decides the noise and the other codes; or latents that have them.
            fixed: Values of other codes, by name, that are not drawn.

        Returns:
            Latents sample after sample, the last of the codes turning fastest.

        Raises:
            InputError: If there are fewer latents than samples.
        """
        drawn = seed if isinstance(seed, Latents) else self.sample(samples, seed=seed, stream=SHOWN)
        if len(drawn) < samples:
            raise InputError(f"{samples} samples require as many latents, and there are {len(drawn)}")
        drawn = self.with_codes(drawn.first(samples), fixed)
        combinations = torch.tensor(list(product(*(values for _, values in varied))), dtype=drawn.codes.dtype)
        noise = drawn.input[:, : self.noise].repeat_interleave(len(combinations), 0)
        codes = drawn.codes.repeat_interleave(len(combinations), 0)
        codes[:, [self.codes.index(code) for code, _ in varied]] = combinations.repeat(samples, 1)
        return self.compose(noise, codes)


def one_hot(index: Tensor, classes: int) -> Tensor:
    """Classes [n] as bool [n, classes]; torch's own looks at the values on the host."""
    return index[:, None] == torch.arange(classes, device=index.device)
