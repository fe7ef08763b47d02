"""Distances in feature space, against closed forms and sums written out."""

from __future__ import annotations

import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from gan_zoo.analysis.fidelity import fidelity, frechet, kid, precision_recall


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exact(n: int, mean: Tensor, covariance: Tensor, seed: int = 0) -> Tensor:
    """n points whose sample mean and covariance are exactly these."""
    x = normal(n, len(mean), seed)
    x = x - x.mean(0)
    whitened = torch.linalg.solve_triangular(torch.linalg.cholesky(x.T.cov()), x.T, upper=False).T
    return mean + whitened @ torch.linalg.cholesky(covariance).T


def test_frechet_of_axis_parallel_gaussians_is_its_closed_form() -> None:
    a = exact(50, torch.tensor([1.0, 2.0, 0.0]).double(), torch.diag(torch.tensor([1.0, 4.0, 9.0])).double())
    b = exact(40, torch.tensor([0.0, 2.0, 2.0]).double(), torch.diag(torch.tensor([4.0, 4.0, 1.0])).double(), seed=1)
    assert frechet(a, b) == pytest.approx(1 + 4 + (2 - 1) ** 2 + (3 - 1) ** 2, rel=1e-6)
    assert frechet(a, a) == pytest.approx(0, abs=1e-6)


def test_frechet_of_covariances_that_do_not_commute() -> None:
    zero = torch.zeros(2, dtype=torch.float64)
    s = torch.tensor([[2.0, 1.0], [1.0, 3.0]]).double()
    t = torch.tensor([[4.0, -1.0], [-1.0, 1.0]]).double()
    expected = float(torch.trace(s + t) - 2 * torch.as_tensor(sqrtm((s @ t).numpy()).real).trace())
    assert frechet(exact(30, zero, s), exact(30, zero, t, seed=1)) == pytest.approx(expected, rel=1e-6)


def test_kid_is_the_unbiased_sum() -> None:
    a, b = normal(4, 3, 0), normal(4, 3, 1) + 1

    def k(x: Tensor, y: Tensor) -> float:
        return float((x @ y / 3 + 1) ** 3)

    pairs = [(i, j) for i in range(4) for j in range(4)]
    within = sum(k(a[i], a[j]) + k(b[i], b[j]) for i, j in pairs if i != j) / 12
    between = sum(k(a[i], b[j]) for i, j in pairs) / 16
    assert kid(a, b) == pytest.approx(within - 2 * between, rel=1e-9)


def test_kid_is_zero_on_the_mean_for_one_distribution() -> None:
    same = torch.tensor([kid(normal(40, 3, 2 * s), normal(40, 3, 2 * s + 1)) for s in range(60)])
    error = same.std() / len(same) ** 0.5
    assert same.min() < 0 < same.max()
    assert abs(same.mean()) < 4 * error
    assert kid(normal(40, 3, 0), normal(40, 3, 1) + 1) > same.max()


def test_kid_is_decided_by_its_seed_and_draws_from_no_other() -> None:
    a, b = normal(30, 2, 0), normal(20, 2, 1)
    torch.manual_seed(5)
    first = kid(a, b, seed=3)
    drawn = torch.rand(())
    assert kid(a, b, seed=3) == first
    assert kid(a, b, seed=4) != first
    torch.manual_seed(5)
    assert torch.rand(()) == drawn


def test_precision_and_recall_of_identical_and_of_distant_sets() -> None:
    a = normal(60, 5, 0)
    assert precision_recall(a, a.clone()) == (1.0, 1.0)
    assert precision_recall(a.float(), a.float()) == (1.0, 1.0)
    assert precision_recall(a, a + 1000) == (0.0, 0.0)


def test_samples_of_half_the_data_have_precision_and_lack_recall() -> None:
    left, right = normal(50, 2, 0), normal(50, 2, 1) + 100
    precision, recall = precision_recall(torch.cat([left, right]), normal(100, 2, 2))
    assert precision > 0.9
    assert 0.3 < recall <= 0.5


def test_balls_reach_to_the_kth_other_point() -> None:
    real = torch.tensor([[0.0], [1.0], [3.0]])  # radii 1, 1, 2 with k = 1
    fake = torch.tensor([[-1.0], [-1.1], [5.0], [5.1]])  # radii about 0.1
    precision, recall = precision_recall(real, fake, k=1)
    assert precision == 0.5
    assert recall == 0.0


def test_fidelity_tells_floor_and_ceiling_beside_each_number() -> None:
    real = normal(80, 4, 0)
    pairs = [(real[:40], real[40:]), (real[::2], real[1::2])]
    told = fidelity(real, real[:40] + 50, pairs)
    assert list(told)[:4] == ["frechet", "frechet/floor", "kid", "kid/floor"]
    assert told["frechet/floor"] == pytest.approx(sum(frechet(*pair) for pair in pairs) / 2)
    assert told["frechet"] > 100 * told["frechet/floor"] > 0
    assert told["kid"] > abs(told["kid/floor"])
    assert (told["precision"], told["recall"]) == (0, 0)
    assert told["precision/ceiling"] > 0.5 < told["recall/ceiling"]


def test_a_rank_that_measures_waits_for_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchmetrics would gather the features of all ranks, of which only the first measures."""
    monkeypatch.setattr("torchmetrics.metric.jit_distributed_available", lambda: True)
    features = normal(20, 4, seed=0)
    assert frechet(features, features + 1) == pytest.approx(4)
    assert kid(features, features + 1) > 0
