"""DCGAN: the GAN on strided convolutions."""

from gan_zoo.models.dcgan.settings import DCGANRecipe
from gan_zoo.models.gan.model import GAN


class DCGAN(DCGANRecipe, GAN):
    """The GAN on convolutional trunks with batch norm (Radford et al., 2016, arXiv:1511.06434)."""
