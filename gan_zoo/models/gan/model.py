"""The plain GAN (Goodfellow et al., 2014): prior, generator, discriminator and objective.

The other models are this one with other defaults, or with terms added to its two objectives.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gan_zoo.config import Config, table_name
from gan_zoo.data.bounds import check_memory
from gan_zoo.draws import Draws
from gan_zoo.errors import InputError, unknown
from gan_zoo.losses.adversarial import AdversarialLoss
from gan_zoo.models.gan.codes import Code
from gan_zoo.models.gan.input_images import check_images
from gan_zoo.models.gan.prior import SHOWN, Latents, Prior
from gan_zoo.models.gan.settings import GANRecipe
from gan_zoo.registry import losses, trunks
from gan_zoo.shapes import ImageShape
from gan_zoo.trunks.layers import spectral
from gan_zoo.trunks.trunk import DiscriminatorTrunk

MOST_AT_ONCE, VALUES_AT_ONCE = 256, 2**21
"""Images, and values of theirs, that a network sees in one pass at most: memory does not grow with their number."""


class LearningRateSchedule(NamedTuple):
    """How a parameter is trained that does not keep its player's pace."""

    lr: float  # at its height
    start: int = 0  # steps done before it moves


class DiscriminatorOutput(NamedTuple):
    """The discriminator's output for images [n, C, H, W]."""

    images: Tensor
    logits: Tensor  # [n, 1], above 0 for real
    features: Tensor  # [n, trunk width], the input of every head

    @property
    def detached(self) -> DiscriminatorOutput:
        """The same, cut off from every graph."""
        return DiscriminatorOutput(self.images.detach(), self.logits.detach(), self.features.detach())


@dataclass(frozen=True, kw_only=True)
class StepTensors:
    """What the objectives of one training step are computed from, for n images."""

    real: DiscriminatorOutput  # of the augmented reals; detached in the generator's step
    fake: DiscriminatorOutput  # of the augmented fakes; detached from the generator in the discriminator's step
    latents: Latents  # that the fakes were generated from
    labels: Tensor | None  # int64 [n], of the reals, if the data has labels
    random: Draws  # the random numbers of this step and these rows
    additional: tuple[DiscriminatorOutput, ...] = ()  # of `GAN.additional_images`, in the discriminator's step


@dataclass
class Objective:
    """What one player minimises, by summand."""

    terms: dict[str, Tensor]  # float32 scalars, weights applied; their sum is the loss
    metrics: dict[str, Tensor] = field(default_factory=dict)  # watched, not minimised

    @property
    def loss(self) -> Tensor:
        """The sum of the terms."""
        return torch.stack(list(self.terms.values())).sum()

    @property
    def detached(self) -> Objective:
        """The same, cut off from every graph."""
        return Objective({name: term.detach() for name, term in self.terms.items()}, self.metrics)


class Discriminator(nn.Module):
    """A trunk and the adversarial head on its features."""

    def __init__(self, trunk: DiscriminatorTrunk, *, spectral_norm: bool) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = spectral(nn.Linear(trunk.width, 1), spectral_norm)

    def forward(self, images: Tensor) -> DiscriminatorOutput:
        """The output for images [n, C, H, W], in one pass of the trunk."""
        features = self.trunk(images)
        return DiscriminatorOutput(images, self.head(features), features)

    def discriminate(self, *batches: Tensor, at_once: bool) -> list[DiscriminatorOutput]:
        """The outputs for several batches of images.

        Args:
            batches: [n, C, H, W] each; the last may have fewer rows.
            at_once: Whether in one pass, which needs a trunk that `joins` and norms whose lots have n rows.
        """
        if not at_once:
            return [self(images) for images in batches]
        sizes = [len(images) for images in batches]
        _, logits, features = self(torch.cat(batches))
        return [
            DiscriminatorOutput(*three)
            for three in zip(batches, logits.split(sizes), features.split(sizes), strict=True)
        ]


Mean = Callable[[Tensor], Tensor]
"""The mean over the ranks of a tensor that each of them has."""


def alone(own: Tensor) -> Tensor:
    """The mean over the ranks where there is only one."""
    return own


class GAN(GANRecipe, nn.Module):
    """min_G max_D of V(D, G) = E[log D(x)] + E[log(1 - D(G(z)))], or of another adversarial loss.

    The game of Goodfellow et al., 2014 (arXiv:1406.2661).

    Args:
        config: The resolved tree, with `data.resolution` and `data.channels` known.

    A model derives from this class. It may set the attributes of `gan_zoo.config.Recipe`, override `codes_of` (the
    latent codes of its prior) and `prior_of`, and extend the two objectives. Every parameter outside `generator` and
    `prior` is trained in the discriminator's step.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        if config.data.resolution is None or config.data.channels is None:
            raise InputError("data.resolution and data.channels must be known to build a model")
        self.config = config
        self.image = ImageShape(config.data.channels, config.data.resolution)
        codes = self.codes_of(config)
        if config.latent.noise == 0 and not codes:
            raise InputError("latent.noise = 0: a generator without codes needs noise, 1 or more")
        self.prior = self.prior_of(config, codes)
        trunk = trunks.get(config.trunk.name)
        self.generator: nn.Module = trunk.generator(self.prior.width, self.image, config.trunk)
        self.discriminator = Discriminator(
            trunk.discriminator(self.image, config.trunk), spectral_norm=config.trunk.spectral_norm
        )
        self.adversarial: AdversarialLoss = losses.get(config.loss.adversarial)

    @staticmethod
    def model_settings(config: Config) -> Any:
        """The own table of the model that `config` names, of the type that the model's `settings` is."""
        return getattr(config, table_name(config.model))

    @classmethod
    def codes_of(cls, config: Config) -> Sequence[Code]:
        """The latent codes of the prior; none for a plain GAN."""
        return ()

    @classmethod
    def prior_of(cls, config: Config, codes: Sequence[Code]) -> Prior:
        """What the generator is fed; one that is an `nn.Module` is trained in the generator's step."""
        return Prior(config.latent.noise, config.latent.distribution, codes)

    @property
    def schedules(self) -> Mapping[str, LearningRateSchedule]:
        """How the parameters that have a pace of their own are trained, by the parameter's name."""
        return {}

    @property
    def codes(self) -> tuple[Code, ...]:
        """The latent codes, in the order of `Latents.codes`."""
        return self.prior.codes

    def configure_batches(self, rows: int, gradient_accumulation: int, over_ranks: Mean) -> None:
        """Learn, before the first step, how batches are divided, which may not change what is minimised.

        A mean over images is the same in any division, so there is nothing to do for it. An objective that is another
        function of the whole batch takes its means over the ranks, and refuses parts one after the other.

        Args:
            rows: Images of a part.
            accumulate: Parts that a rank goes through one after the other.
            over_ranks: The mean of all ranks' tensors, differentiable.

        Raises:
            InputError: If it cannot be minimised so.
        """

    def notes(self) -> list[str]:
        """What the user of a run should know of its configuration, a line each."""
        training, warmup, found = self.config.training, self.config.optimizer.warmup, []
        if warmup >= training.steps:
            found.append(
                f"optimizer.warmup = {warmup}: the run ends at step {training.steps}, below its full learning rate"
            )
        if training.accumulate > 1 and any(isinstance(layer, _BatchNorm) for layer in self.modules()):
            rows = training.batch_size // training.accumulate
            found.append(
                f"training.accumulate = {training.accumulate}: batch norm takes its statistics over {rows} images"
            )
        return found

    def additional_images(self, real: Tensor, random: Draws) -> tuple[Tensor, ...]:
        """Images that D sees in its step besides reals and fakes; `StepTensors.additional` has its output for them.

        Args:
            real: The reals [n, C, H, W], as they were augmented.
            random: For whatever a model draws in this step, on its device.

        Returns:
            Batches of n images each; the last may have fewer.
        """
        return ()

    def discriminator_objective(self, step: StepTensors) -> Objective:
        """The objective of D and of every head: here the adversarial loss."""
        loss = self.adversarial.discriminator(real=step.real.logits, fake=step.fake.logits)
        return Objective({"discriminator/adversarial": loss})

    def generator_objective(self, step: StepTensors) -> Objective:
        """The objective of G: here the adversarial loss."""
        loss = self.adversarial.generator(real=step.real.logits, fake=step.fake.logits)
        return Objective({"generator/adversarial": loss})

    def sample(
        self, n: int, codes: Mapping[str, float | Sequence[float] | Tensor] | None = None, *, seed: int = 0
    ) -> Tensor:
        """Images [n, C, H, W] in [-1, 1]; the same ones in every call with the same `seed`.

        Args:
            n: How many. The first images of more are those of fewer.
            codes: Values held for all, or one for each image, by the code's name; the others are drawn.
            seed: Decides the noise and the codes that are drawn; another seed draws other images.

        Raises:
            InputError: For a code that the model does not have, a value that it does not take, or more images than this
                machine's memory holds.
        """
        drawn = self.draw(n, codes, seed=seed)
        first = next(drawn)
        if len(first) == n:
            return first
        check_memory(n * first[0].nbytes, f"{n:,} images")
        images = first.new_empty(n, *first.shape[1:])
        row = 0
        for part in chain([first], drawn):
            images[row : row + len(part)] = part
            row += len(part)
        return images

    @torch.no_grad()
    def draw(
        self, n: int, codes: Mapping[str, float | Sequence[float] | Tensor] | None = None, *, seed: int = 0
    ) -> Iterator[Tensor]:
        """The images of `sample` in batches, so that memory does not grow with their number.

        Arguments and errors are those of `sample`.
        """
        if not isinstance(n, int | np.integer) or n < 1:
            raise InputError(f"n is a whole number from 1, not {n!r}")
        if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
            raise InputError(f"seed is a whole number in 0 to 2^64 - 1, not {seed!r}")
        n, seed = int(n), int(seed)
        held = self._held(n, codes)
        for start in range(0, n, self.at_once):
            size = min(self.at_once, n - start)
            latents = self.prior.sample(size, seed=seed, stream=SHOWN, first_row=start)
            values = latents.codes.clone()
            for index, column in held.items():
                values[:, index] = (column[start : start + size] if column.ndim else column).to(values)
            yield self.generate(self.prior.compose(latents.input[:, : self.prior.noise], values))

    def _held(self, n: int, codes: Mapping[str, float | Sequence[float] | Tensor] | None) -> dict[int, Tensor]:
        """Values to hold, one [] or one for each of n images [n], by the code's place among the codes."""
        if codes is not None and not isinstance(codes, Mapping):
            raise InputError(f"codes are given by name, as in {{'c1': 3}}, not as {codes!r}")
        names = [code.name for code in self.codes]
        held = {}
        for name, value in (codes or {}).items():
            if name not in names:
                raise unknown("code", name, names)
            try:
                column = torch.as_tensor(value, dtype=torch.float32)
            except (TypeError, ValueError):
                raise InputError(f"code {name}: numbers are needed, not {value!r}") from None
            if column.ndim > 1 or (column.ndim == 1 and len(column) != n):
                raise InputError(f"code {name}: one value or {n} are needed, not {list(column.shape)}")
            for single in set(column.reshape(-1).tolist()):
                self.codes[names.index(name)].check(single)
            held[names.index(name)] = column
        return held

    @torch.no_grad()
    def generate(self, latents: Latents) -> Tensor:
        """The generator's images [n, C, H, W] of given latents, with the statistics that it learned."""
        with evaluating(self.generator):
            images = self.in_passes(self.generator, latents.input.to(self.device))
        return images.float()

    @property
    def at_once(self) -> int:
        """Images that a network sees in one pass where none is trained."""
        return max(1, min(MOST_AT_ONCE, VALUES_AT_ONCE // self.image.pixels))

    def in_passes(self, network: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        """What a network in evaluation mode makes of rows [n, …], `at_once` of them in a pass."""
        if torch.compiler.is_exporting() or len(rows) <= self.at_once:
            return network(rows)
        return torch.cat([network(part) for part in rows.split(self.at_once)])

    def prepare_images(self, images: Any) -> Tensor:
        """Images [n, C, H, W] in [-1, 1], where the model lies; see `check_images`."""
        return check_images(images, self.image).to(self.device, next(self.parameters()).dtype)

    def phase(self, step: int) -> Hashable:
        """What of this model's objectives changes with the number of steps done.

        Steps of one phase are made of the same operations and may share a captured graph, so an objective that reads
        `latents.step` overrides this. None by default: all steps are alike.
        """
        return None

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return next(self.parameters()).device


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """`module` in evaluation mode, and afterwards as it was."""
    before = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(before)
