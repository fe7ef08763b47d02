"""The trunks against what their papers print: layers, channels, parameter counts, initial weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gan_zoo.config import TrunkSettings
from gan_zoo.shapes import ImageShape
from gan_zoo.trunks.dcgan import DCGAN
from gan_zoo.trunks.infogan_mnist import INFOGAN_MNIST
from gan_zoo.trunks.layers import LotNorm
from gan_zoo.trunks.resnet import RESNET, ResidualBlock, discriminator_block, doubling_block
from gan_zoo.trunks.trunk import Trunk

PAPER = TrunkSettings(width=64)


def described(network: nn.Module) -> list[str]:
    """The layers that compute something, in order."""
    lines = []
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            lines.append(f"FC {layer.out_features}")
        elif isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            up = "up-" if isinstance(layer, nn.ConvTranspose2d) else ""
            kernel, stride = layer.kernel_size, layer.stride
            lines.append(f"{kernel[0]}x{kernel[1]}/{stride[0]} {up}conv {layer.out_channels}")
        elif isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            lines.append(f"BN {layer.num_features}")
            if isinstance(layer, LotNorm):  # which computes the activation too
                lines.append(f"leaky {layer.slope}" if layer.slope else "ReLU")
        elif isinstance(layer, nn.LeakyReLU):
            lines.append(f"leaky {layer.negative_slope}")
        elif isinstance(layer, (nn.ReLU, nn.Tanh)):
            lines.append(type(layer).__name__)
    return lines


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_infogan_mnist_layer_by_layer() -> None:
    generator = INFOGAN_MNIST.generator(74, ImageShape(1, 28), PAPER)
    trunk = INFOGAN_MNIST.discriminator(ImageShape(1, 28), PAPER)
    assert described(generator) == [
        *("FC 1024", "BN 1024", "ReLU"),
        *("FC 6272", "BN 6272", "ReLU"),
        *("4x4/2 up-conv 64", "BN 64", "ReLU"),
        *("4x4/2 up-conv 1", "Tanh"),
    ]
    assert described(trunk) == [
        *("4x4/2 conv 64", "leaky 0.1"),
        *("4x4/2 conv 128", "BN 128", "leaky 0.1"),
        *("FC 1024", "BN 1024", "leaky 0.1"),
    ]
    assert trunk.width == 1024


def test_infogan_mnist_parameter_count() -> None:
    generator = INFOGAN_MNIST.generator(74, ImageShape(1, 28), PAPER)
    trunk = INFOGAN_MNIST.discriminator(ImageShape(1, 28), PAPER)
    fc = 74 * 1024 + 2 * 1024 + 1024 * 128 * 7 * 7 + 2 * 128 * 7 * 7
    assert parameters(generator) == fc + 128 * 64 * 4 * 4 + 2 * 64 + 64 * 4 * 4 + 1 == 6_645_121
    convolutions = 64 * 4 * 4 + 64 + 64 * 128 * 4 * 4 + 2 * 128
    assert parameters(trunk) == convolutions + 128 * 7 * 7 * 1024 + 2 * 1024 == 6_556_992


def test_infogan_mnist_width_scales_every_layer() -> None:
    trunk = INFOGAN_MNIST.discriminator(ImageShape(1, 28), TrunkSettings(width=16))
    sizes = [line.split()[-1] for line in described(trunk) if "conv" in line or "FC" in line]
    assert sizes == ["16", "32", "256"]
    assert trunk.width == 256


@pytest.mark.parametrize(("resolution", "first"), [(28, 128), (32, 256), (64, 512), (128, 1024)])
def test_dcgan_doubles_channels_where_the_side_halves(resolution: int, first: int) -> None:
    settings, image = TrunkSettings(width=64), ImageShape(3, resolution)
    with torch.device("meta"):
        generator, trunk = DCGAN.generator(100, image, settings), DCGAN.discriminator(image, settings)
    up = [m.out_channels for m in generator.modules() if isinstance(m, nn.ConvTranspose2d)]
    down = [m.out_channels for m in trunk.modules() if isinstance(m, nn.Conv2d)]
    maps = [first // 2**i for i in range(int(math.log2(first // 64)) + 1)]
    assert up == [*maps[1:], 3]
    assert down == maps[::-1]
    norms = [m.num_features for m in trunk.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms == down[1:], "the layer that sees pixels has no norm"
    norms = [m.num_features for m in generator.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms == maps, "the layer that draws pixels has no norm"


@pytest.mark.parametrize(
    ("resolution", "up", "down"),
    [
        (32, [256, 256, 256], [128, 128, 128, 128]),  # table 3
        (128, [1024, 512, 256, 128, 64], [64, 128, 256, 512, 1024, 1024]),  # table 5
    ],
)
def test_resnet_has_the_papers_blocks(resolution: int, up: list[int], down: list[int]) -> None:
    settings = TrunkSettings(width=64, discriminator_norm="none")
    image = ImageShape(3, resolution)
    with torch.device("meta"):
        generator, trunk = RESNET.generator(128, image, settings), RESNET.discriminator(image, settings)

    def channels(network: nn.Module) -> list[int]:
        blocks = [m for m in network.modules() if isinstance(m, ResidualBlock)]
        return [[m for m in b.residual if isinstance(m, nn.Conv2d)][-1].out_channels for b in blocks]

    assert channels(generator) == up
    assert channels(trunk) == down
    assert trunk.width == down[-1]


def test_resnet_features_are_the_maps_sum() -> None:
    torch.manual_seed(0)
    trunk = RESNET.discriminator(ImageShape(1, 28), TrunkSettings(width=2, discriminator_norm="none"))
    x = torch.randn(2, 1, 28, 28)
    feature_map = trunk.feature_map(x)
    assert feature_map.min() == 0, "the last map is a ReLU's"
    assert torch.allclose(trunk(x), feature_map.sum((2, 3)), rtol=1e-5)


def test_shortcuts_equal_the_papers_order() -> None:
    """Upsample then 1×1 convolution, and 1×1 convolution then pool, as the paper draws them."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 8)
    convolution, upsample = doubling_block(3, 5, "batch").shortcut
    assert torch.allclose(upsample(convolution(x)), convolution(upsample(x)), atol=1e-6)
    pool, convolution = discriminator_block(3, 5, "none", halve=True).shortcut
    assert torch.allclose(convolution(pool(x)), pool(convolution(x)), atol=1e-6)


@pytest.mark.parametrize("trunk", [DCGAN, INFOGAN_MNIST], ids=["dcgan", "infogan-mnist"])
@pytest.mark.parametrize("spectral", [False, True])
def test_dcgan_initial_weights(trunk: Trunk, spectral: bool) -> None:
    torch.manual_seed(0)
    settings, image = TrunkSettings(width=32, spectral_norm=spectral), ImageShape(3, 28)
    for network in (trunk.generator(74, image, settings), trunk.discriminator(image, settings)):
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                assert parameter.abs().max() == 0
            else:
                assert parameter.std().item() == pytest.approx(0.02, rel=6 / math.sqrt(2 * parameter.numel()))
                assert parameter.mean().item() == pytest.approx(float(parameter.ndim == 1), abs=0.01)


def test_resnet_initial_weights() -> None:
    torch.manual_seed(0)
    trunk = RESNET.discriminator(ImageShape(3, 32), TrunkSettings(width=16))
    for layer in (m for m in trunk.modules() if isinstance(m, nn.Conv2d)):
        side = layer.kernel_size[0]
        bound = math.sqrt(6 / (side**2 * (layer.in_channels + layer.out_channels)))
        bound *= math.sqrt(2) if side == 3 else 1
        assert 0.9 * bound < layer.weight.abs().max() <= bound
        assert layer.bias is None or layer.bias.abs().max() == 0
