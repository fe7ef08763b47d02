"""WGAN-GP: the Wasserstein distance, with the critic's slope held near 1."""

from gan_zoo.models.gan.model import GAN
from gan_zoo.models.wgan_gp.settings import WGANGPRecipe


class WGANGP(WGANGPRecipe, GAN):
    """Wasserstein losses, gradient penalty, five critic steps (Gulrajani et al., 2017, arXiv:1704.00028,
    algorithm 1).

    The critic is normalised by layer, not by batch: the penalty is one of single images.
    """
