"""When the gradient penalties are due, and with what weight."""

from __future__ import annotations

import torch
from torch import Tensor

from gan_zoo.config import Loss
from gan_zoo.losses.penalties import gradient_penalty, zero_centred_penalty
from gan_zoo.models.gan.model import Discriminator


class Penalties:
    """The penalties of a configuration; computed at every n-th step, weighted n times (lazy regularisation)."""

    def __init__(self, settings: Loss) -> None:
        self.settings = settings
        self.any = max(settings.gradient_penalty, settings.r1, settings.r2) > 0

    def due(self, step: int) -> bool:
        """Whether step `step` is one that pays them."""
        return self.any and step % self.settings.penalty_interval == 0

    def __call__(
        self,
        discriminator: Discriminator,
        real: Tensor,
        fake: Tensor,
        real_logits: Tensor,
        fake_logits: Tensor,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """The terms that the discriminator's loss is to be added, weights applied.

        `real` and `fake` are the images [n, C, H, W] that the logits were computed from, and require gradients.
        """
        s, terms = self.settings, {}
        if s.gradient_penalty:
            mix = torch.rand(len(real), 1, 1, 1, device=real.device, generator=generator)
            slope = gradient_penalty(lambda x: discriminator(x).logits, real.detach(), fake.detach(), mix)
            terms["discriminator/gradient_penalty"] = s.gradient_penalty * slope
        if s.r1:
            terms["discriminator/r1"] = s.r1 * zero_centred_penalty(real_logits, real)
        if s.r2:
            terms["discriminator/r2"] = s.r2 * zero_centred_penalty(fake_logits, fake)
        return {name: s.penalty_interval * term for name, term in terms.items()}
