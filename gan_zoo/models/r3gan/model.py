"""R3GAN: relativistic pairing made to converge by R1 and R2."""

from gan_zoo.models.gan.model import GAN


class R3GAN(GAN):
    """Relativistic pairing, R1 and R2, no normalisation (Huang et al., 2024, arXiv:2501.05441, section 3)."""

    defaults = {
        "trunk": {"name": "resnet", "generator_norm": "none", "discriminator_norm": "none"},
        "loss": {"adversarial": "relativistic", "r1": 1.0, "r2": 1.0},
        "optimizer": {"generator_lr": 2e-4, "beta1": 0.0, "beta2": 0.99},
    }
