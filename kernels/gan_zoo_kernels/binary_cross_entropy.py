"""The cross-entropy of a discriminator's logits: the plain torch that defines it, and the public function."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from . import fused
from .dispatch import Implementation, implementation_for
from .functional import check_floating

MAX_LOGITS = 4_096
"""One program of the kernel adds all logits; more of them would leave the rest of the GPU idle for too long."""


def binary_cross_entropy(
    *, ones: Tensor | None = None, zeros: Tensor | None = None, implementation: Implementation | None = None
) -> Tensor:
    """−E[log σ(x)] over the logits of label 1, plus −E[log(1 − σ(x))] over those of label 0, in nats.

    Both are softplus, log(1 + eˣ), of −x and of x. For a discriminator they are the terms of Goodfellow et al., 2014
    (arXiv:1406.2661), eq. 1, negated. The fused path, for up to 4,096 logits of each label, is one launch forward and
    one backward, where plain torch makes up to eight each.

    Args:
        ones, zeros: Logits of any shapes, floating-point. None leaves out the term.

    Returns: a float32 scalar; NaN if a tensor is empty.
    Raises: ValueError for two devices or no logits at all; TypeError for dtypes.
    """
    given = [logits for logits in (ones, zeros) if logits is not None]
    if not given:
        raise ValueError("binary_cross_entropy needs logits: ones, zeros, or both")
    check_floating(ones=ones, zeros=zeros)
    first, last = given[0], given[-1]
    if first.device != last.device:
        raise ValueError(f"ones are on {first.device}, zeros on {last.device}")
    widest = torch.float64 if torch.float64 in (first.dtype, last.dtype) else torch.float32
    ones = None if ones is None else ones.flatten()
    zeros = None if zeros is None else zeros.flatten()
    path = implementation_for(first.device, implementation, dtype=widest).path
    if path == "triton" and max(first.numel(), last.numel()) <= MAX_LOGITS:
        return fused.binary_cross_entropy.binary_cross_entropy(ones, zeros)
    terms = []
    if ones is not None:
        terms.append(softplus(-ones.float()).mean())
    if zeros is not None:
        terms.append(softplus(zeros.float()).mean())
    return terms[0] + terms[1] if len(terms) == 2 else terms[0]
