"""InfoVAE: the information term on a variational autoencoder, with D's trunk as encoder and G as decoder."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from gan_zoo.config import Config, Loss
from gan_zoo.errors import InputError
from gan_zoo.models.gan.model import StepTensors
from gan_zoo.models.infogan.model import InfoGAN
from gan_zoo.models.infogan.q_head import Gaussian, posteriors
from gan_zoo.models.infovae.settings import InfoVAERecipe, InfoVAESettings
from gan_zoo.trunks.layers import spectral


class Encoded(NamedTuple):
    """q(z | x) of n images."""

    mean: Tensor  # [n, noise]
    log_variance: Tensor  # [n, noise]

    def divergence(self) -> Tensor:
        """KL(q(z | x) ‖ N(0, 1)) in nats, the mean over the images (Kingma & Welling, 2014, appendix B)."""
        per_column = self.mean.square() + self.log_variance.exp() - 1 - self.log_variance
        return per_column.sum(1).mean() / 2


class InfoVAE(InfoVAERecipe, InfoGAN):
    """ELBO + λ L_I, maximised: E[log p(x | z, c)] - β KL(q(z | x) ‖ p(z)) + λ L_I(c; G(z, c)).

    A variational autoencoder (Kingma & Welling, 2014, arXiv:1312.6114) on InfoGAN's networks and in its loop. The
    encoder is D's trunk with a linear layer for q(z | x); G decodes. The bound is that of log p(x | c), for the most
    likely code c of the image by Q, through which no gradient flows: probabilities would be a channel of continuous
    values. Q learns from the information term, InfoGAN's, on images decoded from the prior, and from consistency. The
    ELBO is divided by the number of pixel values: for a whole image its gradients would outweigh those of L_I.

    There is no game: D's step moves encoder and Q, G's step the decoder, both up the same bound.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        settings: InfoVAESettings = self.model_settings(config)
        if not (noise := config.latent.noise):
            raise InputError("latent.noise = 0: model infovae encodes images as noise; set it to 1 or more")
        for key in ("gradient_penalty", "r1", "r2"):
            if weight := getattr(config.loss, key):
                raise InputError(
                    f"loss.{key} = {weight:g} penalises an adversarial loss, and model {config.model} has none; set it "
                    "to 0"
                )
        self.discriminator.head.requires_grad_(False)  # of an adversarial loss
        self.deviation, self.beta = settings.deviation, settings.beta
        self.posterior = spectral(nn.Linear(self.discriminator.trunk.width, 2 * noise), config.trunk.spectral_norm)

    def notes(self) -> list[str]:
        """InfoGAN's, and that an adversarial loss that was chosen is not used."""
        chosen = self.config.loss.adversarial
        unused = [f"loss.adversarial = {chosen!r} is not used: model {self.config.model} has no adversarial loss"]
        return super().notes() + (unused if chosen != Loss().adversarial else [])

    def encoded(self, features: Tensor) -> Encoded:
        """q(z | x) from the trunk's features [n, width]: of the normal variables behind uniform noise, too."""
        return Encoded(*self.posterior(features).float().chunk(2, 1))

    def game_terms(self, player: str, step: StepTensors) -> dict[str, Tensor]:
        """-ELBO, without a constant, in nats for each pixel value; the divergence does not depend on G.

        Reals carry gradients to the encoder in D's step, and are detached in G's.
        """
        real = step.real
        encoded = self.encoded(real.features)
        z = encoded.mean + (encoded.log_variance / 2).exp() * step.random.normal(*encoded.mean.shape)
        decoded = self.generator(self.prior.compose(self.prior.from_normal(z), self.codes_read(real.features)).input)
        error = (decoded.float() - real.images).square().mean()
        terms = {f"{player}/reconstruction": error / (2 * self.deviation**2)}
        if player == "discriminator":
            terms["discriminator/divergence"] = self.beta * encoded.divergence() / self.image.pixels
        return terms

    @torch.no_grad()
    def codes_read(self, features: Tensor) -> Tensor:
        """The most likely codes by Q, [n, number of codes]; of a continuous code the mean."""
        read = posteriors(self.q(features), self.q, self.codes).values()
        torch.clear_autocast_cache()  # until 2.10, torch gave later passes the casts of this one, without a gradient
        values = [
            one.mean if isinstance(one, Gaussian) else one.argmax(1) if one.ndim == 2 else one > 0.5 for one in read
        ]
        return torch.stack([value.float() for value in values], 1)
