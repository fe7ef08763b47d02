"""LSGAN: least squares instead of cross-entropy."""

from gan_zoo.models.gan.model import GAN
from gan_zoo.models.lsgan.settings import LSGANRecipe


class LSGAN(LSGANRecipe, GAN):
    """Least-squares losses on convolutional trunks (Mao et al., 2017, arXiv:1611.04076, eq. 9)."""
