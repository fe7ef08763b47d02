"""SNGAN: every layer of the discriminator has spectral norm 1."""

from gan_zoo.models.gan.model import GAN
from gan_zoo.models.sngan.settings import SNGANRecipe


class SNGAN(SNGANRecipe, GAN):
    """Residual trunks, spectral norm, hinge losses (Miyato et al., 2018, arXiv:1802.05957)."""
