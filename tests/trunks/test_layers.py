"""Normalisation and spectral norm, as trunks and heads use them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from gan_zoo.config import Norm, TrunkSettings
from gan_zoo.shapes import ImageShape
from gan_zoo.trunks.dcgan import DCGAN
from gan_zoo.trunks.layers import LotNorm, activated, norm, spectral


def largest_singular_value(weight: torch.Tensor) -> float:
    return torch.linalg.matrix_norm(weight.detach().flatten(1), 2).item()


def test_layer_norm_is_over_channels_and_space_at_any_size() -> None:
    layer = norm("layer", 6, 2)
    for side in (3, 8):
        out = layer(torch.randn(4, 6, side, side) * 5 + 2)
        assert out.mean((1, 2, 3)).abs().max() < 1e-5
        assert torch.allclose(out.var((1, 2, 3), unbiased=False), torch.ones(4), atol=1e-3)
    assert sum(p.numel() for p in layer.parameters()) == 12


def test_layer_norm_of_features() -> None:
    out = norm("layer", 6, 1)(torch.randn(4, 6) * 5 + 2)
    assert out.mean(1).abs().max() < 1e-5


def test_batch_norm_is_over_examples() -> None:
    assert norm("batch", 6, 2)(torch.randn(9, 6, 3, 3) + 2).mean((0, 2, 3)).abs().max() < 1e-5
    assert norm("batch", 6, 1)(torch.randn(9, 6) + 2).mean(0).abs().max() < 1e-5


def native(layer: LotNorm, slope: float) -> nn.Sequential:
    """torch's norm and activation with the layer's weights and statistics."""
    kind = nn.BatchNorm1d if isinstance(layer, nn.BatchNorm1d) else nn.BatchNorm2d
    plain = nn.Sequential(kind(layer.num_features), nn.LeakyReLU(slope) if slope else nn.ReLU())
    plain[0].load_state_dict(layer.state_dict())
    return plain


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("slope", [0.0, 0.2])
@pytest.mark.parametrize("shape", [(10, 6), (10, 6, 3, 3)], ids=str)
def test_a_batch_norm_with_its_activation_is_torchs_two_layers(
    shape: tuple[int, ...], slope: float, dtype: torch.dtype
) -> None:
    """Values, gradients and running statistics, bit for bit; of lots, those of passes one after the other."""
    torch.manual_seed(0)
    layer, identity = activated("batch", 6, 1 if len(shape) == 2 else 2, slope)
    assert isinstance(layer, LotNorm)
    assert isinstance(identity, nn.Identity)
    nn.init.uniform_(layer.weight, 0.5, 2)
    nn.init.normal_(layer.bias)
    plain, layer.rows = native(layer, slope), 4
    x = torch.randn(shape).to(dtype).requires_grad_()
    y = layer(x)
    expected = torch.cat([plain(lot) for lot in x.split(4)])
    assert torch.equal(y, expected)
    upstream = torch.randn(shape).to(dtype)
    ours = torch.autograd.grad(y, [x, layer.weight, layer.bias], upstream)
    theirs = torch.autograd.grad(expected, [x, *plain.parameters()], upstream)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    for name in ("running_mean", "running_var"):
        assert torch.equal(getattr(layer, name), getattr(plain[0], name))
    assert torch.equal(layer.eval()(x), plain.eval()(x))
    layer.train().track_running_stats = False
    before = layer.running_mean.clone()  # type: ignore[union-attr]
    assert torch.equal(layer(x), y)
    assert torch.equal(layer.running_mean, before)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["layer", "none"])
def test_other_norms_keep_a_layer_for_their_activation(kind: Norm) -> None:
    assert isinstance(activated(kind, 4, 2, 0.0)[1], nn.ReLU)
    leaky = activated(kind, 4, 2, 0.2)[1]
    assert isinstance(leaky, nn.LeakyReLU)
    assert leaky.negative_slope == 0.2


def test_a_batch_norm_can_be_differentiated_twice() -> None:
    layer = activated("batch", 6, 1, 0.2)[0].double()
    assert torch.autograd.gradgradcheck(layer, torch.randn(5, 6, dtype=torch.float64, requires_grad=True))


def test_no_norm_is_the_identity() -> None:
    x = torch.randn(2, 6, 3, 3)
    assert torch.equal(norm("none", 6, 2)(x), x)


def test_spectral_norm_bounds_the_weights_through_training() -> None:
    torch.manual_seed(0)
    trunk = DCGAN.discriminator(ImageShape(1, 28), TrunkSettings(width=4, spectral_norm=True))
    head = spectral(nn.Linear(trunk.width, 1), True)
    weights = [*trunk.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(weights, lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        (-head(trunk(torch.randn(8, 1, 28, 28))).mean()).backward()
        optimizer.step()
    with torch.no_grad():
        for _ in range(20):  # power iteration at fixed weights
            head(trunk(torch.randn(8, 1, 28, 28)))
    head.eval()
    trunk.eval()
    layers = [m for m in (*trunk.modules(), *head.modules()) if is_parametrized(m, "weight")]
    assert len(layers) == 3
    for layer in layers:
        assert largest_singular_value(layer.weight) == pytest.approx(1, abs=0.02)
    raw = [largest_singular_value(layer.parametrizations.weight.original) for layer in layers]
    assert max(abs(value - 1) for value in raw) > 0.1, "the bound would hold without the norm"


def test_spectral_off_leaves_the_module_alone() -> None:
    head = nn.Linear(4, 1)
    assert spectral(head, False) is head
    assert not is_parametrized(head)


def test_spectral_twice_is_spectral_once() -> None:
    head = spectral(spectral(nn.Linear(4, 3), True), True)
    assert len(head.parametrizations.weight) == 1


def test_two_passes_before_one_backward() -> None:
    """Each pass in training mode moves the power iteration; the first pass's gradient must survive it."""
    torch.manual_seed(0)
    trunk = DCGAN.discriminator(ImageShape(1, 28), TrunkSettings(width=2, spectral_norm=True))
    real, fake = trunk(torch.randn(4, 1, 28, 28)), trunk(torch.randn(4, 1, 28, 28))
    (real.square().mean() - 2 * fake.square().mean()).backward()
    assert all(torch.isfinite(p.grad).all() for p in trunk.parameters() if p.grad is not None)
