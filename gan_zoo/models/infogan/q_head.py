"""The auxiliary posterior Q(c | x): a small head on the discriminator's trunk (Chen et al., 2016, section 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from gan_zoo_kernels import Layout, QHeadTensors, fuses_information, information_term
from torch import Tensor, nn

from gan_zoo.config import Norm
from gan_zoo.models.gan.codes import Code
from gan_zoo.trunks.layers import LotNorm1d, norm


class Gaussian(NamedTuple):
    """Q of a continuous code for n images: a normal distribution each."""

    mean: Tensor  # [n]
    log_variance: Tensor  # [n]


Posterior = Tensor | Gaussian
SLOPE = 0.1  # of the leaky ReLU


def q_layout(codes: Sequence[Code], variance: Literal["fixed", "learned"], log_variance: tuple[float, float]) -> Layout:
    """Which columns of the head's output parametrise which code."""
    continuous = "gaussian:2" if variance == "learned" else "gaussian:1"
    return Layout("|".join(code.spec if code.discrete else continuous for code in codes), *log_variance)


class QHead(nn.Sequential):
    """Features [n, width] to the parameters of Q [n, layout.width]: linear, norm, leaky ReLU, linear."""

    def __init__(self, width: int, layout: Layout, *, hidden: int, norm_kind: Norm) -> None:
        super().__init__(
            nn.Linear(width, hidden, bias=norm_kind == "none"),
            norm(norm_kind, hidden, dims=1),
            nn.LeakyReLU(SLOPE),
            nn.Linear(hidden, layout.width),
        )
        self.layout = layout

    def fuses(self, features: Tensor) -> bool:
        """Whether `information` is available: for a batch norm in training on this rank, and where its kernels are."""
        norm = self[1]
        recorded = type(norm) is LotNorm1d and norm.training and norm.track_running_stats
        return recorded and fuses_information(features, self.layout)

    def information(self, features: Tensor, codes: Tensor, entropies: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """-Σ λ_i L_I(c_i) and L_I by code with the sum last, without a gradient: eq. 5 and 6, through one function.

        Args:
            features: Of the images that were generated, [n, width].
            codes: What they were generated from, [n, number of codes].
            entropies: H(c) of each code, nats.
            weights: λ of each code.
        """
        first, norm, _, last = self
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        assert isinstance(norm, LotNorm1d)
        assert norm.momentum is not None
        assert norm.running_mean is not None
        assert norm.running_var is not None
        statistics = (norm.running_mean, norm.running_var)
        head = QHeadTensors(first.weight, norm.weight, norm.bias, *statistics, last.weight, last.bias)
        return information_term(
            features, head, codes, self.layout, entropies, weights,
            momentum=norm.momentum, eps=norm.eps, slope=SLOPE,
        )  # fmt: skip


def posteriors(parameters: Tensor, layout: Layout, codes: Sequence[Code]) -> dict[str, Posterior]:
    """Q(c | x) by code, from the head's output [n, layout.width].

    Returns:
        For a categorical code its probabilities [n, K], for a bernoulli code P(c = 1) [n], for a continuous one the
        mean and log-variance.
    """
    result: dict[str, Posterior] = {}
    for code, columns in zip(codes, layout.columns, strict=True):
        q = parameters[:, columns].float()
        if code.kind == "categorical":
            result[code.name] = q.softmax(1)
        elif code.kind == "bernoulli":
            result[code.name] = q[:, 0].sigmoid()
        else:
            learned = q.shape[1] == 2
            bounded = q[:, 1].clamp(layout.log_var_min, layout.log_var_max) if learned else torch.zeros_like(q[:, 0])
            result[code.name] = Gaussian(q[:, 0], bounded)
    return result
