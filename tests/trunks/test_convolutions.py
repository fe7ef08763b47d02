"""The convolutions next to the image against torch's, with the product forced on every device."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from recorder import Operations
from torch import Tensor, nn

from gan_zoo.config import TrunkSettings
from gan_zoo.registry import trunks
from gan_zoo.shapes import ImageShape
from gan_zoo.trunks.convolutions import ConvFromImage, ConvToImage
from gan_zoo.trunks.layers import spectral

WIDTH = 5
LAYERS = (ConvFromImage, ConvToImage)
FORMATS = (torch.contiguous_format, torch.channels_last)
Layer = ConvFromImage | ConvToImage


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in LAYERS:
        monkeypatch.setattr(kind, "forced", True)


def pair(kind: type[Layer], channels: int) -> tuple[Layer, nn.Module]:
    """The layer, and torch's with its weights."""
    if kind is ConvFromImage:
        ours, torchs = ConvFromImage(channels, WIDTH), nn.Conv2d(channels, WIDTH, 4, stride=2, padding=1)
    else:
        ours, torchs = ConvToImage(WIDTH, channels), nn.ConvTranspose2d(WIDTH, channels, 4, stride=2, padding=1)
    torchs.load_state_dict(ours.state_dict())
    return ours, torchs


def given(layer: nn.Module, n: int = 3, h: int = 6, w: int = 10) -> Tensor:
    return torch.randn(n, layer.in_channels, h, w)


def slopes(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """What a game with a penalty takes from a layer: its output, gradients, and the gradients of a slope's norm."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    out = layer(x)
    curved = out.tanh().sum()  # a convolution alone has no second derivative
    (slope,) = torch.autograd.grad(curved, x, create_graph=True)
    again = torch.autograd.grad(slope.square().sum(), [x, *layer.parameters()], retain_graph=True)
    return [out, slope, *torch.autograd.grad(out.square().sum(), [x, *layer.parameters()], retain_graph=True), *again]


def chooses_product(layer: Layer, x: Tensor) -> bool:
    with Operations() as operations:
        layer(x)
    return "aten::convolution" not in operations.names


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("n", [1, 3])
def test_the_product_is_torchs_convolution_with_two_derivatives(kind: type[Layer], channels: int, n: int) -> None:
    ours, torchs = (layer.double() for layer in pair(kind, channels))
    x = given(ours, n).double()
    for of_weights, of_x in product(FORMATS, FORMATS):
        ours.to(memory_format=of_weights)
        laid_out = x.contiguous(memory_format=of_x)
        assert chooses_product(ours, laid_out)
        for mine, its in zip(slopes(ours, laid_out), slopes(torchs, x), strict=True):
            torch.testing.assert_close(mine, its, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("channels", [1, 3])
def test_derivatives_by_finite_differences(kind: type[Layer], channels: int) -> None:
    layer, _ = pair(kind, channels)
    layer.double()
    x = given(layer, 2, 4, 2).double().requires_grad_()

    def run(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,)).tanh()

    assert torch.autograd.gradcheck(run, (x, *layer.parameters()), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (x, *layer.parameters()), fast_mode=True)


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_under_autocast_it_computes_in_half_precision(kind: type[Layer], channels: int, stored: torch.dtype) -> None:
    ours, torchs = pair(kind, channels)
    x = given(ours).to(stored)
    with torch.autocast("cpu", torch.bfloat16):
        mine = slopes(ours, x)
    truths = slopes(torchs.double(), x.double())
    dtypes = [torch.bfloat16, *2 * [stored], *2 * [torch.float32], stored, *2 * [torch.float32]]
    assert [value.dtype for value in mine] == dtypes
    for value, truth in zip(mine, truths, strict=True):
        assert (value.double() - truth).norm() <= 0.02 * truth.norm()


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize(("kind", "ahead", "back"), [(ConvFromImage, 6, 4), (ConvToImage, 9, 6)])
def test_launches(kind: type[Layer], ahead: int, back: int) -> None:
    """The image is cast as it is padded, and its bias is added and differentiated without a cast of its own."""
    layer, _ = pair(kind, 1)
    x = given(layer).to(memory_format=torch.channels_last)
    x = x if kind is ConvFromImage else x.bfloat16()
    with torch.autocast("cpu", torch.bfloat16), Operations() as forward:
        y = layer(x)
    with Operations() as backward:
        y.backward(torch.ones_like(y))
    assert (len(forward.names), len(backward.names) - 1) == (ahead, back), (forward.names, backward.names)


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("kind", LAYERS)
def test_the_product_leaves_maps_and_images_channels_last(kind: type[Layer]) -> None:
    layer, _ = pair(kind, 3)
    assert layer(given(layer)).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("kind", LAYERS)
def test_an_empty_batch(kind: type[Layer]) -> None:
    ours, torchs = pair(kind, 3)
    x = given(ours, 0)
    assert chooses_product(ours, x)
    assert ours(x).shape == torchs(x).shape


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("kind", LAYERS)
def test_spectral_norm_moves_once_a_pass(kind: type[Layer]) -> None:
    ours, torchs = pair(kind, 1)
    x = given(ours)
    torch.manual_seed(1)
    spectral(ours, True)
    torch.manual_seed(1)
    spectral(torchs, True)
    for _ in range(3):
        torch.testing.assert_close(ours(x), torchs(x))
    torch.testing.assert_close(ours.state_dict(), torchs.state_dict())
    assert chooses_product(ours, x)


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("autocast", [False, True])
def test_it_compiles_as_one_graph(kind: type[Layer], autocast: bool) -> None:
    layer, _ = pair(kind, 1)
    x = given(layer).requires_grad_()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        eager, fused = layer(x), compiled(x)
    assert torch.equal(eager, fused)
    for mine, its in zip(
        *(torch.autograd.grad(y.square().sum(), [x, *layer.parameters()]) for y in (eager, fused)), strict=True
    ):
        torch.testing.assert_close(mine, its)


@pytest.mark.usefixtures("forced")
def test_a_convolution_of_an_odd_side_is_left_to_torch() -> None:
    ours, torchs = pair(ConvFromImage, 1)
    x = given(ours, h=7)
    assert not chooses_product(ours, x)
    assert torch.equal(ours(x), torchs(x))
    assert torch.equal(ours(x[0]), torchs(x[0])), "one image without a batch"


@pytest.mark.usefixtures("forced")
def test_a_choice_of_output_size_is_left_to_torch() -> None:
    ours, torchs = pair(ConvToImage, 1)
    x = given(ours)
    assert torch.equal(ours(x, [13, 21]), torchs(x, [13, 21]))


@pytest.mark.parametrize("kind", LAYERS)
def test_a_cpu_uses_torchs_convolution(kind: type[Layer]) -> None:
    layer, _ = pair(kind, 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert not chooses_product(layer, given(layer))


@pytest.mark.parametrize("kind", LAYERS)
def test_initial_weights_are_torchs(kind: type[Layer]) -> None:
    torch.manual_seed(2)
    ours = pair(kind, 3)[0]
    torch.manual_seed(2)
    torchs = nn.Conv2d(3, WIDTH, 4) if kind is ConvFromImage else nn.ConvTranspose2d(WIDTH, 3, 4)
    torch.testing.assert_close(ours.state_dict(), torchs.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["dcgan", "infogan-mnist"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_trunks_networks_by_products(name: str, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    image, settings = ImageShape(channels, 28), TrunkSettings(name=name, width=4)
    generator = trunks.get(name).generator(10, image, settings).double()
    trunk = trunks.get(name).discriminator(image, settings).double()
    latents = torch.randn(5, 10, dtype=torch.float64)

    def play() -> list[Tensor]:
        images = generator(latents)
        features = trunk(images)
        (slope,) = torch.autograd.grad(features.square().sum(), images, create_graph=True)
        return [features, *torch.autograd.grad(slope.square().sum(), [*generator.parameters()])]

    def convolutions() -> int:
        with Operations() as operations:
            trunk(generator(latents))
        return operations.names.count("aten::convolution")

    its, before = play(), convolutions()
    for kind in LAYERS:
        monkeypatch.setattr(kind, "forced", True)
    for ours, theirs in zip(play(), its, strict=True):
        assert (ours - theirs).abs().max() <= 1e-9 * theirs.abs().max()
    assert convolutions() == before - 2


@pytest.mark.gpu
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_on_a_gpu_the_product_is_as_exact_as_torchs(
    kind: type[Layer], channels: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, torchs = (layer.cuda() for layer in pair(kind, channels))
    x = given(ours, 32, 14, 14).cuda()
    with torch.autocast("cuda", dtype, enabled=dtype is not torch.float32):
        assert chooses_product(ours, x) == (channels == 1 and dtype is not torch.float32)
        monkeypatch.setattr(kind, "forced", True)
        mine, its = slopes(ours, x), slopes(torchs, x)
    exact = slopes(torchs.double(), x.double())
    rounding = torch.finfo(dtype).eps
    for value, other, truth in zip(mine, its, exact, strict=True):
        assert value.dtype is other.dtype
        error, allowed = (value.double() - truth).norm(), (other.double() - truth).norm()
        assert error <= 2 * allowed + rounding * truth.norm()
