"""Multilayer perceptrons with two hidden layers: Goodfellow et al., 2014, in its usual later form.

They support any resolution. Weights have torch's default initialisation. The discriminator's first layer has no norm.
"""

from __future__ import annotations

from einops.layers.torch import Rearrange
from torch import nn

from gan_zoo.config import TrunkSettings
from gan_zoo.shapes import ImageShape
from gan_zoo.trunks.layers import dense, spectral
from gan_zoo.trunks.trunk import DiscriminatorTrunk, Trunk


def mlp_generator(latent_width: int, image: ImageShape, settings: TrunkSettings) -> nn.Module:
    """Latents [n, latent_width] to images [n, C, R, R] in [-1, 1]; hidden layers of 8·width units."""
    hidden, kind = 8 * settings.width, settings.generator_norm
    return nn.Sequential(
        *dense(latent_width, hidden, kind, 0.0),
        *dense(hidden, hidden, kind, 0.0),
        nn.Linear(hidden, image.pixels),
        nn.Tanh(),
        Rearrange("n (c h w) -> n c h w", c=image.channels, h=image.resolution),
    )


def mlp_discriminator(image: ImageShape, settings: TrunkSettings) -> DiscriminatorTrunk:
    """Images [n, C, R, R] to 8·width features; the feature map is the features as [n, 8·width, 1, 1]."""
    hidden = 8 * settings.width
    to_map = nn.Sequential(
        Rearrange("n c h w -> n (c h w)"),
        nn.Linear(image.pixels, hidden),
        nn.LeakyReLU(0.2),
        *dense(hidden, hidden, settings.discriminator_norm, 0.2),
        Rearrange("n c -> n c 1 1"),
    )
    trunk = DiscriminatorTrunk(to_map, Rearrange("n c 1 1 -> n c"), hidden)
    return spectral(trunk, settings.spectral_norm)


MLP = Trunk(mlp_generator, mlp_discriminator, joins=True)
