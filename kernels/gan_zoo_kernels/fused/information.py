"""The fused information term and its gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..layout import Layout
from .information_launchers import backward, forward
from .operators import is_differentiated, once_differentiable


class _Differentiable(torch.autograd.Function):
    """The term as it was computed, with its gradients in the first six of `saved`: the features and five weights."""

    @staticmethod
    def forward(ctx: Any, term: Tensor, slope: float, operand: torch.dtype, *saved: Tensor) -> Tensor:
        ctx.save_for_backward(*saved)
        ctx.options = (slope, operand)
        return term.view_as(term)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        saved, wanted = ctx.saved_tensors, ctx.needs_input_grad[3:9]
        gradients = backward(upstream[0], *saved, *ctx.options, wanted[0], any(wanted[1:]))
        guarded = (
            once_differentiable(gradient, upstream[0], *saved[:6]) if want else None
            for gradient, want in zip(gradients, wanted, strict=True)
        )
        return None, None, None, *guarded, None, None, None


def information_term(
    features: Tensor,
    head: tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor],
    targets: Tensor,
    layout: Layout,
    entropies: Tensor,
    weights: Tensor,
    unit_gradient: bool,
    variance_momentum: float,
    momentum: float,
    eps: float,
    slope: float,
    operand: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """See `gan_zoo_kernels.information_term`; the arguments are trusted here."""
    weight1, norm_weight, norm_bias, running_mean, running_var, weight2, bias2, variances = head
    trained = (
        features if features.stride(1) == 1 else features.contiguous(),
        *(t.contiguous() for t in (weight1, norm_weight, norm_bias, weight2, bias2)),
    )
    differentiated = is_differentiated(*trained)
    slope = float(slope)  # as an operator takes it
    with torch.no_grad():
        term, bounds, *saved = forward(
            *trained[:4], running_mean, running_var, *trained[4:],
            *(t.contiguous() for t in (targets, entropies, weights)), variances,
            layout.spec, float(layout.log_var_min), float(layout.log_var_max), unit_gradient, float(variance_momentum),
            float(momentum), float(eps), slope, operand, differentiated,
        )  # fmt: skip
    if differentiated:
        term = _Differentiable.apply(term, slope, operand, *trained, *saved)  # type: ignore[no-untyped-call]
    return term, bounds
