"""Properties of every trunk: shapes, ranges, settings, seeds, precisions, layouts."""

from __future__ import annotations

import copy

import pytest
import torch
from einops.layers.torch import Rearrange
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from gan_zoo.config import Norm, TrunkSettings
from gan_zoo.errors import InputError
from gan_zoo.losses.penalties import gradient_penalty, zero_centred_penalty
from gan_zoo.registry import trunks
from gan_zoo.shapes import ImageShape
from gan_zoo.trunks.layers import LotNorm
from gan_zoo.trunks.trunk import DiscriminatorTrunk

LATENT = 10
NAMES = ["dcgan", "infogan-mnist", "mlp", "resnet"]
RESOLUTIONS = {
    "mlp": [8, 28, 32, 64, 128],
    "dcgan": [28, 32, 64, 128, 256],
    "resnet": [28, 32, 64, 128, 256],
    "infogan-mnist": [28],
}
MAPS = {  # [c, h, w] of the last feature map at width 2
    ("mlp", 28): (16, 1, 1),
    ("mlp", 128): (16, 1, 1),
    ("dcgan", 28): (4, 7, 7),
    ("dcgan", 32): (8, 4, 4),
    ("dcgan", 64): (16, 4, 4),
    ("dcgan", 128): (32, 4, 4),
    ("dcgan", 256): (64, 4, 4),
    ("resnet", 28): (4, 7, 7),
    ("resnet", 32): (4, 8, 8),
    ("resnet", 64): (32, 4, 4),
    ("resnet", 128): (32, 4, 4),
    ("resnet", 256): (32, 4, 4),
    ("infogan-mnist", 28): (4, 7, 7),
}
WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)
AT_RESOLUTIONS = [(name, resolution) for name in NAMES for resolution in RESOLUTIONS[name]]


def build(
    name: str,
    resolution: int = 28,
    channels: int = 1,
    *,
    width: int = 2,
    kind: Norm = "batch",
    spectral: bool = False,
    seed: int = 0,
) -> tuple[nn.Module, DiscriminatorTrunk]:
    settings = TrunkSettings(
        name=name, width=width, generator_norm=kind, discriminator_norm=kind, spectral_norm=spectral
    )
    torch.manual_seed(seed)
    trunk, image = trunks.get(name), ImageShape(channels, resolution)
    return trunk.generator(LATENT, image, settings), trunk.discriminator(image, settings)


def images(resolution: int = 28, channels: int = 1, n: int = 4, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, resolution, resolution, generator=generator) * 2 - 1


@pytest.mark.parametrize(("name", "resolution"), AT_RESOLUTIONS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["batch", "layer", "none"])
@pytest.mark.parametrize("spectral", [False, True])
def test_shapes_and_ranges(name: str, resolution: int, channels: int, kind: Norm, spectral: bool) -> None:
    generator, trunk = build(name, resolution, channels, kind=kind, spectral=spectral)
    with torch.no_grad():
        x = generator(torch.randn(3, LATENT))
        feature_map, features = trunk.feature_map(x), trunk(x)
    assert x.shape == (3, channels, resolution, resolution)
    assert x.abs().max() <= 1
    assert (x[0] - x[1]).abs().max() > 0, "the latent does not reach the image"
    assert features.shape == (3, trunk.width)
    assert (features[0] - features[1]).abs().max() > 0, "the image does not reach the features"
    assert feature_map.shape[0] == 3
    if (name, resolution) in MAPS:
        assert feature_map.shape[1:] == MAPS[name, resolution]


@pytest.mark.parametrize("name", NAMES)
def test_images_stay_in_range_whatever_the_weights(name: str) -> None:
    generator, _ = build(name)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(50)
        largest = generator(torch.randn(4, LATENT)).abs().max()
    assert 0.99 < largest <= 1


CHECKPOINTED = {
    "dcgan": ("0 2 4 5 7", "to_map.0 to_map.2 to_map.3"),
    "infogan-mnist": ("0 1 3 4 7 8 10", "to_map.0 to_map.2 to_map.3 to_features.1 to_features.2"),
    "mlp": ("0 1 3 4 6", "to_map.1 to_map.3 to_map.4"),
    "resnet": (
        "0 2.residual.0 2.residual.3 2.residual.4 2.residual.6 2.shortcut.0 3.residual.0 3.residual.3 3.residual.4 "
        "3.residual.6 3.shortcut.0 4 6",
        "to_map.0.residual.0 to_map.0.residual.2 to_map.0.shortcut.1 to_map.1.residual.0 to_map.1.residual.2 "
        "to_map.1.residual.3 to_map.1.residual.5 to_map.1.shortcut.1 to_map.2.residual.0 to_map.2.residual.2 "
        "to_map.2.residual.3 to_map.2.residual.5 to_map.3.residual.0 to_map.3.residual.2 to_map.3.residual.3 "
        "to_map.3.residual.5 to_map.4",
    ),
}
"""Layers with weights, of generator and trunk, by the names that checkpoints have always had."""


@pytest.mark.parametrize("name", NAMES)
def test_checkpoints_keep_their_names(name: str) -> None:
    for network, layers in zip(build(name), CHECKPOINTED[name], strict=True):
        assert list(dict.fromkeys(key.rpartition(".")[0] for key in network.state_dict())) == layers.split()


@pytest.mark.parametrize("name", NAMES)
def test_batch_norms_compute_the_activations_that_were_layers(name: str) -> None:
    """Outputs and gradients of a network whose activations are layers of their own again."""
    for network, x in zip(build(name, kind="batch", width=4), (torch.randn(6, LATENT), images(n=6)), strict=True):
        apart = copy.deepcopy(network)
        for layers in (m for m in apart.modules() if isinstance(m, nn.Sequential)):
            for place, layer in enumerate(layers):
                if isinstance(layer, LotNorm):
                    assert isinstance(layers[place + 1], nn.Identity)
                    layers[place + 1] = nn.LeakyReLU(layer.slope) if layer.slope else nn.ReLU()
                    layer.slope = 1.0
        results = []
        for either in (network, apart):
            y = either(x)
            y.square().sum().backward()
            results.append([y, *(p.grad for p in either.parameters()), *either.buffers(), either.eval()(x)])
        assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["batch", "layer", "none"])
def test_norm_decides_layers_and_biases(name: str, kind: Norm) -> None:
    wanted = {"batch": (nn.BatchNorm1d, nn.BatchNorm2d), "layer": (nn.LayerNorm, nn.GroupNorm), "none": ()}
    for network in build(name, kind=kind):
        found = [m for m in network.modules() if isinstance(m, NORMS)]
        assert all(isinstance(m, wanted[kind]) for m in found)
        assert bool(found) == (kind != "none")
        for sequence in (m for m in network.modules() if isinstance(m, nn.Sequential)):
            layers = [m for m in sequence if not isinstance(m, (Rearrange, nn.Upsample))]
            for layer, following in zip(layers, [*layers[1:], None], strict=True):
                if isinstance(layer, WEIGHTED):
                    assert (layer.bias is None) == isinstance(following, NORMS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("kind", "alone"), [("batch", False), ("layer", True), ("none", True)])
def test_only_batch_norm_lets_images_see_each_other(name: str, kind: Norm, alone: bool) -> None:
    _, trunk = build(name, kind=kind, width=4)
    x = images()
    with torch.no_grad():
        together, apart = trunk(x)[:2], trunk(x[:2])
    assert torch.allclose(together, apart, atol=1e-5) == alone


@pytest.mark.parametrize("name", NAMES)
def test_spectral_norm_is_on_every_trunk_weight_and_on_no_generator_weight(name: str) -> None:
    generator, trunk = build(name, spectral=True)
    weighted = [m for m in trunk.modules() if isinstance(m, WEIGHTED)]
    assert weighted
    assert all(is_parametrized(m, "weight") for m in weighted)
    assert not any(is_parametrized(m) for m in generator.modules())


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_decides_the_weights(name: str) -> None:
    for network, same, other in zip(*(build(name, spectral=True, seed=seed) for seed in (3, 3, 4)), strict=True):
        ours, theirs = network.state_dict(), same.state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
        assert any(not torch.equal(ours[key], value) for key, value in other.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_autocast_to_bfloat16_stays_near_float32(name: str) -> None:
    generator, trunk = build(name, width=4, kind="layer", spectral=True)
    x = images()
    trunk.eval()
    with torch.no_grad():
        exact = trunk(x)
    with torch.autocast("cpu", torch.bfloat16):
        features = trunk(generator(torch.randn(4, LATENT)))
        rounded = trunk(x)
    assert features.dtype == torch.bfloat16 or name == "resnet"  # a sum may be kept in float32
    assert (rounded.float() - exact).norm() < 0.03 * exact.norm()
    features.float().square().mean().backward()
    for parameter in (*generator.parameters(), *trunk.parameters()):
        assert parameter.dtype == torch.float32
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["batch", "layer", "none"])
def test_penalties_reach_every_weight(name: str, kind: Norm) -> None:
    _, trunk = build(name, width=4, kind=kind, spectral=True)
    x = images().requires_grad_()
    penalty = zero_centred_penalty(trunk(x).square().sum(1), x)
    penalty = penalty + gradient_penalty(
        lambda y: trunk(y).square().sum(1), images(), images(seed=2), torch.rand(4, 1, 1, 1)
    )
    penalty.backward()
    for layer in trunk.modules():
        if isinstance(layer, WEIGHTED):
            gradient = layer.parametrizations.weight.original.grad
            assert torch.isfinite(gradient).all()
            assert gradient.abs().max() > 0


@pytest.mark.parametrize("name", NAMES)
def test_channels_last_changes_nothing_but_the_layout(name: str) -> None:
    generator, trunk = build(name, channels=3, width=4)
    generator.eval()
    trunk.eval()
    z = torch.randn(4, LATENT)
    with torch.no_grad():
        x = generator(z)
        features = trunk(x)
        layout = torch.channels_last
        generator.to(memory_format=layout)
        trunk.to(memory_format=layout)
        last = generator(z).contiguous(memory_format=layout)
        assert torch.allclose(last, x, atol=1e-5)
        assert torch.allclose(trunk(last), features, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_compiles_without_a_graph_break(name: str) -> None:
    torch._dynamo.reset()
    generator, trunk = build(name, spectral=True)
    generator.eval()
    trunk.eval()
    z, x = torch.randn(2, LATENT), images(n=2)
    with torch.no_grad():
        assert torch.allclose(torch.compile(generator, fullgraph=True, backend="eager")(z), generator(z), atol=1e-6)
        assert torch.allclose(torch.compile(trunk, fullgraph=True, backend="eager")(x), trunk(x), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "resolution", "sizes"),
    [
        ("infogan-mnist", 32, "supports 28×28 images, not 32×32; set data.resolution to 28,"),
        (
            "dcgan",
            48,
            "supports 28×28, 32×32, 64×64, 128×128 or 256×256 images, not 48×48; set data.resolution to 28 or 32",
        ),
        ("resnet", 512, "supports 28×28, 32×32, 64×64, 128×128 or 256×256 images, not 512×512;"),
    ],
)
def test_a_resolution_it_cannot_do_is_refused_in_one_line(name: str, resolution: int, sizes: str) -> None:
    trunk, image, settings = trunks.get(name), ImageShape(1, resolution), TrunkSettings(name=name)
    for make in (lambda: trunk.generator(4, image, settings), lambda: trunk.discriminator(image, settings)):
        with pytest.raises(InputError) as caught:
            make()
        assert str(caught.value).startswith(f"trunk {name} {sizes}")
        assert "\n" not in str(caught.value)
