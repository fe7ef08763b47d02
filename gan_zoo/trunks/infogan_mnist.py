"""The network that the InfoGAN paper trains on MNIST: Chen et al., 2016, appendix C.1, table 1.

Sizes in the comments are those of the paper's width, 64. A layer that a norm follows has no bias.
"""

from __future__ import annotations

from einops.layers.torch import Rearrange
from torch import nn

from gan_zoo.config import TrunkSettings
from gan_zoo.shapes import ImageShape
from gan_zoo.trunks.convolutions import ConvFromImage, ConvToImage
from gan_zoo.trunks.layers import dense, doubling, halving, init_dcgan, spectral
from gan_zoo.trunks.stages import StagedSequence
from gan_zoo.trunks.trunk import DiscriminatorTrunk, Trunk, require_resolution

LEAK = 0.1
"""Slope of the leaky ReLUs for negative numbers, from appendix C."""


def infogan_mnist_generator(latent_width: int, image: ImageShape, settings: TrunkSettings) -> nn.Module:
    """Latents [n, latent_width] to images [n, C, 28, 28] in [-1, 1].

    Raises:
        InputError: If the resolution is not 28.
    """
    require_resolution("infogan-mnist", image, (28,))
    width, kind = settings.width, settings.generator_norm
    generator = StagedSequence(
        (1, dense(latent_width, 16 * width, kind, 0.0)),  # 1024
        (
            7,
            [
                *dense(16 * width, 2 * width * 7 * 7, kind, 0.0),  # 128·7·7
                Rearrange("n (c h w) -> n c h w", h=7, w=7),
            ],
        ),
        (14, doubling(2 * width, width, kind, 0.0)),  # 64
        (28, [ConvToImage(width, image.channels), nn.Tanh()]),
    )
    return init_dcgan(generator)


def infogan_mnist_discriminator(image: ImageShape, settings: TrunkSettings) -> DiscriminatorTrunk:
    """Images [n, C, 28, 28] to 16·width features; the feature map is [n, 2·width, 7, 7].

    Raises:
        InputError: If the resolution is not 28.
    """
    require_resolution("infogan-mnist", image, (28,))
    width, kind = settings.width, settings.discriminator_norm
    to_map = StagedSequence(
        (28, [ConvFromImage(image.channels, width), nn.LeakyReLU(LEAK)]),  # 64, 14×14
        (14, halving(width, 2 * width, kind, LEAK)),  # 128, 7×7
    )
    to_features = StagedSequence(
        (7, [Rearrange("n c h w -> n (c h w)"), *dense(2 * width * 7 * 7, 16 * width, kind, LEAK)]),  # 1024
    )
    trunk = DiscriminatorTrunk(to_map, to_features, 16 * width)
    return spectral(init_dcgan(trunk), settings.spectral_norm)


INFOGAN_MNIST = Trunk(infogan_mnist_generator, infogan_mnist_discriminator, joins=True)
