"""R3GAN: relativistic pairing made to converge by R1 and R2."""

from gan_zoo.models.gan.model import GAN
from gan_zoo.models.r3gan.settings import R3GANRecipe


class R3GAN(R3GANRecipe, GAN):
    """Relativistic pairing, R1 and R2, no normalisation (Huang et al., 2024, arXiv:2501.05441, section 3)."""
