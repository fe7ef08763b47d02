"""Q(c | x): layout of its parameters, the information term, and what encoding reads off."""

from __future__ import annotations

import math

import pytest
import torch
from gan_zoo_kernels import q_head_nll, record_variances
from narrow import MIX, Game
from torch.distributions import Bernoulli, Categorical, Normal

from gan_zoo.models.gan.codes import Code, parse_codes
from gan_zoo.models.infogan.model import InfoGAN
from gan_zoo.models.infogan.q_head import Gaussian, QHead, Variance, posteriors, q_layout

BOUNDS = (-2.0, 1.0)


@pytest.mark.parametrize(
    ("text", "variance", "sizes"),
    [
        ("categorical:10, uniform:2", "learned", [10, 2, 2]),
        ("categorical:10, uniform:2", "fixed", [10, 1, 1]),
        ("gaussian:1, bernoulli:2, categorical:3x2", "learned", [2, 1, 1, 3, 3]),
        ("gaussian:1, bernoulli:2, categorical:3x2", "fixed", [1, 1, 1, 3, 3]),
        (MIX, "learned", [5, 2, 3, 3, 2, 2, 1, 1]),
    ],
)
def test_the_head_has_the_parameters_that_each_code_needs(text: str, variance: str, sizes: list[int]) -> None:
    layout = q_layout(parse_codes(text), variance, BOUNDS)  # type: ignore[arg-type]
    starts = [sum(sizes[:k]) for k in range(len(sizes))]
    assert layout.columns == tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))
    assert QHead(7, layout, hidden=5, norm_kind="batch", codes=parse_codes(text))(torch.randn(4, 7)).shape == (
        4,
        sum(sizes),
    )


@pytest.mark.parametrize("kind", ["batch", "layer", "none"])
def test_the_head_is_linear_norm_leaky_relu_linear(kind: str) -> None:
    codes = parse_codes("categorical:10")
    head = QHead(64, q_layout(codes, "fixed", BOUNDS), hidden=128, norm_kind=kind, codes=codes)  # type: ignore[arg-type]
    norms = {"batch": torch.nn.BatchNorm1d, "layer": torch.nn.LayerNorm, "none": torch.nn.Identity}
    first, norm, activation, last = head
    assert first.weight.shape == (128, 64)
    assert (first.bias is None) == (kind != "none")
    assert isinstance(norm, norms[kind])
    slope = norm.slope if kind == "batch" else activation.negative_slope  # a batch norm computes its activation
    assert slope == 0.1
    assert last.weight.shape == (10, 128)


def independent_nll(
    parameters: torch.Tensor,
    values: torch.Tensor,
    codes: tuple[Code, ...],
    *,
    learned: bool,
    bounds: tuple[float, float],
    variance: float,
) -> list[torch.Tensor]:
    """-E[log Q(c | x)] by torch's distributions in float64."""
    found, start = [], 0
    parameters, values = parameters.double(), values.double()
    for column, code in enumerate(codes):
        value = values[:, column]
        q: torch.distributions.Distribution
        if code.kind == "categorical":
            q, size = Categorical(logits=parameters[:, start : start + code.classes]), code.classes
        elif code.kind == "bernoulli":
            q, size = Bernoulli(logits=parameters[:, start]), 1
        elif learned:
            log_variance = parameters[:, start + 1].clamp(*bounds)
            q, size = Normal(parameters[:, start], (0.5 * log_variance).exp()), 2
        else:
            q, size = Normal(parameters[:, start], variance**0.5), 1
        found.append(-q.log_prob(value).mean())
        start += size
    assert start == parameters.shape[1]
    return found


@pytest.mark.parametrize("variance", ["learned", "fixed", "constant"])
def test_the_bound_is_entropy_less_nll_computed_independently(variance: str) -> None:
    game = Game(
        "infogan",
        infogan__codes=MIX,
        infogan__variance=variance,
        infogan__log_variance_min=-0.02,
        infogan__log_variance_max=0.03,
    )
    model = game.model
    assert isinstance(model, InfoGAN)
    tensors = game.tensors()
    if variance != "learned":
        model.q.variances[[1, 4, 5]] = 0.4  # those of MIX's continuous codes
    parameters = model.q(tensors.fake.features).detach()
    nll = independent_nll(
        parameters,
        tensors.latents.codes,
        model.codes,
        learned=variance == "learned",
        bounds=(-0.02, 0.03),
        variance=0.4,
    )
    expected = [code.entropy - float(n) for code, n in zip(model.codes, nll, strict=True)]
    if variance == "learned":
        log_variances = torch.cat([parameters[:, [6]], parameters[:, [14]], parameters[:, [16]]])
        assert log_variances.min() < -0.02
        assert log_variances.max() > 0.03
    torch.testing.assert_close(
        model.information(tensors.fake.features, tensors.latents).double(),
        torch.tensor(expected).double(),
        rtol=1e-5,
        atol=1e-6,
    )


def test_beyond_its_bounds_a_log_variance_has_no_pull() -> None:
    codes = parse_codes("uniform:1")
    layout = q_layout(codes, "learned", BOUNDS)
    for log_variance, pulled in ((-5.0, False), (0.0, True), (3.0, False)):
        parameters = torch.tensor([[0.3, log_variance]], requires_grad=True)
        q_head_nll(parameters, torch.tensor([[0.9]]), layout).sum().backward()
        assert parameters.grad is not None
        assert bool(parameters.grad[0, 1] != 0) == pulled
        assert parameters.grad[0, 0] != 0


def test_a_code_that_the_image_tells_perfectly_reaches_its_entropy() -> None:
    game = Game("infogan", infogan__codes="categorical:10, bernoulli:1")
    model = game.model
    assert isinstance(model, InfoGAN)
    latents = model.prior.sample(64, seed=0)

    def perfect(_: torch.Tensor) -> torch.Tensor:
        one_hot = torch.nn.functional.one_hot(latents.codes[:, 0].long(), 10).float() * 2 - 1
        return torch.cat([50 * one_hot, 50 * (2 * latents.codes[:, 1:] - 1)], 1)

    model.q.forward = perfect  # type: ignore[method-assign]
    found = model.information(torch.zeros(64, 1), latents)
    assert found.tolist() == pytest.approx([math.log(10), math.log(2)], abs=1e-6)
    assert 2.3025 < float(found[0]) <= math.log(10) + 1e-6


def test_a_head_that_knows_nothing_has_a_bound_of_zero() -> None:
    game = Game("infogan", infogan__codes="categorical:10, bernoulli:1")
    model = game.model
    assert isinstance(model, InfoGAN)
    torch.nn.init.zeros_(model.q[-1].weight)
    torch.nn.init.zeros_(model.q[-1].bias)
    tensors = game.tensors()
    assert model.information(tensors.fake.features, tensors.latents).tolist() == pytest.approx([0, 0], abs=1e-6)


def test_the_bound_of_each_code_their_sum_and_the_entropy_are_told_in_nats() -> None:
    game = Game("infogan", infogan__codes=MIX)
    model = game.model
    assert isinstance(model, InfoGAN)
    tensors = game.tensors()
    metrics = model.discriminator_objective(tensors).metrics
    model.eval()
    entropies = {f"entropy/{code.name}": code.entropy for code in model.codes if code.discrete}
    assert set(metrics) == {"mi", *entropies, *(f"mi/c{k}" for k in range(1, 9))}
    each = [float(metrics[f"mi/c{k}"]) for k in range(1, 9)]
    assert float(metrics["mi"]) == pytest.approx(sum(each), rel=1e-5)
    assert {name: float(metrics[name]) for name in entropies} == pytest.approx(entropies, rel=1e-6)
    assert not any(value.requires_grad for value in metrics.values())


def test_a_posterior_is_what_the_parameters_say() -> None:
    codes = parse_codes("categorical:3, uniform:1, bernoulli:1, gaussian:1")
    layout = q_layout(codes, "learned", BOUNDS)
    parameters = torch.tensor([[0.0, 1.0, 2.0, 0.7, 9.0, -1.0, 0.4, -0.5]])
    found = posteriors(parameters, QHead(2, layout, hidden=2, norm_kind="none", codes=codes), codes)
    assert torch.allclose(found["c1"], torch.tensor([[0.0, 1.0, 2.0]]).softmax(1))  # type: ignore[arg-type]
    assert isinstance(found["c2"], Gaussian)
    assert found["c2"].mean.tolist() == pytest.approx([0.7])
    assert found["c2"].log_variance.tolist() == [1.0]
    assert torch.allclose(found["c3"], torch.tensor([-1.0]).sigmoid())  # type: ignore[arg-type]
    assert found["c4"].log_variance.tolist() == pytest.approx([-0.5])  # type: ignore[union-attr]


@pytest.mark.parametrize("variance", ["fixed", "constant"])
def test_a_constant_variance_starts_with_the_prior_s(variance: Variance) -> None:
    codes = parse_codes("uniform:1, categorical:2, gaussian:1")
    head = QHead(2, q_layout(codes, variance, BOUNDS), hidden=2, norm_kind="none", codes=codes)
    found = posteriors(torch.tensor([[0.7, 0, 0, 0], [0.1, 0, 0, 0]]), head, codes)
    assert isinstance(found["c1"], Gaussian)
    assert isinstance(found["c3"], Gaussian)
    assert found["c1"].log_variance.tolist() == pytest.approx([-math.log(3)] * 2)
    assert found["c3"].log_variance.tolist() == [0.0, 0.0]
    assert found["c1"].mean.tolist() == pytest.approx([0.7, 0.1])


def test_the_variances_are_running_means_of_the_squared_errors_in_d_s_step_alone() -> None:
    game = Game("infogan", infogan__codes="categorical:3, uniform:2", infogan__log_variance_min=-2.0)
    model = game.model
    assert isinstance(model, InfoGAN)
    tensors = game.tensors()
    model.generator_objective(tensors)
    assert model.q.variances.tolist() == pytest.approx([1, 1 / 3, 1 / 3])
    model.discriminator_objective(tensors)
    parameters = model.q(tensors.fake.features)
    errors = (tensors.latents.codes[:, 1:] - parameters[:, 3:]).square().mean(0)
    torch.testing.assert_close(model.q.variances[1:], (0.98 / 3 + 0.02 * errors).detach())
    for _ in range(300):  # towards a mean squared error of 0
        record_variances(torch.full((3,), 0.5 * math.log(2 * math.pi)), model.layout, model.q.variances, 0.02)
    assert model.q.variances.tolist() == pytest.approx([1, math.exp(-2), math.exp(-2)])


@pytest.mark.parametrize("variance", ["fixed", "constant"])
def test_the_gradient_is_that_of_a_variance_of_one_or_of_the_constant_variance(variance: str) -> None:
    game = Game("infogan", infogan__codes="uniform:1", infogan__variance=variance, infogan__lambda_continuous=0.3)
    model = game.model
    assert isinstance(model, InfoGAN)
    model.q.variances.fill_(0.25)
    tensors = game.tensors()
    loss = model.generator_objective(tensors).terms["generator/information"]
    error = (tensors.latents.codes[:, 0] - model.q(tensors.fake.features)[:, 0]).square().mean()
    expected = 0.3 * (0.5 * error / (0.25 if variance == "constant" else 1))
    parameters = [*model.q.parameters()]
    for one, other in zip(*(torch.autograd.grad(x, parameters) for x in (loss, expected)), strict=True):
        torch.testing.assert_close(one, other)
