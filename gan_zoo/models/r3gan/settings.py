"""R3GAN's defaults. No torch here."""

from __future__ import annotations

from gan_zoo.config import Recipe


class R3GANRecipe(Recipe):
    """What R3GAN adds to the configuration."""

    defaults = {
        "latent": {"noise": 64},
        "trunk": {"name": "r3gan", "generator_norm": "none", "discriminator_norm": "none", "spectral_norm": False},
        "loss": {"adversarial": "relativistic", "r1": 1.0, "r2": 1.0},
        "optimizer": {"generator_lr": 2e-4, "beta1": 0.0, "beta2": 0.99},
    }
    preset = "mnist-5k-r3gan"
