"""The trunk linear: one linear layer each."""

from __future__ import annotations

from einops.layers.torch import Rearrange
from gan_zoo.config import TrunkSettings
from gan_zoo.shapes import ImageShape
from gan_zoo.trunks.layers import spectral
from gan_zoo.trunks.trunk import DiscriminatorTrunk, Trunk
from torch import nn


def linear_generator(latent_width: int, image: ImageShape, settings: TrunkSettings) -> nn.Module:
    """Latents [n, latent_width] to images [n, C, R, R] in [-1, 1]."""
    return nn.Sequential(
        nn.Linear(latent_width, image.pixels),
        nn.Tanh(),
        Rearrange("n (c h w) -> n c h w", c=image.channels, h=image.resolution),
    )


def linear_discriminator(image: ImageShape, settings: TrunkSettings) -> DiscriminatorTrunk:
    """Images to `width` features."""
    to_map = nn.Sequential(
        Rearrange("n c h w -> n (c h w)"), nn.Linear(image.pixels, settings.width), Rearrange("n c -> n c 1 1")
    )
    return spectral(DiscriminatorTrunk(to_map, Rearrange("n c 1 1 -> n c"), settings.width), settings.spectral_norm)


LINEAR = Trunk(linear_generator, linear_discriminator)
