"""DCGAN's networks: Radford, Metz & Chintala, 2016, figure 1 and section 3.

Every layer is a 4×4 convolution of stride 2, and channels double where the side halves: at 64 pixels and the
customary width of 64 the generator's maps have 512, 256, 128 and 64 channels, and the trunk's the same in
reverse. The generator's last layer and the trunk's first have no norm.
"""

from __future__ import annotations

from itertools import pairwise

from einops.layers.torch import Rearrange
from torch import nn

from gan_zoo.config import TrunkSettings
from gan_zoo.shapes import ImageShape
from gan_zoo.trunks.convolutions import ConvFromImage, ConvToImage
from gan_zoo.trunks.layers import activated, doubling, halving, init_dcgan, spectral
from gan_zoo.trunks.stages import StagedSequence
from gan_zoo.trunks.trunk import DiscriminatorTrunk, Trunk, require_resolution

SMALLEST_SIDE = {28: 7, 32: 4, 64: 4, 128: 4, 256: 4}
"""Side of the smallest feature map, by resolution."""


def _plan(image: ImageShape, width: int) -> tuple[int, list[int]]:
    """The smallest map's side, and the maps' channels from the largest (half the image's side) to it."""
    require_resolution("dcgan", image, SMALLEST_SIDE)
    side = SMALLEST_SIDE[image.resolution]
    halvings = (image.resolution // side).bit_length() - 1
    return side, [width * 2**i for i in range(halvings)]


def dcgan_generator(latent_width: int, image: ImageShape, settings: TrunkSettings) -> nn.Module:
    """Latents [n, latent_width] to images [n, C, R, R] in [-1, 1]: project and reshape, then up-convolutions.

    Raises:
        InputError: If the resolution is not 28, 32, 64, 128 or 256.
    """
    side, channels = _plan(image, settings.width)
    channels = channels[::-1]
    kind = settings.generator_norm
    first = [
        nn.Linear(latent_width, channels[0] * side**2, bias=kind == "none"),
        Rearrange("n (c h w) -> n c h w", h=side, w=side),
        *activated(kind, channels[0], 2, 0.0),
    ]
    stages = [
        (side * 2**k, doubling(wide, narrow, kind, 0.0)) for k, (wide, narrow) in enumerate(pairwise(channels), start=1)
    ]
    last = [ConvToImage(channels[-1], image.channels), nn.Tanh()]
    return init_dcgan(StagedSequence((side, first), *stages, (image.resolution, last)))


def dcgan_discriminator(image: ImageShape, settings: TrunkSettings) -> DiscriminatorTrunk:
    """Images [n, C, R, R] to the flattened last feature map.

    Raises:
        InputError: If the resolution is not 28, 32, 64, 128 or 256.
    """
    side, channels = _plan(image, settings.width)
    first: list[nn.Module] = [ConvFromImage(image.channels, channels[0]), nn.LeakyReLU(0.2)]
    stages = [
        (image.resolution // 2**k, halving(narrow, wide, settings.discriminator_norm, 0.2))
        for k, (narrow, wide) in enumerate(pairwise(channels), start=1)
    ]
    to_map = StagedSequence((image.resolution, first), *stages)
    trunk = DiscriminatorTrunk(to_map, Rearrange("n c h w -> n (c h w)"), channels[-1] * side**2)
    return spectral(init_dcgan(trunk), settings.spectral_norm)


DCGAN = Trunk(dcgan_generator, dcgan_discriminator, joins=True)
