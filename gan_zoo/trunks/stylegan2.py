"""StyleGAN2's networks: Karras et al., 2020 (arXiv:1912.04958), sections 2 and 4.1; sizes of Karras et al., 2020
(arXiv:2006.06676).

Maps at resolution r have min(256·width / r, 8·width) channels, and w has as many columns as the maps at 4×4 have
channels: at the width of 64 these are the published networks for 256 pixels (base 16,384). Those of base 32,768 take
twice as many channels below the maximum, through `trunk.widths`.

The latent z enters the mapping network as it was drawn, not divided by its root mean square. At the published 512
columns of N(0, 1) that quotient differs from 1 by 3% (standard deviation). A latent code beside the noise would be
divided by it, too, which would hide the code's value from Q behind the length of z, and a truncated z would be undone.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from einops.layers.torch import Rearrange
from torch import Tensor, nn

from gan_zoo.config import TrunkSettings
from gan_zoo.shapes import ImageShape
from gan_zoo.trunks.equalised import EqualConv2d, EqualLinear, ScaledLeakyReLU
from gan_zoo.trunks.layers import Clip
from gan_zoo.trunks.resampling import blurring, enlarging, shrinking
from gan_zoo.trunks.resnet import ResidualBlock
from gan_zoo.trunks.stages import Staged, StagedSequence
from gan_zoo.trunks.style import MinibatchStd, NoiseInputs, StyledLayer, ToImage
from gan_zoo.trunks.trunk import DiscriminatorTrunk, Trunk, by_stage, stage_sides

NAME = "stylegan2"
MAPPING_RATE = 0.01
"""Multiplier of the mapping network's learning rate (Karras et al., 2019, arXiv:1812.04948, appendix C)."""


class Synthesis(Staged):
    """Draws an image in stages of twice the side: each adds its own to the enlarged one before (section 4.1).

    Args:
        w: Width of w.
        channels: Channels of each stage's maps, from 4×4 up.
        image: The image's shape.

    Attributes:
        count: Layers that read w, counting that of the last image.
    """

    def __init__(self, w: int, channels: list[int], image: ImageShape) -> None:
        super().__init__()
        self.count = 2 * len(channels)
        self.constant = nn.Parameter(torch.randn(channels[0], 4, 4))
        layers = [StyledLayer(w, channels[0], channels[0], enlarge=False)]
        for wide, narrow in pairwise(channels):
            layers += [StyledLayer(w, wide, narrow, enlarge=True), StyledLayer(w, narrow, narrow, enlarge=False)]
        self.layers = nn.ModuleList(layers)
        self.to_image = nn.ModuleList(ToImage(w, c, image.channels) for c in channels)
        self.noise = NoiseInputs([4 * 2 ** ((k + 1) // 2) for k in range(len(layers))])
        self.enlarge = enlarging(image.channels)

    def forward(self, w: Tensor) -> Tensor:
        """w [n, width], or a w of each layer [n, count, width], to images [n, C, R, R]."""
        of_layer = w.unbind(1) if w.ndim == 3 else (w,) * self.count
        images = w.shape[0]  # len would fix the number of images in an exported graph
        noise = self.noise(images)
        x = self.constant.expand(images, -1, -1, -1)
        image: Tensor | None = None
        for k, layer in enumerate(self.layers):
            side = self.noise.sides[k]
            x = self.stage(side, [layer], x, of_layer[k], noise[k])
            if k % 2 == 0:  # the last layer of a stage; its image shares the next layer's w
                drawn = self.stage(side, [self.to_image[k // 2]], x, of_layer[k + 1])
                with torch.autocast(x.device.type, enabled=False):  # images are not rounded to half precision
                    image = drawn if image is None else self.enlarge(image) + drawn
        assert image is not None
        return image


class StyleGenerator(nn.Module):
    """G(z) = synthesis(mapping(z)).

    Attributes:
        mapping: Latents [n, latent width] to w [n, width of w].
        synthesis: w to images, see `Synthesis`.
    """

    def __init__(self, mapping: nn.Module, synthesis: Synthesis) -> None:
        super().__init__()
        self.mapping, self.synthesis, self.clip = mapping, synthesis, Clip()

    def forward(self, latents: Tensor, other: Tensor | None = None, first_layer: Tensor | None = None) -> Tensor:
        """Latents [n, latent width] to images [n, C, R, R].

        Args:
            latents: Of the images.
            other: Latents of as many images, to mix styles.
            first_layer: The first layer of each image that reads the w of `other`, [n].
        """
        if other is None or first_layer is None:
            w = self.mapping(latents)
        else:
            of_latents, of_other = self.mapping(torch.cat([latents, other.to(latents.dtype)])).chunk(2)
            layers = torch.arange(self.synthesis.count, device=latents.device)
            before = (layers < first_layer[:, None])[:, :, None]
            w = torch.where(before, of_latents[:, None], of_other[:, None])
        images: Tensor = self.clip(self.synthesis(w))
        return images


def _channels(image: ImageShape, settings: TrunkSettings) -> list[int]:
    """The channels of each stage's maps, from 4×4 up."""
    width, sides = settings.width, stage_sides(NAME, image)
    return by_stage("widths", settings.widths, [max(1, min(256 * width // side, 8 * width)) for side in sides])


def stylegan2_generator(latent_width: int, image: ImageShape, settings: TrunkSettings) -> nn.Module:
    """Latents [n, latent_width] to images [n, C, R, R], in evaluation mode in [-1, 1].

    Raises:
        InputError: If the resolution is not a power of 2 from 4.
    """
    channels = _channels(image, settings)
    w = channels[0]
    mapping: list[nn.Module] = []
    for k in range(settings.mapping_layers):
        mapping += [EqualLinear(w if k else latent_width, w, multiplier=MAPPING_RATE), ScaledLeakyReLU()]
    return StyleGenerator(StagedSequence((1, mapping)), Synthesis(w, channels, image))


class StyleGAN2Trunk(DiscriminatorTrunk):
    """The trunk, whose adversarial head has an equalised learning rate."""

    def head(self) -> nn.Module:
        """[n, width] to logits [n, 1]."""
        return EqualLinear(self.width, 1)


def stylegan2_discriminator(image: ImageShape, settings: TrunkSettings) -> DiscriminatorTrunk:
    """Images [n, C, R, R] to as many features as the maps at 4×4 have channels.

    Raises:
        InputError: If the resolution is not a power of 2 from 4.
    """
    channels = _channels(image, settings)[::-1]
    last = channels[-1]
    first = [EqualConv2d(image.channels, channels[0], 1), ScaledLeakyReLU()]
    halvings = [
        (image.resolution // 2**k, [_halving(wide, narrow)]) for k, (wide, narrow) in enumerate(pairwise(channels))
    ]
    mixing = [MinibatchStd(), EqualConv2d(last + 1, last, 3, padding=1), ScaledLeakyReLU()]
    to_features = [Rearrange("n c h w -> n (c h w)"), EqualLinear(16 * last, last), ScaledLeakyReLU()]
    to_map = StagedSequence((image.resolution, first), *halvings, (4, mixing))
    return StyleGAN2Trunk(to_map, StagedSequence((4, to_features)), last)


def _halving(inputs: int, outputs: int) -> nn.Module:
    """[n, inputs, h, w] to [n, outputs, h/2, w/2]; the sum of two branches is divided by √2."""
    residual = nn.Sequential(
        EqualConv2d(inputs, inputs, 3, padding=1),
        ScaledLeakyReLU(),
        blurring(inputs, 2),
        EqualConv2d(inputs, outputs, 3, stride=2),
        nn.LeakyReLU(0.2),  # scaled by √2 / √2
    )
    shortcut = nn.Sequential(shrinking(inputs), EqualConv2d(inputs, outputs, 1, bias=False, gain=math.sqrt(0.5)))
    return ResidualBlock(residual, shortcut)


STYLEGAN2 = Trunk(
    stylegan2_generator,
    stylegan2_discriminator,
    settings=frozenset({"width", "widths", "mapping_layers"}),
    class_width=512,
)
