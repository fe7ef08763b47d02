"""R3GAN: relativistic pairing made to converge by R1 and R2, on trunk r3gan."""

from gan_zoo.models.gan.model import GAN
from gan_zoo.models.r3gan.settings import R3GANRecipe


class R3GAN(R3GANRecipe, GAN):
    """Relativistic pairing, R1 and R2, and the paper's networks (Huang et al., 2024, arXiv:2501.05441).

    γ depends on the images: in the paper it falls from 0.05 (CIFAR-10), 2 (FFHQ at 64 pixels) or 150 (at 256) to a
    tenth; the presets of these sets have the values. The default is this project's.
    """
