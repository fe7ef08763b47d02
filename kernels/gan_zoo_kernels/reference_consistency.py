"""The definition of the consistency term, in plain torch; differentiable as often as you like."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .layout import CATEGORICAL, Layout
from .reference import compute_dtype

FLOOR = 1e-12
"""A mean probability's logarithm is that of this value where the probability is smaller."""


def consistency(
    parameters: Tensor,
    warped: Tensor,
    layout: Layout,
    spread: float,
    log_priors: Sequence[Tensor] | None,
    over_ranks: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """See `gan_zoo_kernels.consistency`; the arguments are trusted here."""
    dtype = compute_dtype(parameters, warped)
    total = torch.zeros((), dtype=dtype, device=parameters.device)
    for k, columns in enumerate(categorical_columns(layout)):
        probabilities = parameters[:, columns].to(dtype).softmax(1)
        log_warped = warped[:, columns].to(dtype).log_softmax(1)
        mean = probabilities.mean(0)
        if over_ranks is not None:
            mean = over_ranks(mean)
        entropy = -(mean * mean.clamp_min(FLOOR).log()).sum()
        total = total - (probabilities[: len(warped)] * log_warped).sum(1).mean() - spread * entropy
        if log_priors is not None:
            total = total - spread * (mean * log_priors[k]).sum()
    return total


def categorical_columns(layout: Layout) -> list[slice]:
    """The columns of each categorical code, in the order of the layout."""
    return [c for group in layout.groups if group.kind == CATEGORICAL for c in layout.columns[group.codes]]
