"""What a code means for real images: self-augmented information maximisation (Hu et al., 2017, arXiv:1702.08720)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from gan_zoo_kernels import Layout
from gan_zoo_kernels.layout import Kind
from torch import Tensor


def consistency(
    parameters: Tensor, warped: Tensor, layout: Layout, *, spread: float, log_priors: Sequence[Tensor] | None = None
) -> Tensor:
    """E[CE(Q(c | x), Q(c | T(x)))] + spread · KL(E[Q(c | x)] ‖ P(c)), summed over the categorical codes, in nats.

    A real image and its warped copy T(x) are to get the same code, and all images together are to use its values as
    often as the prior does (Krause et al., 2010, section 3). Under a uniform prior the second is log K less the entropy
    of the mean code; there the constant log K is left out of the value.

    The paper holds Q(c | x) fixed in the first (its R_SAT) and rewards certainty, -H(c | x), by a summand of its own.
    Here both sides are trained: CE(p, q) = KL(p ‖ q) + H(p), so that certainty is asked for with weight 1.

    Args:
        parameters: Of Q(c | x) [n, layout.width].
        warped: Of Q(c | T(x)) of all images, or of the first m of them, [m, layout.width].
        layout: Which columns parametrise which code.
        spread: Weight of the divergence of the mean code from the prior.
        log_priors: log P(c) [K] of each categorical code in the order of the layout; none where all are uniform.
    """
    total = torch.zeros((), device=parameters.device)
    for k, columns in enumerate(_categorical(layout)):
        probabilities = parameters[:, columns].float().softmax(1)
        log_warped = warped[:, columns].float().log_softmax(1)
        mean = probabilities.mean(0)
        entropy = -(mean * mean.clamp_min(1e-12).log()).sum()
        total = total - (probabilities[: len(warped)] * log_warped).sum(1).mean() - spread * entropy
        if log_priors is not None:
            total = total - spread * (mean * log_priors[k]).sum()
    return total


def mismatch(parameters: Tensor, layout: Layout, log_priors: Sequence[Tensor]) -> Tensor:
    """KL(E[Q(c | x)] ‖ P(c)), summed over the categorical codes, in nats.

    As a function of the prior alone it is least where P(c) = E[Q(c | x)], or as near to it as the prior's floor lets.

    Args:
        parameters: Of Q(c | x) [n, layout.width].
        layout: Which columns parametrise which code.
        log_priors: log P(c) [K] of each categorical code, in the order of the layout.
    """
    total = torch.zeros((), device=parameters.device)
    for columns, log_prior in zip(_categorical(layout), log_priors, strict=True):
        mean = parameters[:, columns].float().softmax(1).mean(0)
        total = total + (mean * (mean.clamp_min(1e-12).log() - log_prior)).sum()
    return total


def _categorical(layout: Layout) -> list[slice]:
    """The columns of each categorical code."""
    return [slice(s.start, s.start + s.size) for s in layout.segments if s.kind is Kind.CATEGORICAL]
