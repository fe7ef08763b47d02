"""The auxiliary posterior Q(c | x): a small head on the discriminator's trunk (Chen et al., 2016, section 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from gan_zoo_kernels import Layout, QHeadTensors, fuses_information, information_term
from torch import Tensor, nn

from gan_zoo.config import Norm
from gan_zoo.models.gan.codes import Code
from gan_zoo.trunks.layers import LotNorm1d, dense


class Gaussian(NamedTuple):
    """Q of a continuous code for n images: a normal distribution each."""

    mean: Tensor  # [n]
    log_variance: Tensor  # [n]


Posterior = Tensor | Gaussian
SLOPE = 0.1  # of the leaky ReLU
Variance = Literal["fixed", "constant", "learned"]


def q_layout(codes: Sequence[Code], variance: Variance, log_variance: tuple[float, float]) -> Layout:
    """Which columns of the head's output parametrise which code."""
    continuous = "gaussian:2" if variance == "learned" else "gaussian:1"
    return Layout("|".join(code.spec if code.discrete else continuous for code in codes), *log_variance)


class QHead(nn.Sequential):
    """Features [n, width] to the parameters of Q [n, layout.width]: linear, norm, leaky ReLU, linear.

    Args:
        width: Number of features.
        layout: Which columns of the output parametrise which code.
        hidden: Hidden units.
        norm_kind: Their normalisation.
        codes: The codes. One whose variance is no output starts with that of its prior.

    Attributes:
        variances: σ² of each code, [number of codes]: the running mean of (c - μ)², the constant variance of greatest
            likelihood; 1 for codes without one.
    """

    variances: Tensor

    def __init__(self, width: int, layout: Layout, *, hidden: int, norm_kind: Norm, codes: Sequence[Code]) -> None:
        super().__init__(*dense(width, hidden, norm_kind, SLOPE), nn.Linear(hidden, layout.width))
        self.layout = layout
        sizes = [columns.stop - columns.start for columns in layout.columns]
        variances = [code.variance if size == 1 else 1.0 for code, size in zip(codes, sizes, strict=True)]
        self.register_buffer("variances", torch.tensor(variances))

    def fuses(self, features: Tensor) -> bool:
        """Whether `information` is available: for a batch norm in training on this rank, and where its kernels are."""
        norm = self[1]
        recorded = type(norm) is LotNorm1d and norm.training and norm.track_running_stats
        return recorded and fuses_information(features, self.layout)

    def information(
        self,
        features: Tensor,
        codes: Tensor,
        entropies: Tensor,
        weights: Tensor,
        *,
        unit_gradient: bool,
        variance_momentum: float,
    ) -> tuple[Tensor, Tensor]:
        """-Σ λ_i L_I(c_i) and L_I by code with the sum last, without a gradient: eq. 5 and 6, through one function.

        Args:
            features: Of the images that were generated, [n, width].
            codes: What they were generated from, [n, number of codes].
            entropies: H(c) of each code, nats.
            weights: λ of each code.
            unit_gradient: Whether λ of a code with a constant variance is multiplied by it.
            variance_momentum: The share of this batch in the variances.
        """
        first, norm, _, last = self
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        assert isinstance(norm, LotNorm1d)
        assert norm.momentum is not None
        assert norm.running_mean is not None
        assert norm.running_var is not None
        statistics = (norm.running_mean, norm.running_var)
        head = QHeadTensors(first.weight, norm.weight, norm.bias, *statistics, last.weight, last.bias, self.variances)
        return information_term(
            features, head, codes, self.layout, entropies, weights,
            unit_gradient=unit_gradient, variance_momentum=variance_momentum,
            momentum=norm.momentum, eps=norm.eps, slope=SLOPE,
        )  # fmt: skip


def posteriors(parameters: Tensor, q: QHead, codes: Sequence[Code]) -> dict[str, Posterior]:
    """Q(c | x) by code, from the head's output [n, layout.width].

    Returns:
        For a categorical code its probabilities [n, K], for a bernoulli code P(c = 1) [n], for a continuous one the
        mean and log-variance.
    """
    result: dict[str, Posterior] = {}
    for code, columns, variance in zip(codes, q.layout.columns, q.variances, strict=True):
        output = parameters[:, columns].float()
        if code.kind == "categorical":
            result[code.name] = output.softmax(1)
        elif code.kind == "bernoulli":
            result[code.name] = output[:, 0].sigmoid()
        elif output.shape[1] == 2:
            log_variance = output[:, 1].clamp(q.layout.log_var_min, q.layout.log_var_max)
            result[code.name] = Gaussian(output[:, 0], log_variance)
        else:
            result[code.name] = Gaussian(output[:, 0], torch.zeros_like(output[:, 0]) + variance.log())
    return result
