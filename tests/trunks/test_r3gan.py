"""R3GAN's networks: published sizes, initial scale, derivatives under R1, and what a trunk owes to the library."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from narrow import Game, moved, one_line, weights
from torch import Tensor, nn
from torch.nn import functional

from gan_zoo.config import TrunkSettings
from gan_zoo.errors import InputError
from gan_zoo.losses.penalties import zero_centred_penalty
from gan_zoo.shapes import ImageShape
from gan_zoo.trunks.conditional import EmbeddingGenerator, build_generator
from gan_zoo.trunks.r3gan import GAIN, R3GAN, Basis, Stage, block, plan
from gan_zoo.trunks.resampling import Resampling, enlarging, shrinking
from gan_zoo.trunks.resnet import ResidualBlock
from gan_zoo.trunks.trunk import DiscriminatorTrunk

NOISE = 64


def settings(**values: Any) -> TrunkSettings:
    return TrunkSettings(name="r3gan", generator_norm="none", discriminator_norm="none", **values)


def build(
    resolution: int = 16, channels: int = 3, *, seed: int = 0, **values: Any
) -> tuple[nn.Module, DiscriminatorTrunk]:
    torch.manual_seed(seed)
    image, chosen = ImageShape(channels, resolution), settings(**({"width": 2} | values))
    return R3GAN.generator(NOISE, image, chosen), R3GAN.discriminator(image, chosen)


def count(*networks: nn.Module) -> int:
    return sum(parameter.numel() for network in networks for parameter in network.parameters())


def branches(network: nn.Module) -> Iterator[nn.Sequential]:
    for layer in network.modules():
        if isinstance(layer, ResidualBlock):
            assert isinstance(layer.residual, nn.Sequential)
            yield layer.residual


@pytest.mark.parametrize(
    ("resolution", "stages", "generator", "discriminator"),
    [
        (32, [(768, 96)] * 4, 20_732_160, 20_683_776),
        (64, [(768, 96)] * 4 + [(384, 48)], 22_429_824, 22_381_440),
        (256, [(768, 96)] * 4 + [(384, 48), (192, 24), (96, 12)], 23_057_952, 23_009_568),
    ],
)
def test_the_published_networks(
    resolution: int, stages: list[tuple[int, int]], generator: int, discriminator: int
) -> None:
    image = ImageShape(3, resolution)
    sides = [4 << k for k in range(len(stages))]
    assert plan(image, settings()) == [Stage(side, *stage, 2) for side, stage in zip(sides, stages, strict=True)]
    with torch.device("meta"):
        g, d = R3GAN.generator(NOISE, image, settings()), R3GAN.discriminator(image, settings())
        assert (count(g), count(d, d.head())) == (generator, discriminator)
    stated = settings(widths=tuple(w for w, _ in stages), cardinality=tuple(c for _, c in stages))
    assert plan(image, stated) == plan(image, settings())


def test_the_published_generator_with_classes() -> None:
    with torch.device("meta"):
        made = build_generator(R3GAN, NOISE + 10, ImageShape(3, 32), settings(), classes=10)
    assert isinstance(made, EmbeddingGenerator)
    assert made.embedding.weight.shape == (64, 10)
    assert count(made) == 20_781_952


def test_the_projection_on_classes_is_the_published_one_with_its_matrices_multiplied() -> None:
    """The paper's D has ⟨A f, e_y⟩ with a matrix A of 768×768 and an embedding e; the project's has v_y = Aᵀ e_y."""
    with torch.device("meta"):
        trunk = R3GAN.discriminator(ImageShape(3, 32), settings())
    assert count(trunk) + 768 * 768 + 10 * 768 == 21_280_512
    matrix, embedding, features = torch.randn(8, 8), torch.randn(10, 8), torch.randn(5, 8)
    torch.testing.assert_close(features @ matrix.T @ embedding.T, features @ (embedding @ matrix).T)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("resolution", [4, 8, 32, 128])
def test_shapes_and_the_range_of_images(resolution: int, channels: int) -> None:
    generator, trunk = build(resolution, channels, width=1)
    with torch.no_grad():
        generator[-2].weight.mul_(10)  # type: ignore[operator, union-attr, index]
        z = torch.randn(3, NOISE)
        free, images = generator(z), generator.eval()(z)
        features = trunk(images)
    assert images.shape == (3, channels, resolution, resolution)
    assert free.abs().max() > 1, "training sees the linear layer"
    assert torch.equal(images, free.clamp(-1, 1))
    assert trunk.feature_map(images).shape == (3, trunk.width, 4, 4)
    assert features.shape == (3, trunk.width)
    assert (images[0] - images[1]).abs().max() > 0
    assert (features[0] - features[1]).abs().max() > 0


def test_settings_shape_the_stages() -> None:
    chosen = settings(widths=(24, 16, 8), cardinality=(4, 2, 1), blocks=(1, 2, 3))
    assert plan(ImageShape(1, 16), chosen) == [Stage(4, 24, 4, 1), Stage(8, 16, 2, 2), Stage(16, 8, 1, 3)]
    generator, trunk = build(width=64, widths=(24, 16, 8), cardinality=(4, 2, 1), blocks=(1, 2, 3))
    for network, order in ((generator, (1, 2, 3)), (trunk, (3, 2, 1))):
        found = [(branch[0].in_channels, branch[2].groups) for branch in branches(network)]
        shapes = {1: (24, 4), 2: (16, 2), 3: (8, 1)}
        assert found == [shapes[stage] for stage in order for _ in range(stage)]
    narrow = [Stage(4, 12, 3, 2), Stage(8, 12, 3, 2)]
    assert plan(ImageShape(1, 8), settings(width=1)) == narrow, "groups of 8 of 24 channels"
    assert plan(ImageShape(1, 1024), settings(width=1))[-1] == Stage(1024, 1, 1, 2)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"widths": (24, 16)}, "trunk.widths has 2 numbers, but the trunk has 3 stages"),
        ({"cardinality": (3, 5)}, "trunk.cardinality has 2 numbers"),
        ({"blocks": (1, 1, 1, 1)}, "trunk.blocks has 4 numbers"),
        ({"cardinality": (5,)}, "trunk.cardinality = 5: a stage of 24 channels convolves 48, which is not a multiple"),
    ],
)
def test_settings_that_do_not_fit_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as error:
        build(**values)
    assert one_line(error).startswith(words)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"data__resolution": 28}, "not 28×28; set data.resolution to 32, or trunk.name"),
        ({"trunk__generator_norm": "batch"}, 'trunk.generator_norm = "batch"; set trunk.generator_norm to "none"'),
        ({"trunk__spectral_norm": True}, "trunk.spectral_norm = true; set trunk.spectral_norm to false"),
    ],
)
def test_what_it_does_not_support_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as error:
        Game("r3gan", **values)
    assert words in one_line(error)


def test_initial_weights() -> None:
    for network in build(width=16, blocks=(2,)):
        assert len([*branches(network)]) == 6
        for branch in branches(network):
            for layer in (branch[0], branch[2]):
                fan_in = layer.weight[0].numel()
                std = GAIN * 6**-0.25 / math.sqrt(fan_in)
                assert layer.weight.std().item() == pytest.approx(std, rel=6 / math.sqrt(2 * layer.weight.numel()))
                assert layer.bias is not None and layer.bias.abs().max() == 0
            assert branch[4].weight.abs().max() == 0
            assert branch[4].bias is None
    (basis,) = (layer for layer in build(width=16)[0].modules() if isinstance(layer, Basis))
    assert basis.pattern.std().item() == pytest.approx(1, rel=0.05)
    assert basis.linear.weight.std().item() == pytest.approx(1 / 8, rel=0.05)


def test_images_start_at_the_scale_of_a_filtered_basis() -> None:
    """Blocks start as the identity and 1×1 convolutions keep the mean square: only the filter takes from it."""
    with torch.no_grad():
        images = torch.cat([build(32, width=8, blocks=(1,), seed=k)[0](torch.randn(8, NOISE)) for k in range(10)])
        small = torch.cat([build(4, width=8, seed=k)[0](torch.randn(64, NOISE)) for k in range(10)])
        maps = torch.randn(512, 8, 4, 4)
        for _ in range(3):
            maps = enlarging(8)(maps)
    assert images.square().mean().item() == pytest.approx(maps.square().mean().item(), rel=0.15)
    assert small.square().mean().item() == pytest.approx(1, rel=0.15)


@pytest.mark.parametrize("blocks", [1, 4, 16])
def test_branches_and_gradients_start_at_one_scale_for_any_number_of_blocks(blocks: int) -> None:
    """The mean square of each branch's inner map is 1 / L of its input's, so the L branches' first updates add up to
    the same whatever L is; without the factor L^(-1/4) it would grow with L.
    """
    torch.manual_seed(0)
    stage = Stage(16, 64, 8, blocks)
    network = nn.Sequential(*(block(stage, blocks) for _ in range(blocks)))
    inner: list[Tensor] = []
    for branch in branches(network):
        branch[3].register_forward_hook(lambda _layer, _input, output: inner.append(output.detach()))
    x = torch.randn(16, 64, 8, 8)
    y = network(x)
    assert torch.equal(y, x), "the identity"
    for maps in inner:
        border = maps[:, :, 1:-1, 1:-1]  # zeros beyond it take from the others
        assert border.square().mean().item() == pytest.approx(1 / blocks, rel=0.15)
    (y * torch.randn(x.shape)).sum().backward()
    last = [branch[4].weight.grad for branch in branches(network)]
    norm = sum(gradient.square().sum() for gradient in last if gradient is not None)
    within = ((3 * 8 - 2) / (3 * 8)) ** 2  # the share of the 3×3 windows that is not beyond the border
    assert float(norm) / (x.numel() * 128) == pytest.approx(within, rel=0.15)


def test_every_operation_s_second_derivative_under_r1() -> None:
    """The penalty by images and by every weight of a trunk that has all its kinds of layers, in float64."""
    _, trunk = build(8, 1, width=64, widths=(3, 2), cardinality=(3, 2), blocks=(1,))
    trunk.double()
    for branch in branches(trunk):
        nn.init.normal_(branch[4].weight, std=0.5)
    head = nn.Linear(trunk.width, 1, bias=False).double()
    x = torch.randn(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    names, values = zip(*trunk.named_parameters(), strict=True)
    assert {"to_map.0.weight", "to_map.1.residual.2.weight", "to_map.3.weight", "to_features.0.weight"} <= {*names}
    assert any(isinstance(layer, Resampling) for layer in trunk.modules())

    def penalty(x: Tensor, *values: Tensor) -> Tensor:
        features = torch.func.functional_call(trunk, dict(zip(names, values, strict=True)), (x,))
        return zero_centred_penalty(head(features), x)

    assert torch.autograd.gradcheck(penalty, (x, *values))

    def logits(x: Tensor, *values: Tensor) -> Tensor:
        return head(torch.func.functional_call(trunk, dict(zip(names, values, strict=True)), (x,)))

    chosen = tuple(value.detach().requires_grad_() for value in values)
    assert torch.autograd.gradgradcheck(logits, (x, *chosen), fast_mode=True)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_penalties_reach_every_weight_in_every_precision(precision: str) -> None:
    game = Game("infogan", trunk__name="r3gan", loss__r1=1.0, loss__r2=1.0, training__precision=precision)
    before = weights(game.model)
    for step in range(3):
        assert all(term.isfinite() for objective in game.step(step) for term in objective.terms.values())
    assert moved(before, game.model) == before.keys()


def test_a_pointwise_convolution_commutes_with_resampling() -> None:
    """So the paper's convolutes where the map is smaller."""
    torch.manual_seed(0)
    convolution, x = nn.Conv2d(3, 5, 1, bias=False), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(enlarging(5)(convolution(x)), convolution(enlarging(3)(x)))
        torch.testing.assert_close(convolution(shrinking(3)(x)), shrinking(5)(convolution(x)))
    generator, trunk = build(8, width=64, widths=(8, 4))
    kinds = [type(layer) for layer in generator]  # type: ignore[attr-defined]
    assert kinds[kinds.index(Resampling) - 1] is nn.Conv2d
    assert isinstance(trunk.to_map, nn.Sequential)
    kinds = [type(layer) for layer in trunk.to_map]
    assert kinds[kinds.index(Resampling) + 1] is nn.Conv2d


def test_images_do_not_mix_and_lots_share_a_pass() -> None:
    _, trunk = build()
    x = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(trunk(x)[:2], trunk(x[:2]), rtol=1e-4, atol=1e-5)
    assert R3GAN.joins


def test_layers_can_be_frozen_block_by_block() -> None:
    _, trunk = build(8, width=64, widths=(8, 4), blocks=(1, 2))
    layers = trunk.layers()
    assert [type(layer[0]).__name__ for layer in layers] == [
        *("Conv2d", "ResidualBlock", "ResidualBlock", "Conv2d", "ResidualBlock", "Conv2d"),
    ]
    assert [p for layer in layers for p in layer.parameters()] == list(trunk.parameters())
    trunk.freeze(2)
    assert [p.requires_grad for p in trunk.parameters()].count(False) == 1 + 5


def test_channels_last_and_compile_change_nothing() -> None:
    generator, trunk = (network.eval() for network in build())
    z = torch.randn(2, NOISE)
    torch._dynamo.reset()
    with torch.no_grad():
        x = generator(z)
        features = trunk(x)
        torch.testing.assert_close(torch.compile(generator, fullgraph=True, backend="eager")(z), x)
        torch.testing.assert_close(torch.compile(trunk, fullgraph=True, backend="eager")(x), features)
        for network in (generator, trunk):
            network.to(memory_format=torch.channels_last)
        last = generator(z).contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(last, x, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(trunk(last), features, rtol=1e-4, atol=1e-4)


def test_checkpoints_hold_no_filters() -> None:
    for network in build():
        assert network.state_dict().keys() == dict(network.named_parameters()).keys()


def test_a_generator_with_classes_draws_each() -> None:
    torch.manual_seed(0)
    made = build_generator(R3GAN, 6 + 3, ImageShape(1, 8), settings(width=2), classes=3)
    noise = torch.randn(1, 6).expand(3, 6)
    drawn = made(torch.cat([noise, torch.eye(3)], 1))
    assert drawn.shape == (3, 1, 8, 8)
    assert (drawn[0] - drawn[1]).abs().max() > 1e-2
    assert made.embedding.weight.std().item() == pytest.approx(3**-0.5, rel=0.2)  # type: ignore[union-attr, operator]


def test_infogan_cr_s_network_of_pairs_can_be_narrower_than_the_stages() -> None:
    stages = {"trunk__width": 64, "trunk__widths": (8, 8, 4), "trunk__cardinality": (4,), "trunk__name": "r3gan"}
    wide = Game("infogan-cr", infogan_cr__contrast=1.0, **stages).model
    narrow = Game("infogan-cr", infogan_cr__contrast=1.0, infogan_cr__contrast_width=1, **stages).model
    assert (wide.h.trunk.width, narrow.h.trunk.width) == (8, 12)  # type: ignore[union-attr]


def test_the_filter_keeps_the_mean_of_a_map_within_its_border() -> None:
    torch.testing.assert_close(functional.pad(enlarging(1)(torch.ones(1, 1, 4, 4)), (-1,) * 4), torch.ones(1, 1, 6, 6))
