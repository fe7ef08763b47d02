"""SNGAN's defaults. No torch here."""

from __future__ import annotations

from gan_zoo.config import Recipe


class SNGANRecipe(Recipe):
    """What SNGAN adds to the configuration."""

    defaults = {
        "trunk": {"name": "resnet", "discriminator_norm": "none", "spectral_norm": True},
        "loss": {"adversarial": "hinge"},
        "optimizer": {"generator_lr": 2e-4, "beta1": 0.0, "beta2": 0.9},
        "training": {"discriminator_steps": 5},
    }
