"""The plain GAN's defaults. No torch here."""

from __future__ import annotations

from gan_zoo.config import Recipe


class GANRecipe(Recipe):
    """What the plain GAN adds to the configuration."""

    defaults = {"trunk": {"name": "mlp", "discriminator_norm": "none"}}
