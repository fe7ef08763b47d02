"""WGAN-GP's defaults. No torch here."""

from __future__ import annotations

from gan_zoo.config import Recipe


class WGANGPRecipe(Recipe):
    """What WGAN-GP adds to the configuration."""

    defaults = {
        "trunk": {"name": "dcgan", "discriminator_norm": "layer"},
        "loss": {"adversarial": "wasserstein", "gradient_penalty": 10.0},
        "optimizer": {"generator_lr": 1e-4, "discriminator_lr": 1e-4, "beta1": 0.0, "beta2": 0.9},
        "training": {"discriminator_steps": 5},
    }
