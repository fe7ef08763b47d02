"""The network that the InfoGAN paper trains on MNIST: Chen et al., 2016, appendix C.1, table 1.

Sizes in the comments are those of the paper's width, 64. A layer that a norm follows has no bias.
"""

from __future__ import annotations

from einops.layers.torch import Rearrange
from torch import nn

from gan_zoo.config import TrunkSettings
from gan_zoo.shapes import ImageShape
from gan_zoo.trunks.convolutions import ConvFromImage, ConvToImage
from gan_zoo.trunks.layers import activated, init_dcgan, spectral
from gan_zoo.trunks.trunk import DiscriminatorTrunk, Trunk, require_resolution

LEAK = 0.1
"""Slope of the leaky ReLUs for negative numbers, as appendix C states it."""


def infogan_mnist_generator(latent_width: int, image: ImageShape, settings: TrunkSettings) -> nn.Module:
    """Latents [n, latent_width] to images [n, C, 28, 28] in [-1, 1].

    Raises:
        InputError: If the resolution is not 28.
    """
    require_resolution("infogan-mnist", image, (28,))
    width, kind = settings.width, settings.generator_norm
    bias = kind == "none"
    generator = nn.Sequential(
        nn.Linear(latent_width, 16 * width, bias=bias),  # 1024
        *activated(kind, 16 * width, 1, 0.0),
        nn.Linear(16 * width, 2 * width * 7 * 7, bias=bias),  # 128·7·7
        *activated(kind, 2 * width * 7 * 7, 1, 0.0),
        Rearrange("n (c h w) -> n c h w", h=7, w=7),
        nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1, bias=bias),  # 64, 14×14
        *activated(kind, width, 2, 0.0),
        ConvToImage(width, image.channels),  # 28×28
        nn.Tanh(),
    )
    init_dcgan(generator)
    return generator


def infogan_mnist_discriminator(image: ImageShape, settings: TrunkSettings) -> DiscriminatorTrunk:
    """Images [n, C, 28, 28] to 16·width features; the feature map is [n, 2·width, 7, 7].

    Raises:
        InputError: If the resolution is not 28.
    """
    require_resolution("infogan-mnist", image, (28,))
    width, kind = settings.width, settings.discriminator_norm
    bias = kind == "none"
    to_map = nn.Sequential(
        ConvFromImage(image.channels, width),  # 64, 14×14
        nn.LeakyReLU(LEAK),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=bias),  # 128, 7×7
        *activated(kind, 2 * width, 2, LEAK),
    )
    to_features = nn.Sequential(
        Rearrange("n c h w -> n (c h w)"),
        nn.Linear(2 * width * 7 * 7, 16 * width, bias=bias),  # 1024
        *activated(kind, 16 * width, 1, LEAK),
    )
    trunk = DiscriminatorTrunk(to_map, to_features, 16 * width)
    init_dcgan(trunk)
    return spectral(trunk, settings.spectral_norm)


INFOGAN_MNIST = Trunk(infogan_mnist_generator, infogan_mnist_discriminator, joins=True)
