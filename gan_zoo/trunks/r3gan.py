"""R3GAN's networks: Huang et al., 2024 (arXiv:2501.05441), section 4 and its configuration E.

Both have a stage for each side from 4 to the image's. A stage consists of residual blocks: a 1×1 convolution to twice
the width, a grouped 3×3 convolution, and a 1×1 convolution back. There is no normalisation; instead weights start so
that the branches of all blocks together weigh as much as one (Zhang et al., 2019, arXiv:1901.09321, Fixup).

The paper's convolutions have no bias, and its activations add one to each channel. Here the first two convolutions of a
block have that bias.

At the width of 64 the channels, groups and numbers of parameters are the paper's, at 32, 64 and 256 pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar

import torch
from einops.layers.torch import Rearrange
from torch import Tensor, nn

from gan_zoo.config import TrunkSettings
from gan_zoo.errors import InputError
from gan_zoo.shapes import ImageShape
from gan_zoo.trunks.layers import Clip
from gan_zoo.trunks.resampling import enlarging, shrinking
from gan_zoo.trunks.resnet import ResidualBlock
from gan_zoo.trunks.stages import StagedSequence
from gan_zoo.trunks.trunk import DiscriminatorTrunk, Trunk, by_stage, stage_sides

EXPANSION = 2
"""Channels within a block's branch, as a multiple of the stage's."""
GROUP = 16
"""Channels of a group of the 3×3 convolutions, unless trunk.cardinality states the number of groups."""
SLOPE = 0.2
"""Slope of the leaky ReLUs for negative numbers."""
GAIN = math.sqrt(2 / (1 + SLOPE**2))
"""Keeps the mean square of a normal map through a convolution and a leaky ReLU."""

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


class Stage(NamedTuple):
    """The maps and blocks of one side."""

    side: int
    width: int
    groups: int
    blocks: int


def plan(image: ImageShape, settings: TrunkSettings) -> list[Stage]:
    """The stages, from 4×4 up: at side r, min(12, 384 / r) times the width channels.

    Raises:
        InputError: If the image's side is not a power of 2 from 4, or settings do not fit the stages.
    """
    sides = stage_sides("r3gan", image)
    follow = [max(1, min(12 * settings.width, 384 * settings.width // side)) for side in sides]
    widths = by_stage("widths", settings.widths, follow)
    groups = by_stage("cardinality", settings.cardinality, [_groups(width) for width in widths])
    for width, count in zip(widths, groups, strict=True):
        if EXPANSION * width % count:
            raise InputError(
                f"trunk.cardinality = {count}: a stage of {width} channels convolves {EXPANSION * width}, which is not "
                f"a multiple of it; set it to {_groups(width)}, or leave trunk.cardinality empty"
            )
    return [
        Stage(*stage)
        for stage in zip(sides, widths, groups, by_stage("blocks", settings.blocks, [2] * len(sides)), strict=True)
    ]


def _groups(width: int) -> int:
    return EXPANSION * width // math.gcd(EXPANSION * width, GROUP)


def scaled(layer: Layer, gain: float) -> Layer:
    """Draw the weights from N(0, gain² / fan-in) and set the bias to 0."""
    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def pointwise(inputs: int, outputs: int) -> nn.Conv2d:
    """A 1×1 convolution without bias."""
    return scaled(nn.Conv2d(inputs, outputs, 1, bias=False), 1.0)


def block(stage: Stage, count: int) -> ResidualBlock:
    """A residual block, [n, width, h, w] to the same; `count` is the number of blocks of the whole network.

    Its last convolution starts at 0, and the two before it scale by count^(-1/4), so that the branches' inner maps
    have a mean square of 1 / count of their input's.
    """
    width, inner, gain = stage.width, EXPANSION * stage.width, GAIN * count**-0.25
    branch = nn.Sequential(
        scaled(nn.Conv2d(width, inner, 1), gain),
        nn.LeakyReLU(SLOPE),
        scaled(nn.Conv2d(inner, inner, 3, padding=1, groups=stage.groups), gain),
        nn.LeakyReLU(SLOPE),
        scaled(nn.Conv2d(inner, width, 1, bias=False), 0.0),
    )
    return ResidualBlock(branch, nn.Identity())


def _blocks(stage: Stage, count: int, before: Sequence[nn.Module] = ()) -> list[tuple[int, list[nn.Module]]]:
    """The blocks of a stage with the side of their maps, the first of them after `before`."""
    layers: list[list[nn.Module]] = [[block(stage, count)] for _ in range(stage.blocks)]
    layers[0] = [*before, *layers[0]]
    return [(stage.side, of_block) for of_block in layers]


def _matched(inputs: int, outputs: int) -> list[nn.Module]:
    """A 1×1 convolution, where two stages differ in width."""
    return [pointwise(inputs, outputs)] if inputs != outputs else []


class Basis(nn.Module):
    """Latents [n, latent_width] to maps [n, width, 4, 4]: a learned pattern for each channel, times a linear map."""

    def __init__(self, latent_width: int, width: int) -> None:
        super().__init__()
        self.pattern = nn.Parameter(torch.randn(width, 4, 4))
        self.linear = scaled(nn.Linear(latent_width, width, bias=False), 1.0)

    def forward(self, latents: Tensor) -> Tensor:
        """[n, latent_width] to [n, width, 4, 4]."""
        maps: Tensor = self.linear(latents)[:, :, None, None] * self.pattern
        return maps


def r3gan_generator(latent_width: int, image: ImageShape, settings: TrunkSettings) -> nn.Module:
    """Latents [n, latent_width] to images [n, C, R, R]: the last layer is linear, and clipped in evaluation mode.

    Raises:
        InputError: If the resolution is not a power of 2 from 4, or settings do not fit the stages.
    """
    stages = plan(image, settings)
    count = sum(stage.blocks for stage in stages)
    layers = _blocks(stages[0], count, [Basis(latent_width, stages[0].width)])
    for below, stage in pairwise(stages):
        layers += _blocks(stage, count, [*_matched(below.width, stage.width), enlarging(stage.width)])
    return StagedSequence(*layers, (image.resolution, [pointwise(stages[-1].width, image.channels), Clip()]))


class R3GANTrunk(DiscriminatorTrunk):
    """The trunk, whose adversarial head is the paper's: without a bias, and scaled like its other layers."""

    def head(self) -> nn.Module:
        """[n, width] to logits [n, 1]."""
        return scaled(nn.Linear(self.width, 1, bias=False), 1.0)


def r3gan_discriminator(image: ImageShape, settings: TrunkSettings) -> DiscriminatorTrunk:
    """Images [n, C, R, R] to features: a learned mean over the last 4×4 map, for each channel.

    Raises:
        InputError: If the resolution is not a power of 2 from 4, or settings do not fit the stages.
    """
    stages = plan(image, settings)[::-1]
    count = sum(stage.blocks for stage in stages)
    layers = _blocks(stages[0], count, [pointwise(image.channels, stages[0].width)])
    for above, stage in pairwise(stages):
        layers += _blocks(stage, count, [shrinking(above.width), *_matched(above.width, stage.width)])
    width = stages[-1].width
    basis = scaled(nn.Conv2d(width, width, 4, groups=width, bias=False), 1.0)
    to_features = StagedSequence((4, [basis, Rearrange("n c 1 1 -> n c")]))
    return R3GANTrunk(StagedSequence(*layers), to_features, width)


R3GAN = Trunk(
    r3gan_generator,
    r3gan_discriminator,
    joins=True,
    settings=frozenset({"width", "widths", "cardinality", "blocks"}),
    class_width=64,
)
