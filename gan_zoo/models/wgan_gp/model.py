"""WGAN-GP: the Wasserstein distance, with the critic's slope held near 1."""

from gan_zoo.models.gan.model import GAN


class WGANGP(GAN):
    """Wasserstein losses, gradient penalty, five critic steps (Gulrajani et al., 2017, arXiv:1704.00028,
    algorithm 1).

    The critic is normalised by layer, not by batch: the penalty is one of single images.
    """

    defaults = {
        "trunk": {"name": "dcgan", "discriminator_norm": "layer"},
        "loss": {"adversarial": "wasserstein", "gradient_penalty": 10.0},
        "optimizer": {"generator_lr": 1e-4, "discriminator_lr": 1e-4, "beta1": 0.0, "beta2": 0.9},
        "training": {"discriminator_steps": 5},
    }
