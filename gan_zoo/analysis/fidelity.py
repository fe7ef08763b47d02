"""How far generated images lie from real ones, in the space of a network's features.

Fréchet distance and KID are torchmetrics'; precision and recall, which it has not, are here. Features are [n, d].
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from statistics import mean

import torch
from torch import Tensor, nn

NEIGHBOURS = 3
"""k of precision and recall, as in the paper."""
SUBSETS, SUBSET = 50, 1000
"""KID is a mean over so many subsets of at most so many images."""
LEAST = 10
"""Images without which there is no distance to speak of."""

_CHUNK = 1024


class _Given(nn.Identity):
    """Stands where torchmetrics expects a network: features go in and come out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width


def frechet(a: Tensor, b: Tensor) -> float:
    """‖μ_a - μ_b‖² + Tr(Σ_a + Σ_b - 2 (Σ_a Σ_b)^½), the distance of two Gaussians (Heusel et al., 2017, eq. 6)."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    distance = FrechetInceptionDistance(feature=_Given(a.shape[1])).set_dtype(torch.float64)
    distance.update(a.cpu().double(), real=True)
    distance.update(b.cpu().double(), real=False)
    return float(distance.compute())


def kid(a: Tensor, b: Tensor, *, seed: int = 0) -> float:
    """The unbiased MMD² with the kernel (xᵀy / d + 1)³ (Bińkowski et al., 2018, eq. 4), near 0 for one distribution.

    Args:
        a: Features [n, d].
        b: Features [m, d].
        seed: Decides the subsets that it is averaged over.
    """
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.filterwarnings("ignore", module="torchmetrics")  # that it holds the features
        from torchmetrics.image.kid import KernelInceptionDistance

        torch.manual_seed(seed)
        size = min(SUBSET, len(a), len(b))
        distance = KernelInceptionDistance(feature=_Given(a.shape[1]), subsets=SUBSETS, subset_size=size)
        distance.update(a.cpu().double(), real=True)
        distance.update(b.cpu().double(), real=False)
        value, _ = distance.set_dtype(torch.float64).compute()
    return float(value)


def precision_recall(real: Tensor, fake: Tensor, *, k: int = NEIGHBOURS) -> tuple[float, float]:
    """The share of fakes on the manifold of the reals, and of reals on that of the fakes.

    A manifold is the union of balls about its images that reach to the k-th nearest other (Kynkäänniemi et al., 2019,
    eqs. 1 to 3).
    """
    real, fake = real.double(), fake.double()
    return _within(fake, real, _radii(real, k)), _within(real, fake, _radii(fake, k))


def _radii(features: Tensor, k: int) -> Tensor:
    """Distance [n] of each to its k-th nearest other; the nearest of all is itself."""
    k = min(k, len(features) - 1)
    return torch.cat([torch.cdist(part, features).kthvalue(k + 1).values for part in features.split(_CHUNK)])


def _within(points: Tensor, centres: Tensor, radii: Tensor) -> float:
    """The share of points in at least one of the balls."""
    inside = [(torch.cdist(part, centres) <= radii).any(1) for part in points.split(_CHUNK)]
    return float(torch.cat(inside).double().mean())


def fidelity(real: Tensor, fake: Tensor, halves: Sequence[tuple[Tensor, Tensor]], *, seed: int = 0) -> dict[str, float]:
    """Distances of samples from the data, each beside what two sets of real images have on the mean.

    Args:
        real: Features [n, d] of real images.
        fake: Features [n, d] of samples.
        halves: Pairs of features of real images, none in both of a pair: about what a generator of the data's own
            distribution has (`floor`, `ceiling`), if the pairs are as large as the sets that are compared. Fréchet's
            distance is biased upwards by 1/n: a floor of smaller pairs is too high.
        seed: Decides KID's subsets.
    """
    distances = _distances(real, fake, seed)
    among = [_distances(*pair, seed) for pair in halves]
    bound = {"frechet": "floor", "kid": "floor", "precision": "ceiling", "recall": "ceiling"}
    beside = {f"{name}/{bound[name]}": mean(pair[name] for pair in among) for name in distances}
    return {key: {**distances, **beside}[key] for name in distances for key in (name, f"{name}/{bound[name]}")}


def _distances(real: Tensor, fake: Tensor, seed: int) -> dict[str, float]:
    precision, recall = precision_recall(real, fake)
    return {
        "frechet": frechet(real, fake),
        "kid": kid(real, fake, seed=seed),
        "precision": precision,
        "recall": recall,
    }
