"""Gradient penalties against critics whose gradient is known, and double backward against differences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gan_zoo.losses.penalties import gradient_penalty, zero_centred_penalty

SHAPE = (4, 2, 3, 3)


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(SHAPE[1:], generator=torch.Generator().manual_seed(0), requires_grad=True)


def batch(seed: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("column", [False, True])
def test_linear_critic(weight: Tensor, column: bool) -> None:
    """D(x) = ⟨w, x⟩ + 3: the gradient is w everywhere."""

    def critic(x: Tensor) -> Tensor:
        logits = (x * weight).sum((1, 2, 3)) + 3
        return logits[:, None] if column else logits

    length = weight.detach().norm()
    penalty = gradient_penalty(critic, batch(1), batch(2), torch.rand(4, 1, 1, 1))
    assert penalty.shape == ()
    assert penalty.item() == pytest.approx((length.item() - 1) ** 2, rel=1e-5)
    (gradient,) = torch.autograd.grad(penalty, weight)
    assert torch.allclose(gradient, 2 * (length - 1) * weight.detach() / length, rtol=1e-4)

    x = batch().requires_grad_()
    penalty = zero_centred_penalty(critic(x), x)
    assert penalty.shape == ()
    assert penalty.item() == pytest.approx(length.item() ** 2 / 2, rel=1e-5)
    (gradient,) = torch.autograd.grad(penalty, weight)
    assert torch.allclose(gradient, weight.detach(), rtol=1e-4)


def test_gradient_penalty_is_taken_between_real_and_fake() -> None:
    """D(x) = ½‖x‖² has gradient x: between ones (real) and zeros (fake) it is ε, of length ε √18."""
    mix = torch.tensor([0.0, 0.25, 0.5, 1.0]).reshape(4, 1, 1, 1)
    penalty = gradient_penalty(lambda x: x.square().sum((1, 2, 3)) / 2, torch.ones(SHAPE), torch.zeros(SHAPE), mix)
    expected = sum((epsilon * 18**0.5 - 1) ** 2 for epsilon in (0.0, 0.25, 0.5, 1.0)) / 4
    assert penalty.item() == pytest.approx(expected, rel=1e-5)


def test_zero_centred_penalty_is_a_mean_over_images() -> None:
    x = batch().requires_grad_()
    penalty = zero_centred_penalty(x.square().sum((1, 2, 3)) / 2, x)
    assert penalty.item() == pytest.approx(0.5 * x.detach().square().sum().item() / 4, rel=1e-5)


def test_flat_critic_has_no_nan() -> None:
    weight = torch.zeros(SHAPE[1:], requires_grad=True)
    penalty = gradient_penalty(lambda x: (x * weight).sum((1, 2, 3)), batch(1), batch(2), torch.rand(4, 1, 1, 1))
    (gradient,) = torch.autograd.grad(penalty, weight)
    assert penalty.item() == 1
    assert torch.equal(gradient, torch.zeros_like(weight))


def test_no_gradient_flows_into_the_images() -> None:
    real, fake = batch(1).requires_grad_(), batch(2).requires_grad_()
    weight = torch.ones(SHAPE[1:], requires_grad=True)
    gradient_penalty(lambda x: (x * weight).square().sum((1, 2, 3)), real, fake, torch.rand(4, 1, 1, 1)).backward()
    assert real.grad is None
    assert fake.grad is None
    assert weight.grad is not None
    assert weight.grad.abs().max() > 0


def smooth_critic(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return torch.tanh(x.flatten(1) @ first) @ second


def smooth_weights() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    shapes = (18, 3), (3,)
    first, second = (torch.randn(s, generator=generator, dtype=torch.float64) / 2 for s in shapes)
    return first.requires_grad_(), second.requires_grad_()


def test_double_backward_of_the_gradient_penalty() -> None:
    real, fake = batch(1, torch.float64), batch(2, torch.float64)
    mix = torch.rand(4, 1, 1, 1, generator=torch.Generator().manual_seed(3))

    def penalty(*weights: Tensor) -> Tensor:
        return gradient_penalty(lambda x: smooth_critic(x, *weights), real, fake, mix)

    assert torch.autograd.gradcheck(penalty, smooth_weights())


def test_double_backward_of_the_zero_centred_penalty() -> None:
    x = batch(1, torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *weights: zero_centred_penalty(smooth_critic(x, *weights), x), smooth_weights()
    )


def test_gradient_penalty_runs_in_float32_under_autocast() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(18, 32), nn.Tanh(), nn.Linear(32, 1))
    seen = []

    def critic(x: Tensor) -> Tensor:
        logits: Tensor = network(x)
        seen.append(logits.dtype)
        return logits

    mix = torch.rand(4, 1, 1, 1)
    outside = gradient_penalty(critic, batch(1), batch(2).bfloat16(), mix)
    with torch.autocast("cpu", torch.bfloat16):
        inside = gradient_penalty(critic, batch(1), batch(2).bfloat16(), mix)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)
    assert seen == [torch.float32, torch.float32]


def test_zero_centred_penalty_of_half_precision_logits() -> None:
    """‖∇D‖² = 18 · 100² is beyond float16's 65504, and the result is not."""
    x = batch().half().requires_grad_()
    penalty = zero_centred_penalty((100 * x).sum((1, 2, 3)), x)
    assert penalty.dtype == torch.float32
    assert penalty.item() == pytest.approx(90_000)
