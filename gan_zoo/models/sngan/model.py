"""SNGAN: every layer of the discriminator has spectral norm 1."""

from gan_zoo.models.gan.model import GAN


class SNGAN(GAN):
    """Residual trunks, spectral norm, hinge losses (Miyato et al., 2018, arXiv:1802.05957)."""

    defaults = {
        "trunk": {"name": "resnet", "discriminator_norm": "none", "spectral_norm": True},
        "loss": {"adversarial": "hinge"},
        "optimizer": {"generator_lr": 2e-4, "beta1": 0.0, "beta2": 0.9},
        "training": {"discriminator_steps": 5},
    }
