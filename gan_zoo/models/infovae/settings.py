"""InfoVAE's table of the configuration: InfoGAN's, and the decoder's distribution. No torch here."""

from __future__ import annotations

from gan_zoo.config import Rate, Weight
from gan_zoo.models.infogan.settings import InfoGANRecipe, InfoGANSettings


class InfoVAESettings(InfoGANSettings):
    """Codes, Q head, information term and evidence lower bound."""

    deviation: Rate = 0.3
    """Standard deviation of p(x | z, c), a normal distribution around the decoded image, whose pixels are -1 to 1: the
    smaller, the more an accurate reconstruction counts."""
    beta: Weight = 1.0
    """Weight of KL(q(z | x) ‖ p(z)); above 1 it gives a β-VAE (Higgins et al., 2017)."""


class InfoVAERecipe(InfoGANRecipe):
    """What InfoVAE adds to the configuration."""

    settings = InfoVAESettings
    extends = "infogan"
