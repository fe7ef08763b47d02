"""The projection GAN's defaults. No torch here."""

from __future__ import annotations

from gan_zoo.models.sngan.settings import SNGANRecipe


class ProjectionGANRecipe(SNGANRecipe):
    """SNGAN's defaults, as in the paper: Miyato & Koyama, 2018, section 5."""
