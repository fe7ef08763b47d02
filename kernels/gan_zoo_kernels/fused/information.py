"""The information term as torch operators, and its gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..layout import Layout, parse_layout
from .information_launchers import Gradients, backward, empty_gradients, empty_results, forward
from .operators import is_differentiated, once_differentiable, register


def _fake_forward(features: Tensor, weight1: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return empty_results(features, weight1.shape[0], parse_layout(*rest[9:12]), rest[-1])


def _fake_backward(upstream: Tensor, *rest: Any) -> Gradients:
    return empty_gradients(*rest[:6], *rest[-2:])


_forward = register(
    "information_term(Tensor features, Tensor weight1, Tensor gain, Tensor shift, Tensor(a!) running_mean, "
    "Tensor(b!) running_variance, Tensor weight2, Tensor bias2, Tensor targets, Tensor entropies, "
    "Tensor weights, str spec, float low, float high, float momentum, float eps, float slope, "
    "ScalarType operand, bool differentiated) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    forward,
    _fake_forward,
)
_backward = register(
    "information_term_backward(Tensor upstream, Tensor features, Tensor weight1, Tensor gain, Tensor shift, "
    "Tensor weight2, Tensor bias2, Tensor normal, Tensor scale, Tensor slopes, float slope, ScalarType operand, "
    "bool of_features, bool of_weights) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    backward,
    _fake_backward,
)


class _Differentiable(torch.autograd.Function):
    """The term as it was computed, with its gradients in the features and the head's weights."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight1: Tensor,
        gain: Tensor,
        shift: Tensor,
        weight2: Tensor,
        bias2: Tensor,
        term: Tensor,
        normal: Tensor,
        scale: Tensor,
        slopes: Tensor,
        slope: float,
        operand: torch.dtype,
    ) -> Tensor:
        ctx.save_for_backward(features, weight1, gain, shift, weight2, bias2, normal, scale, slopes)
        ctx.options = (slope, operand)
        return term.view_as(term)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        sources = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:6]
        found = _backward(upstream[0], *sources, *ctx.options, wanted[0], any(wanted[1:]))
        gradients = (
            once_differentiable(gradient, upstream[0], *sources[:6]) if want else None
            for gradient, want in zip(found, wanted, strict=True)
        )
        return *gradients, None, None, None, None, None, None


def information_term(
    features: Tensor,
    head: tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor],
    targets: Tensor,
    layout: Layout,
    entropies: Tensor,
    weights: Tensor,
    momentum: float,
    eps: float,
    slope: float,
    operand: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """See `gan_zoo_kernels.information_term`; the arguments are trusted here."""
    weight1, gain, shift, running_mean, running_variance, weight2, bias2 = head
    weights_of_head = (t.contiguous() for t in (weight1, gain, shift, weight2, bias2))
    trained = (features if features.stride(1) == 1 else features.contiguous(), *weights_of_head)
    differentiated = is_differentiated(*trained)
    low, high = float(layout.log_var_min), float(layout.log_var_max)
    momentum, eps, slope = float(momentum), float(eps), float(slope)  # as an operator takes them
    statistics = (running_mean, running_variance)
    with torch.no_grad():
        term, bounds, *saved = _forward(
            *trained[:4], *statistics, *trained[4:], *(t.contiguous() for t in (targets, entropies, weights)),
            layout.spec, low, high, momentum, eps, slope, operand, differentiated,
        )  # fmt: skip
    if differentiated:
        term = _Differentiable.apply(*trained, term, *saved, slope, operand)  # type: ignore[no-untyped-call]
    return term, bounds
