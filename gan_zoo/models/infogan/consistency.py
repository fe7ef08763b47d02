"""What a code means for real images: self-augmented information maximisation (Hu et al., 2017, arXiv:1702.08720)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from gan_zoo_kernels import Layout, consistency
from gan_zoo_kernels.reference_consistency import categorical_columns
from torch import Tensor

from gan_zoo.models.gan.model import Mean, alone

__all__ = ["consistency", "mismatch"]


def mismatch(parameters: Tensor, layout: Layout, log_priors: Sequence[Tensor], over_ranks: Mean = alone) -> Tensor:
    """KL(E[Q(c | x)] ‖ P(c)), summed over the categorical codes, in nats.

    As a function of the prior alone it is least where P(c) = E[Q(c | x)], or as near to it as the prior's floor lets.

    Args:
        parameters: Of Q(c | x) [n, layout.width].
        layout: Which columns parametrise which code.
        log_priors: log P(c) [K] of each categorical code, in the order of the layout.
        over_ranks: The mean over the ranks, each of which has its own images.
    """
    total = torch.zeros((), device=parameters.device)
    for columns, log_prior in zip(categorical_columns(layout), log_priors, strict=True):
        mean = over_ranks(parameters[:, columns].float().softmax(1).mean(0))
        total = total + (mean * (mean.clamp_min(1e-12).log() - log_prior)).sum()
    return total
