"""LSGAN: least squares instead of cross-entropy."""

from gan_zoo.models.gan.model import GAN


class LSGAN(GAN):
    """Least-squares losses on convolutional trunks (Mao et al., 2017, arXiv:1611.04076, eq. 9)."""

    defaults = {
        "trunk": {"name": "dcgan"},
        "loss": {"adversarial": "least-squares"},
        "optimizer": {"generator_lr": 2e-4},
    }
