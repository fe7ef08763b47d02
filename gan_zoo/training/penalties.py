"""When the gradient penalties are due, and with what weight."""

from __future__ import annotations

from torch import Tensor

from gan_zoo.config import Config, Loss
from gan_zoo.draws import Draws
from gan_zoo.errors import InputError
from gan_zoo.losses.penalties import gradient_penalty, zero_centred_penalty
from gan_zoo.models.gan.model import Discriminator, DiscriminatorOutput


class Penalties:
    """The penalties of a configuration; computed at every n-th step, weighted n times (lazy regularisation)."""

    def __init__(self, settings: Loss) -> None:
        self.settings = settings
        self.any = max(settings.gradient_penalty, settings.r1, settings.r2) > 0

    @property
    def of_passes(self) -> bool:
        """Whether they take the slopes of the two passes that are made anyway (R1, R2)."""
        return max(self.settings.r1, self.settings.r2) > 0

    def due(self, step: int) -> bool:
        """Whether step `step` is one that pays them."""
        return self.any and step % self.settings.penalty_interval == 0

    def __call__(
        self, discriminator: Discriminator, *, real: DiscriminatorOutput, fake: DiscriminatorOutput, random: Draws
    ) -> dict[str, Tensor]:
        """The terms that the discriminator's loss is to be added in a step that pays them, weights applied.

        R1 and R2 take the slope of the logits in the images that were judged, which require gradients for it.
        """
        s, terms = self.settings, {}
        if s.gradient_penalty:
            mix = random.uniform(len(real.images))[:, :, None, None]
            slope = gradient_penalty(lambda x: discriminator(x).logits, real.images.detach(), fake.images.detach(), mix)
            terms["discriminator/gradient_penalty"] = s.gradient_penalty * slope
        if s.r1:
            terms["discriminator/r1"] = s.r1 * zero_centred_penalty(real.logits, real.images)
        if s.r2:
            terms["discriminator/r2"] = s.r2 * zero_centred_penalty(fake.logits, fake.images)
        return {name: s.penalty_interval * term for name, term in terms.items()}


def check_norm(config: Config) -> None:
    """Refuse to begin a training whose gradient penalty, a term of single images, meets a norm that mixes them.

    Gulrajani et al., 2017, section 4, "No critic batch normalization". Runs that began before this was refused go on.

    Raises:
        InputError: If both are asked for.
    """
    if config.loss.gradient_penalty and config.trunk.discriminator_norm == "batch":
        raise InputError(
            f"loss.gradient_penalty = {config.loss.gradient_penalty:g} does not go with trunk.discriminator_norm = "
            '"batch": the penalty is of single images, and batch norm mixes them; set trunk.discriminator_norm to '
            '"layer" or "none", or loss.gradient_penalty to 0'
        )
