"""SNGAN's residual networks: Miyato et al., 2018, appendix B.4 (32, 48 and 128 pixels).

Blocks are pre-activated. Weights have Xavier's uniform initialisation, with gain √2 in the residual branch. A 1×1
convolution commutes with nearest upsampling and with average pooling, so shortcuts convolve at the smaller side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from einops.layers.torch import Rearrange, Reduce
from torch import Tensor, nn

from gan_zoo.config import Norm, TrunkSettings
from gan_zoo.shapes import ImageShape
from gan_zoo.trunks.layers import activated, spectral
from gan_zoo.trunks.stages import StagedSequence
from gan_zoo.trunks.trunk import DiscriminatorTrunk, Trunk, require_resolution


@dataclass(frozen=True)
class Plan:
    """The blocks' channels at one resolution, in units of the width."""

    side: int
    """Side of the generator's first map."""
    generator: tuple[int, ...]
    """Channels of the generator's maps; each but the first is the output of a block that doubles the side."""
    halving: tuple[int, ...]
    """Output channels of the discriminator's first blocks, which halve the side."""
    keeping: tuple[int, ...]
    """Output channels of its other blocks, which keep the side."""


PLANS = {
    28: Plan(7, (4, 4, 4), (2, 2), (2, 2)),
    32: Plan(4, (4, 4, 4, 4), (2, 2), (2, 2)),
    64: Plan(4, (16, 8, 4, 2, 1), (1, 2, 4, 8), (16,)),
    128: Plan(4, (16, 16, 8, 4, 2, 1), (1, 2, 4, 8, 16), (16,)),
    256: Plan(4, (16, 16, 8, 8, 4, 2, 1), (1, 2, 4, 8, 8, 16), (16,)),
}
"""Plans by resolution: 32 and 128 from the paper; 28 follows 32, and 64 the paper's plan for 48 pixels. 256 has the
channels of BigGAN (Brock et al., 2019, arXiv:1809.11096, appendix B)."""


class ResidualBlock(nn.Module):
    """``residual(x) + shortcut(x)``, maps to maps."""

    def __init__(self, residual: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.residual = residual
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """[n, c_in, h, w] to [n, c_out, h', w']."""
        out: Tensor = self.residual(x) + self.shortcut(x)
        return out


def _conv3(inputs: int, outputs: int, *, bias: bool = True) -> nn.Module:
    return _xavier(nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias), math.sqrt(2))


def _conv1(inputs: int, outputs: int) -> nn.Module:
    return _xavier(nn.Conv2d(inputs, outputs, 1), 1.0)


def _xavier(layer: nn.Conv2d | nn.Linear, gain: float) -> nn.Module:
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _convolved(inputs: int, outputs: int, kind: Norm) -> list[nn.Module]:
    """A residual branch from its first convolution to its second: [n, inputs, h, w] to [n, outputs, h, w]."""
    return [
        _conv3(inputs, outputs, bias=kind == "none"),
        *activated(kind, outputs, 2, 0.0),
        _conv3(outputs, outputs),
    ]


def doubling_block(inputs: int, outputs: int, kind: Norm) -> nn.Module:
    """A generator's block: [n, inputs, h, w] to [n, outputs, 2h, 2w]."""
    first = [*activated(kind, inputs, 2, 0.0), nn.Upsample(scale_factor=2)]
    residual = nn.Sequential(*first, *_convolved(inputs, outputs, kind))
    return ResidualBlock(residual, nn.Sequential(_conv1(inputs, outputs), nn.Upsample(scale_factor=2)))


def first_block(inputs: int, outputs: int) -> nn.Module:
    """The discriminator's first block, which halves the side: no activation or norm on its input, the pixels."""
    residual = nn.Sequential(_conv3(inputs, outputs), nn.ReLU(), _conv3(outputs, outputs), nn.AvgPool2d(2))
    return ResidualBlock(residual, nn.Sequential(nn.AvgPool2d(2), _conv1(inputs, outputs)))


def discriminator_block(inputs: int, outputs: int, kind: Norm, *, halve: bool) -> nn.Module:
    """[n, inputs, h, w] to [n, outputs, h/2, w/2], or the same h and w unless `halve`."""
    pool = nn.AvgPool2d(2) if halve else nn.Identity()
    residual = nn.Sequential(*activated(kind, inputs, 2, 0.0), *_convolved(inputs, outputs, kind), pool)
    if inputs == outputs and not halve:
        return ResidualBlock(residual, nn.Identity())
    return ResidualBlock(residual, nn.Sequential(pool, _conv1(inputs, outputs)))


def resnet_generator(latent_width: int, image: ImageShape, settings: TrunkSettings) -> nn.Module:
    """Latents [n, latent_width] to images [n, C, R, R] in [-1, 1].

    Raises:
        InputError: If the resolution is not 28, 32, 64, 128 or 256.
    """
    require_resolution("resnet", image, PLANS)
    plan, kind = PLANS[image.resolution], settings.generator_norm
    channels = [settings.width * c for c in plan.generator]
    first = [
        _xavier(nn.Linear(latent_width, channels[0] * plan.side**2), 1.0),
        Rearrange("n (c h w) -> n c h w", h=plan.side, w=plan.side),
    ]
    blocks = [(plan.side * 2**k, [doubling_block(a, b, kind)]) for k, (a, b) in enumerate(pairwise(channels), start=1)]
    last = [
        *activated(kind, channels[-1], 2, 0.0),
        _xavier(nn.Conv2d(channels[-1], image.channels, 3, padding=1), 1.0),
        nn.Tanh(),
    ]
    return StagedSequence((plan.side, first), *blocks, (image.resolution, last))


def resnet_discriminator(image: ImageShape, settings: TrunkSettings) -> DiscriminatorTrunk:
    """Images [n, C, R, R] to the last feature map's sum over space.

    Raises:
        InputError: If the resolution is not 28, 32, 64, 128 or 256.
    """
    require_resolution("resnet", image, PLANS)
    plan, kind = PLANS[image.resolution], settings.discriminator_norm
    channels = [settings.width * c for c in (*plan.halving, *plan.keeping)]
    halvings = len(plan.halving)
    blocks = [(image.resolution, [first_block(image.channels, channels[0])])]
    for k, (a, b) in enumerate(pairwise(channels), start=1):
        side = image.resolution >> min(k, halvings)
        blocks.append((side, [discriminator_block(a, b, kind, halve=k < halvings)]))
    last = (image.resolution >> halvings, activated(kind, channels[-1], 2, 0.0))
    to_map = StagedSequence(*blocks, last)
    trunk = DiscriminatorTrunk(to_map, Reduce("n c h w -> n c", "sum"), channels[-1])
    return spectral(trunk, settings.spectral_norm)


RESNET = Trunk(resnet_generator, resnet_discriminator, joins=True)
