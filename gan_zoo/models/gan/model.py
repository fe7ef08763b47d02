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

from gan_zoo.config import Config, table_name
from gan_zoo.data.bounds import check_memory
from gan_zoo.draws import Draws
from gan_zoo.errors import InputError
from gan_zoo.losses.adversarial import AdversarialLoss
from gan_zoo.models.gan.adaptive_augment import adaptive_probability
from gan_zoo.models.gan.codes import Code
from gan_zoo.models.gan.discriminator import Discriminator, DiscriminatorOutput
from gan_zoo.models.gan.input_images import check_images
from gan_zoo.models.gan.notes import notes_on
from gan_zoo.models.gan.prior import SHOWN, CodeValues, Latents, Prior
from gan_zoo.models.gan.settings import GANRecipe
from gan_zoo.registry import losses
from gan_zoo.shapes import ImageShape
from gan_zoo.trunks.conditional import build_generator
from gan_zoo.trunks.style import MinibatchStd, drawing
from gan_zoo.trunks.trunk import trunk_of

MAX_IMAGES_AT_ONCE, MAX_VALUES_AT_ONCE = 256, 2**21
"""Images, and their values, in one pass outside of training, so that memory does not grow with their number."""


class LearningRateSchedule(NamedTuple):
    """The learning rate of a parameter that does not follow its network's."""

    lr: float  # the maximum
    start: int = 0  # steps before its first update


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
    """What one network minimises."""

    terms: dict[str, Tensor]  # float32 scalars, weights applied; their sum is the loss
    metrics: dict[str, Tensor] = field(default_factory=dict)  # logged, not minimised
    observed: dict[str, Tensor] = field(default_factory=dict)  # for `GAN.observe`, detached scalars

    @property
    def loss(self) -> Tensor:
        """The sum of the terms."""
        return torch.stack(list(self.terms.values())).sum()

    @property
    def detached(self) -> Objective:
        """The objective, detached from the graph."""
        return Objective({name: term.detach() for name, term in self.terms.items()}, self.metrics, self.observed)


Mean = Callable[[Tensor], Tensor]
"""The mean over the ranks of each rank's tensor."""


def alone(tensor: Tensor) -> Tensor:
    """The mean over a single rank."""
    return tensor


class GAN(GANRecipe, nn.Module):
    """min_G max_D of V(D, G) = E[log D(x)] + E[log(1 - D(G(z)))], or of another adversarial loss.

    The game of Goodfellow et al., 2014 (arXiv:1406.2661).

    Args:
        config: The resolved configuration, with `data.resolution` and `data.channels` known.

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
        if config.latent.noise == 0 and all(code.conditions for code in codes):
            raise InputError("latent.noise = 0: a generator without codes needs noise; set it to 1 or more")
        self.prior = self.prior_of(config, codes)
        trunk, classes = trunk_of(config.trunk), self.prior.classes
        self.generator = build_generator(trunk, self.prior.width, self.image, config.trunk, classes=classes)
        self.discriminator = Discriminator(
            trunk.discriminator(self.image, config.trunk), spectral_norm=config.trunk.spectral_norm, classes=classes
        )
        self.adversarial: AdversarialLoss = losses.get(config.loss.adversarial)
        self.over_ranks: Mean = alone
        self.augmentation = adaptive_probability(config.data)

    @staticmethod
    def model_settings(config: Config) -> Any:
        """The model's table of the configuration, of the type of its `settings`."""
        return getattr(config, table_name(config.model))

    @classmethod
    def codes_of(cls, config: Config) -> Sequence[Code]:
        """The latent codes of the prior; none for a plain GAN."""
        return ()

    @classmethod
    def prior_of(cls, config: Config, codes: Sequence[Code]) -> Prior:
        """The prior of the generator's input; one that is an `nn.Module` is trained in the generator's step."""
        return Prior(config.latent.noise, config.latent.distribution, codes)

    @property
    def schedules(self) -> Mapping[str, LearningRateSchedule]:
        """The learning rates of parameters that do not follow their network's, by the parameter's name."""
        return {}

    @property
    def codes(self) -> tuple[Code, ...]:
        """The latent codes, in the order of `Latents.codes`."""
        return self.prior.codes

    def configure_batches(self, rows: int, gradient_accumulation: int, over_ranks: Mean) -> None:
        """Set, before the first step, how batches are divided, which must not change the objective.

        Gradient accumulation and ranks do not change a mean over images. An objective that is another function of the
        whole batch averages over the ranks, and raises if gradients accumulate.

        Args:
            rows: Images of a micro-batch.
            gradient_accumulation: Micro-batches of a rank in each step.
            over_ranks: The mean over the ranks, differentiable.

        Raises:
            InputError: If the objective cannot be computed so.
        """
        self.over_ranks = over_ranks
        for layer in self.modules():
            if isinstance(layer, MinibatchStd):
                layer.images = rows

    def notes(self) -> list[str]:
        """Notes on the configuration for the user, one line each."""
        return notes_on(self.config, self)

    def training_images(self, latents: Latents, random: Draws) -> Tensor:
        """The fakes [n, C, H, W] of a training step; noise inputs of the generator are drawn from `random`."""
        with drawing(self.generator, random):
            images: Tensor = self.generator(latents.input)
        return images

    def additional_images(self, real: Tensor, latents: Latents, random: Draws) -> tuple[Tensor, ...]:
        """Images that D sees in its step besides reals and fakes; `StepTensors.additional` has its output for them.

        Args:
            real: The augmented reals [n, C, H, W].
            latents: Of the fakes.
            random: The random numbers of this step, on its device.

        Returns:
            Batches of n images each; the last may have fewer.
        """
        return ()

    def discriminator_objective(self, step: StepTensors) -> Objective:
        """The objective of D and of every head: here its game terms alone."""
        objective = Objective(self.game_terms("discriminator", step))
        if self.augmentation:
            objective.observed["sign"] = step.real.logits.detach().float().sign().mean()
        return objective

    def generator_objective(self, step: StepTensors) -> Objective:
        """The objective of G: here its game terms alone."""
        return Objective(self.game_terms("generator", step))

    def observe(self, means: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Update running numbers after a step, by the mean of each that its objectives `observed`; returns metrics."""
        if self.augmentation and "sign" not in means:
            raise InputError(f"data.augment_target: model {self.config.model} observes no sign of D; set it to 0")
        return self.augmentation.observe(means["sign"], self.config.training.batch_size) if self.augmentation else {}

    def game_terms(self, player: str, step: StepTensors) -> dict[str, Tensor]:
        """What D and G ("discriminator" and "generator") play for: the adversarial loss."""
        loss = getattr(self.adversarial, player)
        return {f"{player}/adversarial": loss(real=step.real.logits, fake=step.fake.logits)}

    def sample(self, n: int, codes: CodeValues | None = None, *, seed: int = 0, truncation: float = 1.0) -> Tensor:
        """Images [n, C, H, W] in [-1, 1], determined by `seed`.

        Args:
            n: The number of images. A larger n appends images.
            codes: One value for all or one for each image, by the code's name; other codes are drawn.
            seed: Determines the noise and the drawn codes.
            truncation: ψ in [0, 1]: noise becomes ψ z, nearer to its mean; codes stay. See `Prior.truncated`.

        Raises:
            InputError: For an unknown code, an invalid value, or more images than this machine's memory holds.
        """
        drawn = self.draw(n, codes, seed=seed, truncation=truncation)
        first = next(drawn)
        if len(first) == n:
            return first
        check_memory(n * first[0].nbytes, f"{n:,} images")
        images, row = first.new_empty(n, *first.shape[1:]), 0
        for batch in chain([first], drawn):
            images[row : row + len(batch)] = batch
            row += len(batch)
        return images

    @torch.no_grad()
    def draw(
        self, n: int, codes: CodeValues | None = None, *, seed: int = 0, truncation: float = 1.0
    ) -> Iterator[Tensor]:
        """The images of `sample` in batches, so that memory does not grow with their number.

        Arguments and errors are those of `sample`.
        """
        if not isinstance(n, int | np.integer) or n < 1:
            raise InputError(f"n must be an integer of at least 1, not {n!r}")
        if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
            raise InputError(f"seed must be an integer from 0 to 2^64 - 1, not {seed!r}")
        n, seed = int(n), int(seed)
        chosen = self.prior.chosen(n, codes)
        for start in range(0, n, self.at_once):
            size = min(self.at_once, n - start)
            latents = self.prior.sample(size, seed=seed, stream=SHOWN, first_row=start)
            of_batch = {
                name: column[start : start + size] if column.ndim else column for name, column in chosen.items()
            }
            yield self.generate(self.prior.truncated(self.prior.with_codes(latents, of_batch), truncation))

    @torch.no_grad()
    def generate(self, latents: Latents) -> Tensor:
        """The generator's images [n, C, H, W] of given latents, in evaluation mode."""
        with evaluating(self.generator):
            images = self.in_passes(self.generator, latents.input.to(next(self.parameters())))
        return images.float()

    @property
    def at_once(self) -> int:
        """Images in one pass outside of training."""
        return max(1, min(MAX_IMAGES_AT_ONCE, MAX_VALUES_AT_ONCE // self.image.pixels))

    def in_passes(self, network: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        """The output of a network in evaluation mode for rows [n, …], `at_once` of them in a pass."""
        single = torch.compiler.is_exporting() or len(rows) <= self.at_once
        return network(rows) if single else torch.cat([network(batch) for batch in rows.split(self.at_once)])

    def examine(self, images: Tensor) -> None:
        """Pass images [n, C, H, W] through D and every head on its trunk, so that batch norms see them."""
        self.discriminator(images)

    def prepare_images(self, images: Any) -> Tensor:
        """Images [n, C, H, W] in [-1, 1], checked (see `check_images`), on the model's device."""
        return check_images(images, self.image).to(self.device, next(self.parameters()).dtype)

    def phase(self, step: int) -> Hashable:
        """What changes in this model's objectives with the number of steps done.

        Steps of one phase may share a CUDA graph, so a model whose objective reads `step.latents.step` overrides this.
        """
        return None

    @property
    def device(self) -> torch.device:
        """The model's device."""
        return next(self.parameters()).device


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """A context with `module` in evaluation mode."""
    before = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(before)
