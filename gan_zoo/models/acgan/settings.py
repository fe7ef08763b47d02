"""ACGAN's defaults and settings. No torch here."""

from __future__ import annotations

from gan_zoo.config import Recipe, Settings, Weight


class ACGANSettings(Settings):
    """The class head."""

    class_weight: Weight = 1.0
    """Weight of the class term in both objectives."""


class ACGANRecipe(Recipe):
    """What ACGAN adds to the configuration."""

    defaults = {"trunk": {"name": "dcgan"}, "optimizer": {"generator_lr": 2e-4}}
    settings = ACGANSettings
