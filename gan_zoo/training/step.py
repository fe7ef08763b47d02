"""One training iteration, the same for every model, in two orders of play."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from gan_zoo.config import Config
from gan_zoo.data.augment import parse_augment
from gan_zoo.data.batches import Batch
from gan_zoo.draws import Draws
from gan_zoo.models.gan.model import Objective
from gan_zoo.models.gan.prior import Latents
from gan_zoo.training.checkpoint import State
from gan_zoo.training.penalties import Penalties

Augmentation = Callable[[Tensor, Draws], Tensor]
Parts = list[tuple[Batch, Latents]]
"""A batch and its latents, in as many parts as gradients are accumulated over."""


@dataclass(frozen=True)
class Rules:
    """What D gets to see, and what it pays beside the model's objective."""

    penalties: Penalties
    augment_real: Augmentation
    augment_fake: Augmentation

    @classmethod
    def of(cls, config: Config) -> Self:
        """Those of a configuration."""
        augment = parse_augment(config.data.augment)
        return cls(Penalties(config.loss), augment, augment if config.data.augment_fakes else parse_augment(""))


def alternating(
    state: State,
    rules: Rules,
    parts: Parts,
    draws: Sequence[Draws],  # of each part
    *,
    update_generator: bool,  # false in all but every n-th step, where D makes n steps for one of G
) -> list[Objective]:
    """D's step, then G's, from 1 generator forward and 3 trunk forwards.

    Returns:
        The objectives of both players for each part, on the device: nothing here waits for it.
    """
    model, precision, step = state.model, state.precision, state.step
    discriminator, generator = state.players["discriminator"], state.players["generator"]
    penalised = rules.penalties.differentiate(step)
    objectives, played = [], []

    # max_D V(D, G): D judges x ~ data and G(z, c), which it may not change.
    for (batch, latents), random in zip(parts, draws, strict=True):
        with precision.autocast(), nullcontext() if update_generator else torch.no_grad():
            fake = model.generator(latents.input)
        real_x = rules.augment_real(batch.images, random).requires_grad_(penalised)
        fake_x = rules.augment_fake(fake.detach().float(), random).requires_grad_(penalised)
        with precision.autocast(penalised=penalised):
            real, judged = model.discriminator(real_x), model.discriminator(fake_x)
            objective = model.discriminator_objective(real, judged, latents, batch.labels, random)
            objective.terms |= rules.penalties(model.discriminator, step, real, judged, random)
        discriminator.backward(objective.loss / len(parts))
        objectives.append(objective)
        played.append((latents, fake, real.detached, random))
    discriminator.update()

    # min_G V(D, G): the new D judges the same fakes; its weights take no gradient.
    if update_generator:
        for latents, fake, real, random in played:
            with discriminator.frozen(), precision.autocast():
                judged = model.discriminator(rules.augment_fake(fake.float(), random))
                objective = model.generator_objective(judged, real, latents, random)
            generator.backward(objective.loss / len(parts))
            objectives.append(objective)
        generator.update()
    precision.scaler.update()
    return objectives


def simultaneous(
    state: State, rules: Rules, parts: Parts, draws: Sequence[Draws], *, update_generator: bool
) -> list[Objective]:
    """Both steps at once, from 1 generator forward and 2 trunk forwards: G plays against D as it was.

    Arguments and result are those of `alternating`, which a step without G's turn is left to.
    """
    if not update_generator:
        return alternating(state, rules, parts, draws, update_generator=False)
    model, precision, step = state.model, state.precision, state.step
    discriminator, generator = state.players["discriminator"], state.players["generator"]
    penalised = rules.penalties.differentiate(step)
    objectives = []

    # max_D V(D, G) and min_G V(D, G), of one judgement: each loss is differentiated by its player's weights alone.
    for (batch, latents), random in zip(parts, draws, strict=True):
        with precision.autocast():
            fake = model.generator(latents.input)
        real_x = rules.augment_real(batch.images, random).requires_grad_(penalised)
        fake_x = rules.augment_fake(fake.float(), random)
        with precision.autocast(penalised=penalised):
            real, judged = model.discriminator(real_x), model.discriminator(fake_x)
            of_discriminator = model.discriminator_objective(real, judged, latents, batch.labels, random)
            of_discriminator.terms |= rules.penalties(model.discriminator, step, real, judged, random)
            of_generator = model.generator_objective(judged, real.detached, latents, random)
        discriminator.backward(of_discriminator.loss / len(parts), alone=True)
        generator.backward(of_generator.loss / len(parts), alone=True)
        objectives += [of_discriminator.detached, of_generator.detached]
        del fake, fake_x, real, judged, of_discriminator, of_generator  # and with them the graph, which is still whole
    discriminator.update()
    generator.update()
    precision.scaler.update()
    return objectives


ORDERS = {"alternating": alternating, "simultaneous": simultaneous}
"""The setting `training.update`."""
