"""LSGAN's defaults. No torch here."""

from __future__ import annotations

from gan_zoo.config import Recipe


class LSGANRecipe(Recipe):
    """What LSGAN adds to the configuration."""

    defaults = {
        "trunk": {"name": "dcgan"},
        "loss": {"adversarial": "least-squares"},
        "optimizer": {"generator_lr": 2e-4},
    }
