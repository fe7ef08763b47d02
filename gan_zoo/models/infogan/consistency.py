"""What a code means for real images: self-augmented information maximisation (Hu et al., 2017, arXiv:1702.08720)."""

from __future__ import annotations

import torch
from gan_zoo_kernels import Layout
from gan_zoo_kernels.layout import Kind
from torch import Tensor


def consistency(parameters: Tensor, warped: Tensor, layout: Layout, *, spread: float) -> Tensor:
    """E[CE(Q(c | x), Q(c | T(x)))] - spread · H(E[Q(c | x)]), summed over the categorical codes, in nats.

    A real image and its warped copy T(x) are to get the same code (eq. 4's R_SAT), and all images together are to use
    all of its values (eq. 6's marginal entropy).

    Args:
        parameters: Of Q(c | x) [n, layout.width].
        warped: Of Q(c | T(x)), the same shape.
        layout: Which columns parametrise which code.
        spread: Weight of the entropy of the mean code.
    """
    total = torch.zeros((), device=parameters.device)
    for segment in layout.segments:
        if segment.kind is not Kind.CATEGORICAL:
            continue
        columns = slice(segment.start, segment.start + segment.size)
        probabilities = parameters[:, columns].float().softmax(1)
        log_warped = warped[:, columns].float().log_softmax(1)
        mean = probabilities.mean(0)
        entropy = -(mean * mean.clamp_min(1e-12).log()).sum()
        total = total - (probabilities * log_warped).sum(1).mean() - spread * entropy
    return total
