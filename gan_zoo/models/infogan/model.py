"""InfoGAN: min_{G,Q} max_D V(D, G) - λ L_I(G, Q) (Chen et al., 2016, arXiv:1606.03657, eq. 6)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from gan_zoo_kernels import q_head_nll
from torch import Tensor

from gan_zoo.config import Config
from gan_zoo.data.augment import parse_augment
from gan_zoo.errors import InputError
from gan_zoo.models.gan.codes import Code, parse_codes
from gan_zoo.models.gan.model import GAN, Judgement, Objective, evaluating
from gan_zoo.models.gan.prior import Latents
from gan_zoo.models.infogan.consistency import consistency
from gan_zoo.models.infogan.q_head import Posterior, QHead, posteriors, q_layout
from gan_zoo.models.infogan.settings import InfoGANSettings
from gan_zoo.resolve import table_name


class InfoGAN(GAN):
    """The GAN with codes in its prior, a head Q on its trunk, and the information term in both objectives.

    The term is computed from the features that the adversarial losses are computed from: no pass is added.
    """

    defaults = {}
    settings = InfoGANSettings

    entropy: Tensor  # H(c) of each code, nats
    weights: Tensor  # λ of each code

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        own: InfoGANSettings = self.own(config)
        self.trains = own.trains
        self.consistency, self.spread = own.consistency, own.spread
        self.warp = parse_augment(config.data.warp, "data.warp")
        if self.consistency and not self.warp:
            raise InputError(
                f"{table_name(config.model)}.consistency = {self.consistency:g} compares images with warped copies; "
                "data.warp is empty: say what leaves their meaning alone, as in rotate:0.2, or set the weight to 0"
            )
        self.layout = q_layout(self.codes, own.variance, (own.log_variance_min, own.log_variance_max))
        self.q = QHead(self.discriminator.trunk.width, self.layout, hidden=own.head_width, norm_kind=own.head_norm)
        weights = [own.lambda_discrete if code.discrete else own.lambda_continuous for code in self.codes]
        self.register_buffer("entropy", torch.tensor([c.entropy for c in self.codes]), persistent=False)
        self.register_buffer("weights", torch.tensor(weights), persistent=False)

    @classmethod
    def codes_of(cls, config: Config) -> Sequence[Code]:
        """The codes of the setting `codes`."""
        return parse_codes(cls.own(config).codes)

    def information(self, features: Tensor, latents: Latents) -> Tensor:
        """L_I by code, in nats: E[log Q(c | x)] + H(c) ≤ I(c; x) (eq. 5)."""
        return self.entropy - q_head_nll(self.q(features), latents.codes, self.layout)

    def discriminator_objective(
        self, real: Judgement, fake: Judgement, latents: Latents, labels: Tensor | None, random: torch.Generator
    ) -> Objective:
        """The GAN's, less λ L_I: trains Q, and the trunk too unless the features are cut off."""
        objective = super().discriminator_objective(real, fake, latents, labels, random)
        features = fake.features if self.trains == "generator+q+trunk" else fake.features.detach()
        bound = self.information(features, latents)
        objective.terms["discriminator/information"] = -(self.weights * bound).sum()
        if self.consistency and any(code.kind == "categorical" for code in self.codes):
            warped = self.discriminator.trunk(self.warp(real.images.detach(), random))
            agreement = consistency(self.q(real.features), self.q(warped), self.layout, spread=self.spread)
            objective.terms["discriminator/consistency"] = self.consistency * agreement
        objective.metrics |= {f"mi/{c.name}": b for c, b in zip(self.codes, bound.detach().unbind(), strict=True)}
        objective.metrics |= {"mi": bound.detach().sum(), "entropy": self.entropy.sum()}
        return objective

    def generator_objective(
        self, fake: Judgement, real: Judgement, latents: Latents, random: torch.Generator
    ) -> Objective:
        """The GAN's, less λ L_I."""
        objective = super().generator_objective(fake, real, latents, random)
        if self.trains != "q":
            bound = self.information(fake.features, latents)
            objective.terms["generator/information"] = -(self.weights * bound).sum()
        return objective

    @torch.no_grad()
    def encode(self, images: Tensor) -> dict[str, Posterior]:
        """Q(c | x) of images [n, C, H, W] in [-1, 1], by code.

        Returns:
            For a categorical code its probabilities [n, K], for a bernoulli code P(c = 1) [n], for a continuous one
            its mean and log-variance [n].
        """
        with evaluating(self):
            parameters = self.q(self.discriminator.trunk(self.own_images(images)))
        return posteriors(parameters, self.layout, self.codes)
