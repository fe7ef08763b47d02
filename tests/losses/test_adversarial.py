"""Adversarial losses against their definitions, written out on Python's own floats."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log
from statistics import fmean

import pytest
import torch

from gan_zoo.losses.adversarial import AdversarialLoss
from gan_zoo.registry import losses

REAL = [1.5, -0.25, 0.0, 3.0]
FAKE = [-2.0, 0.5, 1.25, -0.75]


def sigmoid(t: float) -> float:
    return 1 / (1 + exp(-t))


def d_cross_entropy(real: list[float], fake: list[float]) -> float:
    return -fmean(log(sigmoid(t)) for t in real) - fmean(log(1 - sigmoid(t)) for t in fake)


def d_least_squares(real: list[float], fake: list[float]) -> float:
    return fmean((t - 1) ** 2 for t in real) / 2 + fmean(t**2 for t in fake) / 2


def d_hinge(real: list[float], fake: list[float]) -> float:
    return -fmean(min(0, -1 + t) for t in real) - fmean(min(0, -1 - t) for t in fake)


def d_wasserstein(real: list[float], fake: list[float]) -> float:
    return fmean(fake) - fmean(real)


def d_relativistic(real: list[float], fake: list[float]) -> float:
    return -fmean(log(sigmoid(r - f)) for r, f in zip(real, fake, strict=True))


Definition = Callable[[list[float], list[float]], float]
DEFINITIONS: dict[str, tuple[Definition, Definition]] = {  # both of (real, fake)
    "non-saturating": (d_cross_entropy, lambda _, fake: -fmean(log(sigmoid(t)) for t in fake)),
    "saturating": (d_cross_entropy, lambda _, fake: fmean(log(1 - sigmoid(t)) for t in fake)),
    "least-squares": (d_least_squares, lambda _, fake: fmean((t - 1) ** 2 for t in fake) / 2),
    "hinge": (d_hinge, lambda _, fake: -fmean(fake)),
    "wasserstein": (d_wasserstein, lambda _, fake: -fmean(fake)),
    "relativistic": (d_relativistic, lambda real, fake: d_relativistic(fake, real)),
}
NAMES = sorted(DEFINITIONS)


def get(name: str) -> AdversarialLoss:
    loss = losses.get(name)
    assert isinstance(loss, AdversarialLoss)
    return loss


def test_every_registered_loss_is_defined_here() -> None:
    built_in = [name for name, entry in losses.entries.items() if entry.origin == "gan-zoo"]
    assert sorted(built_in) == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_value_is_the_definitions(name: str, column: bool, dtype: torch.dtype) -> None:
    real, fake = (torch.tensor(t, dtype=dtype) for t in (REAL, FAKE))  # exact in every dtype
    if column:
        fake = fake[:, None]
    loss, (discriminator, generator) = get(name), DEFINITIONS[name]
    for value, expected in (
        (loss.discriminator(real=real, fake=fake), discriminator(REAL, FAKE)),
        (loss.generator(real=real, fake=fake), generator(REAL, FAKE)),
    ):
        assert value.dtype == torch.float32
        assert value.shape == ()
        assert value.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "discriminator", "generator"),
    [
        ("non-saturating", 2 * log(2), log(2)),
        ("saturating", 2 * log(2), -log(2)),
        ("least-squares", 0.5, 0.5),
        ("hinge", 2.0, 0.0),
        ("wasserstein", 0.0, 0.0),
        ("relativistic", log(2), log(2)),
    ],
)
def test_value_where_d_cannot_tell(name: str, discriminator: float, generator: float) -> None:
    zero = torch.zeros(5)
    assert get(name).discriminator(real=zero, fake=zero).item() == pytest.approx(discriminator)
    assert get(name).generator(real=zero, fake=zero).item() == pytest.approx(generator)


@pytest.mark.parametrize("name", NAMES)
def test_players_pull_apart(name: str) -> None:
    """D raises reals and lowers fakes, and G raises fakes, at logits that are not yet right."""
    real = torch.tensor([0.3, -0.2], requires_grad=True)
    fake = torch.tensor([0.1, 0.4], requires_grad=True)
    to_real, to_fake = torch.autograd.grad(get(name).discriminator(real=real, fake=fake), (real, fake))
    assert (to_real < 0).all()
    assert (to_fake > 0).all()
    (to_fake,) = torch.autograd.grad(get(name).generator(real=real.detach(), fake=fake), fake)
    assert (to_fake < 0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("sign", [-1, 1])
def test_huge_logits_stay_finite(name: str, dtype: torch.dtype, sign: int) -> None:
    real = torch.full((3,), 1e4 * sign, dtype=dtype, requires_grad=True)
    fake = torch.full((3,), -1e4 * sign, dtype=dtype, requires_grad=True)
    loss = get(name)
    total = loss.discriminator(real=real, fake=fake) + loss.generator(real=real, fake=fake)
    gradients = torch.autograd.grad(total, (real, fake))
    assert torch.isfinite(total)
    assert all(torch.isfinite(g).all() for g in gradients)


def test_huge_logits_cost_what_they_miss_by() -> None:
    right, wrong = torch.full((3,), 1e4), torch.full((3,), -1e4)
    assert get("non-saturating").discriminator(real=right, fake=wrong).item() == 0
    assert get("non-saturating").discriminator(real=wrong, fake=right).item() == 2e4
    assert get("saturating").generator(real=right, fake=right).item() == -1e4
    assert get("relativistic").discriminator(real=wrong, fake=right).item() == 2e4


def test_generator_gradients_part_where_d_is_sure() -> None:
    """At logit t, the saturating gradient is −σ(t) and the other −σ(−t): equal at 0, e^t apart below it."""
    for t in (0.0, -10.0):
        fake = torch.tensor([t], dtype=torch.float64, requires_grad=True)
        gradient = {}
        for name in ("saturating", "non-saturating"):
            (g,) = torch.autograd.grad(get(name).generator(real=fake.detach(), fake=fake), fake)
            gradient[name] = g.item()
        assert gradient["saturating"] == pytest.approx(-sigmoid(t), rel=1e-5)
        assert gradient["non-saturating"] == pytest.approx(-sigmoid(-t), rel=1e-5)


COUNTS = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 1, 1])  # p = (¾, ¼) for reals, q = (¼, ¾) for fakes


@pytest.mark.parametrize(
    ("name", "optimum"),
    [
        ("non-saturating", [log(3), -log(3)]),  # log p/q: Goodfellow et al., 2014, proposition 1
        ("least-squares", [0.75, 0.25]),  # p / (p + q): Mao et al., 2017, eq. 5
        ("hinge", [1.0, -1.0]),  # sign(p − q)
    ],
)
def test_optimal_discriminator(name: str, optimum: list[float]) -> None:
    real, fake = COUNTS
    loss = get(name).discriminator
    best = torch.tensor(optimum)
    at_best = loss(real=best[real], fake=best[fake])
    for step in (0.05, -0.05):
        for i in range(2):
            moved = best.clone()
            moved[i] += step
            assert loss(real=moved[real], fake=moved[fake]) > at_best


def test_optimal_cross_entropy_is_the_jensen_shannon_divergence() -> None:
    """−min = 2 JSD(p, q) − 2 log 2: Goodfellow et al., 2014, theorem 1."""
    real, fake = COUNTS
    best = torch.tensor([log(3), -log(3)])
    divergence = 0.75 * log(0.75 / 0.5) + 0.25 * log(0.25 / 0.5)  # KL(p, m) = KL(q, m), by symmetry
    value = get("non-saturating").discriminator(real=best[real], fake=best[fake])
    assert value.item() == pytest.approx(2 * log(2) - 2 * divergence, rel=1e-6)


def test_only_differences_count_where_reals_and_fakes_are_compared() -> None:
    real, fake = torch.tensor(REAL), torch.tensor(FAKE)
    for name, free in {"relativistic": True, "wasserstein": True, "non-saturating": False}.items():
        loss = get(name).discriminator
        assert torch.allclose(loss(real=real + 5, fake=fake + 5), loss(real=real, fake=fake), atol=1e-5) == free


def test_relativistic_pairs_in_order() -> None:
    """The i-th real meets the i-th fake: exchanging two fakes changes the value."""
    real, fake = torch.tensor([0.0, 4.0]), torch.tensor([0.0, 4.0])
    loss = get("relativistic").discriminator
    assert loss(real=real, fake=fake).item() == pytest.approx(log(2))
    assert loss(real=real, fake=fake.flip(0)).item() > 2
