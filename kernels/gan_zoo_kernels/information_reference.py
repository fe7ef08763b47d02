"""The definition of `information_term`, in plain torch: a Q head in training mode and the bound on its codes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import batch_norm, leaky_relu, linear

from .layout import Layout


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
    q_head_nll: Callable[[Tensor, Tensor, Layout], Tensor],
) -> tuple[Tensor, Tensor]:
    """L_I(c_i) = H(c_i) - E[-log Q(c_i | x)] (eq. 5 of arXiv:1606.03657) with their sum, and -Σ λ_i L_I(c_i)."""
    weight1, norm_weight, norm_bias, running_mean, running_var, weight2, bias2 = head
    dtype = features.dtype
    hidden = linear(features, weight1.to(dtype))
    normal = batch_norm(hidden, running_mean, running_var, norm_weight, norm_bias, True, momentum, eps)
    parameters = linear(leaky_relu(normal, slope), weight2.to(dtype), bias2.to(dtype))
    bounds = entropies - q_head_nll(parameters, targets, layout)
    return -torch.dot(weights.to(bounds.dtype), bounds), torch.cat((bounds, bounds.sum(0, keepdim=True))).detach()
