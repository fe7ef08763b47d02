"""One training iteration, the same for every model, in two orders of play."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from gan_zoo.data.augment import parse_augment
from gan_zoo.data.batches import Batch
from gan_zoo.draws import Draws
from gan_zoo.models.gan.model import GAN, Discriminator, Judgement, Objective
from gan_zoo.models.gan.prior import Latents
from gan_zoo.registry import trunks
from gan_zoo.training.checkpoint import State
from gan_zoo.training.penalties import Penalties
from gan_zoo.training.precision import Precision
from gan_zoo.trunks.layers import LotNorm, SpectralNorm

Play = Callable[..., list[Objective]]
"""An order of play: see `alternating`."""


class Part(NamedTuple):
    """One of the parts of a batch that gradients are accumulated over."""

    batch: Batch
    latents: Latents
    random: Draws


class Rules:
    """What the two players minimise in a step, each as one function, which torch.compile may take as a whole.

    Args:
        model: The game.
        precision: What its networks compute in.
        rows: Images of a part; batch norms outside of G take their statistics over so many.
    """

    def __init__(self, model: GAN, precision: Precision, rows: int) -> None:
        config = model.config
        augment = parse_augment(config.data.augment)
        self.model, self.precision = model, precision
        self.augment_real = augment
        self.augment_fake = augment if config.data.augment_fakes else parse_augment("")
        self.penalties = Penalties(config.loss)
        self.in_float32 = config.loss.gradient_penalty > 0 or precision.name == "fp16"  # passes of a penalised step
        self.at_once = _joins(model)
        for name, layer in model.named_modules():
            if isinstance(layer, LotNorm):
                of_generator = name.startswith("generator.")
                layer.rows = None if of_generator else rows
                layer.once = of_generator or not self.penalties.any
        self.generate: Callable[[Tensor], Tensor] = self._generate
        self.of_discriminator, self.of_generator = self._of_discriminator, self._of_generator
        if config.training.compile:
            self.generate = torch.compile(self._generate)
            self.of_discriminator = torch.compile(self._of_discriminator)
            self.of_generator = torch.compile(self._of_generator)

    def _generate(self, z: Tensor) -> Tensor:
        """G(z, c), float32."""
        with self.precision.autocast():
            fake: Tensor = self.model.generator(z)
        return fake.float()

    def _of_discriminator(self, part: Part, fake: Tensor, penalised: bool) -> tuple[Objective, Judgement, Judgement]:
        """What D minimises, of reals x ~ data and of `fake`, and its judgements of both."""
        model, (batch, latents, random) = self.model, part
        real_x, fake_x = self.augment_real(batch.images, random), self.augment_fake(fake, random)
        if slopes := penalised and self.penalties.of_passes:
            real_x = real_x.detach().requires_grad_()
            fake_x = fake_x if fake_x.requires_grad else fake_x.detach().requires_grad_()
        beside = model.also_judged(real_x, random)
        at_once = self.at_once and not fake_x.requires_grad  # whose gradient would pass through the reals, too
        with self.precision.autocast(penalised=slopes):
            real, judged, *more = model.discriminator.judge(real_x, fake_x, *beside, at_once=at_once)
            real = real._replace(beside=tuple(more))
            objective = model.discriminator_objective(real, judged, latents, batch.labels, random)
            if penalised:
                objective.terms |= self.penalties(model.discriminator, real, judged, random)
        return objective, real.detached, judged

    def _of_generator(self, part: Part, fake: Tensor, real: Judgement) -> Objective:
        """What G minimises, of D's verdict on `fake`."""
        with self.precision.autocast():
            judged = self.model.discriminator(self.augment_fake(fake, part.random))
            return self.model.generator_objective(judged, real, part.latents, part.random)

    def of_generator_judged(self, part: Part, judged: Judgement, real: Judgement) -> Objective:
        """What G minimises, of a judgement that was made for D."""
        with self.precision.autocast():
            return self.model.generator_objective(judged, real, part.latents, part.random)


def alternating(
    state: State,
    rules: Rules,
    parts: list[Part],
    *,
    update_generator: bool,  # false in all but every n-th step, where D makes n steps for one of G
    penalised: bool,  # whether D pays its gradient penalties in this step
) -> list[Objective]:
    """D's step, then G's, from 1 generator forward and 3 trunk forwards, of which two are one pass where they can be.

    Returns:
        The objectives of both players for each part, on the device: nothing here waits for it.
    """
    discriminator, generator = state.players["discriminator"], state.players["generator"]
    objectives, played = [], []

    # max_D V(D, G): D judges x ~ data and G(z, c), which it may not change.
    for part in parts:
        with torch.set_grad_enabled(update_generator):
            fake = rules.generate(part.latents.input)
        objective, real, _ = rules.of_discriminator(part, fake.detach(), penalised)
        discriminator.backward(objective)
        objectives.append(objective)
        played.append((part, fake, real))
    discriminator.update()

    # min_G V(D, G): the new D judges the same fakes; its weights take no gradient.
    if update_generator:
        for part, fake, real in played:
            with discriminator.frozen():
                objective = rules.of_generator(part, fake, real)
            generator.backward(objective)
            objectives.append(objective)
        generator.update()
    state.precision.scaler.update()
    return objectives


def simultaneous(
    state: State, rules: Rules, parts: list[Part], *, update_generator: bool, penalised: bool
) -> list[Objective]:
    """Both steps at once, from 1 generator forward and 2 trunk forwards: G plays against D as it was.

    Arguments and result are those of `alternating`, which a step without G's turn is left to.
    """
    if not update_generator:
        return alternating(state, rules, parts, update_generator=False, penalised=penalised)
    discriminator, generator = state.players["discriminator"], state.players["generator"]
    objectives = []

    # max_D V(D, G) and min_G V(D, G), of one judgement of fakes that are cut off from G: what G's loss asks of them is
    # handed on to G afterwards.
    for part in parts:
        fake = rules.generate(part.latents.input)
        cut = fake.detach().requires_grad_()
        of_discriminator, real, judged = rules.of_discriminator(part, cut, penalised)
        of_generator = rules.of_generator_judged(part, judged, real)
        discriminator.backward(of_discriminator, retain_graph=True)
        generator.backward(of_generator, through=(fake, cut))
        objectives += [of_discriminator.detached, of_generator.detached]
        del fake, cut, real, judged, of_discriminator, of_generator  # and with them the graph, which is still whole
    discriminator.update()
    generator.update()
    state.precision.scaler.update()
    return objectives


ORDERS = {"alternating": alternating, "simultaneous": simultaneous}
"""The setting `training.update`."""


def _joins(model: GAN) -> bool:
    """Whether D may judge several batches in one pass as it would in several; spectral norm counts passes."""
    layers = list(model.discriminator.modules())
    norms = [layer for layer in layers if isinstance(layer, _BatchNorm)]
    return (
        trunks.get(model.config.trunk.name).joins
        and type(model.discriminator) is Discriminator
        and all(isinstance(norm, LotNorm) for norm in norms)
        and not any(isinstance(layer, SpectralNorm) for layer in layers)
    )
