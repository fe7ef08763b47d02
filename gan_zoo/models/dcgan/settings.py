"""DCGAN's defaults. No torch here."""

from __future__ import annotations

from gan_zoo.config import Recipe


class DCGANRecipe(Recipe):
    """What DCGAN adds to the configuration."""

    defaults = {"trunk": {"name": "dcgan"}, "optimizer": {"generator_lr": 2e-4}}
