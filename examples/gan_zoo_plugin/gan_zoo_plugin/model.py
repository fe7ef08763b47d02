"""The model calm-gan."""

from __future__ import annotations

import torch
from gan_zoo.config import Config, Settings, Weight
from gan_zoo.models.gan.model import GAN, Objective, StepTensors


class CalmSettings(Settings):
    """The keys of the model's own table; each is a flag, e.g. --calm-gan.weight."""

    weight: Weight = 0.1
    """Weight of the mean squared logit."""


class CalmGAN(GAN):
    """What it is (authors, year, arXiv number)."""

    defaults = {"trunk": {"name": "dcgan"}}
    settings = CalmSettings

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.weight = self.model_settings(config).weight

    def discriminator_objective(self, step: StepTensors) -> Objective:
        """The GAN's objective and a term; replace it by your own.

        Draw random numbers only from `step.random`: `step.random.uniform(n)` is [n, 1], uniform in [0, 1). A model
        whose objective reads `step.latents.step` must override `phase`.
        """
        objective = super().discriminator_objective(step)
        logits = torch.cat([step.real.logits, step.fake.logits]).float()
        objective.terms["discriminator/calm"] = self.weight * logits.square().mean()
        return objective
