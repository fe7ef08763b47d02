"""ACGAN: the generator is conditioned on a class, which a head on the trunk learns to classify from labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from gan_zoo_kernels import cross_entropy
from torch import Tensor, nn

from gan_zoo.config import Config
from gan_zoo.errors import InputError
from gan_zoo.models.acgan.settings import ACGANRecipe, ACGANSettings
from gan_zoo.models.gan.codes import Code, label_code
from gan_zoo.models.gan.model import GAN, Objective, StepTensors, evaluating
from gan_zoo.trunks.layers import spectral


class ACGAN(ACGANRecipe, GAN):
    """L_S as the GAN's, and L_C = E[log P(C = c | x_real)] + E[log P(C = c | x_fake)] (eqs. 2, 3).

    D maximises L_S + L_C, G maximises L_C - L_S (Odena et al., 2017, arXiv:1610.09585).
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        settings: ACGANSettings = self.model_settings(config)
        self.class_weight = settings.class_weight
        classes = self.codes[0].classes
        self.class_head = spectral(nn.Linear(self.discriminator.trunk.width, classes), config.trunk.spectral_norm)

    @classmethod
    def codes_of(cls, config: Config) -> Sequence[Code]:
        """One categorical code, `label`, with the data's classes as values."""
        return (label_code(f"model {config.model}", config.data),)

    def class_nll(self, features: Tensor, labels: Tensor) -> Tensor:
        """-E[log P(C = c | x)] in nats."""
        return cross_entropy(self.class_head(features), labels)

    def discriminator_objective(self, step: StepTensors) -> Objective:
        """-(L_S + L_C)."""
        if step.labels is None:
            raise InputError(f"model acgan requires labels, and data {self.config.data.name!r} has none")
        objective = super().discriminator_objective(step)
        real = self.class_nll(step.real.features, step.labels)
        fake = self.class_nll(step.fake.features, step.latents.codes[:, 0].long())
        objective.terms["discriminator/class"] = self.class_weight * (real + fake)
        objective.metrics |= {"class_nll/real": real.detach(), "class_nll/fake": fake.detach()}
        return objective

    def generator_objective(self, step: StepTensors) -> Objective:
        """L_S - L_C."""
        objective = super().generator_objective(step)
        nll = self.class_nll(step.fake.features, step.latents.codes[:, 0].long())
        objective.terms["generator/class"] = self.class_weight * nll
        return objective

    @torch.no_grad()
    def encode(self, images: Tensor) -> dict[str, Tensor]:
        """P(label | x) [n, classes] of images [n, C, H, W] in [-1, 1]."""
        with evaluating(self):
            logits = self.in_passes(
                lambda batch: self.class_head(self.discriminator.trunk(batch)), self.prepare_images(images)
            )
        return {"label": logits.float().softmax(1)}
