"""Distances between generated and real images in the space of a network's features.

Fréchet distance and KID are torchmetrics'; precision and recall are implemented here. Features are [n, d].
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn

NEIGHBOURS = 3
"""k of precision and recall, as in the paper."""
SUBSETS, SUBSET = 50, 1000
"""Number of subsets that KID averages over, and their maximum size."""
LEAST = 10
"""Minimum number of images for a meaningful distance."""

_CHUNK = 1024
_ALONE: dict[str, Any] = {"sync_on_compute": False}
"""For torchmetrics: rank 0 measures while the other ranks wait for it, and would wait for them."""


class _Given(nn.Identity):
    """The identity, in place of the network that torchmetrics expects: its inputs are features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width


def frechet(a: Tensor, b: Tensor) -> float:
    """Fréchet distance ‖μ_a - μ_b‖² + Tr(Σ_a + Σ_b - 2 (Σ_a Σ_b)^½) (Heusel et al., 2017, eq. 6)."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    distance = FrechetInceptionDistance(feature=_Given(a.shape[1]), **_ALONE).set_dtype(torch.float64)
    distance.update(a.cpu().double(), real=True)
    distance.update(b.cpu().double(), real=False)
    return float(distance.compute())


def kid(a: Tensor, b: Tensor, *, seed: int = 0) -> float:
    """The unbiased MMD² with the kernel (xᵀy / d + 1)³ (Bińkowski et al., 2018, eq. 4), near 0 for equal distributions.

    Args:
        a: Features [n, d].
        b: Features [m, d].
        seed: Seed of the subsets.
    """
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.filterwarnings("ignore", module="torchmetrics")  # about the memory that it takes
        from torchmetrics.image.kid import KernelInceptionDistance

        torch.manual_seed(seed)
        size = min(SUBSET, len(a), len(b))
        distance = KernelInceptionDistance(feature=_Given(a.shape[1]), subsets=SUBSETS, subset_size=size, **_ALONE)
        distance.update(a.cpu().double(), real=True)
        distance.update(b.cpu().double(), real=False)
        value, _ = distance.set_dtype(torch.float64).compute()
    return float(value)


def precision_recall(real: Tensor, fake: Tensor, *, k: int = NEIGHBOURS) -> tuple[float, float]:
    """The fraction of fakes on the manifold of the reals, and of reals on that of the fakes.

    A manifold is the union of balls around its images, each with the distance to the k-th nearest other image as its
    radius (Kynkäänniemi et al., 2019, eqs. 1 to 3).
    """
    real, fake = real.double(), fake.double()
    return _within(fake, real, _radii(real, k)), _within(real, fake, _radii(fake, k))


def _radii(features: Tensor, k: int) -> Tensor:
    """The distance [n] of each image to its k-th nearest other; the nearest of all is itself."""
    k = min(k, len(features) - 1)
    return torch.cat([torch.cdist(part, features).kthvalue(k + 1).values for part in features.split(_CHUNK)])


def _within(points: Tensor, centres: Tensor, radii: Tensor) -> float:
    """The fraction of points in at least one of the balls."""
    inside = [(torch.cdist(part, centres) <= radii).any(1) for part in points.split(_CHUNK)]
    return float(torch.cat(inside).double().mean())


def fidelity(real: Tensor, fake: Tensor, halves: Sequence[tuple[Tensor, Tensor]], *, seed: int = 0) -> dict[str, float]:
    """Distances of samples from the data, each with the mean over pairs of sets of real images.

    Args:
        real: Features [n, d] of real images.
        fake: Features [n, d] of samples.
        halves: Pairs of features of disjoint sets of real images. Their means (`floor`, `ceiling`) are about what a
            perfect generator reaches, if these sets are as large as the compared ones. The Fréchet distance has a bias
            of order 1/n, so smaller sets give too high a floor.
        seed: Seed of KID's subsets.
    """
    distances = _distances(real, fake, seed)
    among = [_distances(*pair, seed) for pair in halves]
    bound = {"frechet": "floor", "kid": "floor", "precision": "ceiling", "recall": "ceiling"}
    bounds = {f"{name}/{bound[name]}": mean(pair[name] for pair in among) for name in distances}
    return {key: {**distances, **bounds}[key] for name in distances for key in (name, f"{name}/{bound[name]}")}


def _distances(real: Tensor, fake: Tensor, seed: int) -> dict[str, float]:
    precision, recall = precision_recall(real, fake)
    return {
        "frechet": frechet(real, fake),
        "kid": kid(real, fake, seed=seed),
        "precision": precision,
        "recall": recall,
    }
