"""The projection GAN: both networks are conditioned on the data's labels."""

from __future__ import annotations

from collections.abc import Sequence

from gan_zoo.config import Config
from gan_zoo.models.gan.codes import Code, label_code
from gan_zoo.models.gan.model import GAN
from gan_zoo.models.projection_gan.settings import ProjectionGANRecipe


class ProjectionGAN(ProjectionGANRecipe, GAN):
    """Conditional batch norm in G; D(x, y) = ⟨v_y, φ(x)⟩ + ψ(φ(x)), with φ the trunk and ψ linear (eq. 3).

    The authors' setting (Miyato & Koyama, 2018, arXiv:1802.05637): residual trunks, spectral norm in D, on the
    embedding v of the classes too, and hinge losses.
    """

    @classmethod
    def codes_of(cls, config: Config) -> Sequence[Code]:
        """One categorical code, `label`, on which both networks are conditioned."""
        return (label_code(f"model {config.model}", config.data, conditions=True),)
