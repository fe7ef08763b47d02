"""One training iteration, the same for every model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor

from gan_zoo.data.batches import Batch
from gan_zoo.models.gan.model import GAN, Judgement, Objective
from gan_zoo.models.gan.prior import Latents
from gan_zoo.training.penalties import Penalties
from gan_zoo.training.player import Player
from gan_zoo.training.precision import Precision

Augmentation = Callable[[Tensor, torch.Generator], Tensor]


def train_step(
    model: GAN,
    discriminator: Player,
    generator: Player,
    parts: list[tuple[Batch, Latents]],  # the batch, in as many parts as gradients are accumulated over
    *,
    step: int,  # steps done before this one
    update_generator: bool,  # false in all but every n-th step, where D makes n steps for one of G
    precision: Precision,
    penalties: Penalties,
    augment: tuple[Augmentation, Augmentation],  # of reals, of fakes
    random: torch.Generator,  # seeded by (seed, step, rank)
) -> list[Objective]:
    """D's step, then G's, from 1 generator forward and 3 trunk forwards.

    Returns:
        The objectives of both players for each part, on the device: nothing here waits for it.
    """
    augment_real, augment_fake = augment
    penalised = penalties.differentiate(step)
    objectives, played = [], []

    # max_D V(D, G): D judges x ~ data and G(z, c), which it may not change.
    for batch, latents in parts:
        with precision.autocast(), nullcontext() if update_generator else torch.no_grad():
            fake = model.generator(latents.input)
        real_x = augment_real(batch.images, random).requires_grad_(penalised)
        fake_x = augment_fake(fake.detach().float(), random).requires_grad_(penalised)
        with precision.autocast(penalised=penalised):
            real, judged = model.discriminator(real_x), model.discriminator(fake_x)
            objective = model.discriminator_objective(real, judged, latents, batch.labels, random)
            if penalties.due(step):
                objective.terms |= penalties(model.discriminator, real_x, fake_x, real.logits, judged.logits, random)
        discriminator.backward(objective.loss / len(parts))
        objectives.append(objective)
        played.append((latents, fake, Judgement(*(t.detach() for t in real))))
    discriminator.update(step)

    # min_G V(D, G): the new D judges the same fakes; its weights take no gradient.
    if update_generator:
        for latents, fake, real in played:
            with discriminator.frozen(), precision.autocast():
                judged = model.discriminator(augment_fake(fake.float(), random))
                objective = model.generator_objective(judged, real, latents, random)
            generator.backward(objective.loss / len(parts))
            objectives.append(objective)
        generator.update(step)
    precision.scaler.update()
    return objectives
