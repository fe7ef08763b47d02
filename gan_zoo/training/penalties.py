"""The gradient penalties of a configuration: when they are computed, and their weights."""

from __future__ import annotations

from torch import Tensor

from gan_zoo.config import Config, Loss
from gan_zoo.draws import Draws
from gan_zoo.errors import InputError
from gan_zoo.losses.penalties import gradient_penalty, zero_centred_penalty
from gan_zoo.models.gan.discriminator import Discriminator, DiscriminatorOutput
from gan_zoo.training.network_optimizer import decayed


class Penalties:
    """The penalties; computed at every n-th step with n times their weight (lazy regularisation).

    Args:
        settings: Of the loss.
        steps: Of the run.

    Attributes:
        share: The present share of γ; a tensor where steps read it from the device.
    """

    def __init__(self, settings: Loss, steps: int) -> None:
        self.settings, self.steps = settings, steps
        self.share: float | Tensor = 1.0
        self.any = max(settings.gradient_penalty, settings.r1, settings.r2) > 0

    @property
    def of_passes(self) -> bool:
        """Whether they differentiate the passes over reals and fakes that are made anyway (R1, R2)."""
        return max(self.settings.r1, self.settings.r2) > 0

    def due(self, step: int) -> bool:
        """Whether they are computed in step `step`."""
        return self.any and step % self.settings.penalty_interval == 0

    def share_of(self, step: int) -> float:
        """The share of γ in step `step`."""
        return decayed("cosine", self.settings.final_penalty, step, self.steps)

    def __call__(
        self,
        discriminator: Discriminator,
        *,
        real: DiscriminatorOutput,
        fake: DiscriminatorOutput,
        labels: Tensor | None,
        random: Draws,
    ) -> dict[str, Tensor]:
        """The terms of D's objective, weights applied. For R1 and R2 `images` must require gradients.

        A point between a real and a fake has the real's label.
        """
        s, terms = self.settings, {}

        def logits(images: Tensor) -> Tensor:
            return discriminator.conditioned(discriminator(images), labels).logits

        if s.gradient_penalty:
            mix = random.uniform(len(real.images))[:, :, None, None]
            slope = gradient_penalty(logits, real.images.detach(), fake.images.detach(), mix)
            terms["discriminator/gradient_penalty"] = s.gradient_penalty * slope
        share = 1.0 if s.final_penalty == 1 else self.share
        if s.r1:
            terms["discriminator/r1"] = s.r1 * share * zero_centred_penalty(real.logits, real.images)
        if s.r2:
            terms["discriminator/r2"] = s.r2 * share * zero_centred_penalty(fake.logits, fake.images)
        return {name: s.penalty_interval * term for name, term in terms.items()}


def check_norm(config: Config) -> None:
    """Refuse a new run with a gradient penalty, a term of single images, and batch norm, which mixes them.

    Gulrajani et al., 2017, section 4, "No critic batch normalization".

    Raises:
        InputError: If both are set.
    """
    if config.loss.gradient_penalty and config.trunk.discriminator_norm == "batch":
        raise InputError(
            f"loss.gradient_penalty = {config.loss.gradient_penalty:g} is incompatible with trunk.discriminator_norm = "
            '"batch": the penalty is defined for single images, and batch norm mixes them; set '
            'trunk.discriminator_norm to "layer" or "none", or loss.gradient_penalty to 0'
        )
