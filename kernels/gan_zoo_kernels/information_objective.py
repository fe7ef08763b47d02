"""The information term of InfoGAN from the discriminator's features on: its definition in torch, or its kernels."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import batch_norm, leaky_relu, linear

from . import fused, reference
from .dispatch import Implementation, implementation_for
from .functional import q_head_nll
from .layout import GAUSSIAN, Layout

MAX_ROWS = 1_024  # of a batch whose statistics one program takes
MAX_PARAMETERS = 128  # of Q(c | x), which a program holds for all of its rows
MAX_CODES = 32
_OPERANDS = (torch.float32, torch.float16, torch.bfloat16)


class QHeadTensors(NamedTuple):
    """A Q head of linear, batch norm, leaky ReLU, linear: K features, H hidden units, P parameters of Q(c | x)."""

    weight1: Tensor  # [H, K]
    norm_weight: Tensor  # [H]
    norm_bias: Tensor  # [H]
    running_mean: Tensor  # [H], updated in place
    running_var: Tensor  # [H], updated in place
    weight2: Tensor  # [P, H]
    bias2: Tensor  # [P]
    variances: Tensor  # float32 [C]: σ² of each code with one Gaussian column, updated in place; 1 for other codes


def fuses_information(features: Tensor, layout: Layout, implementation: Implementation | None = None) -> bool:
    """Whether `information_term` takes its own kernels for features [B, K].

    It does so where `implementation_for` chooses Triton, for batches of 2 to 1,024 rows and layouts of up to 128
    columns and 32 codes.
    """
    fits = 2 <= features.shape[0] <= MAX_ROWS and layout.width <= MAX_PARAMETERS and len(layout.columns) <= MAX_CODES
    if not fits or features.dtype not in _OPERANDS:
        return False
    return implementation_for(features.device, implementation, dtype=features.dtype).path == "triton"


def information_term(
    features: Tensor,
    head: QHeadTensors,
    targets: Tensor,
    layout: Layout,
    entropies: Tensor,
    weights: Tensor,
    *,
    unit_gradient: bool = False,
    variance_momentum: float = 0.0,
    momentum: float = 0.1,
    eps: float = 1e-5,
    slope: float = 0.1,
    implementation: Implementation | None = None,
) -> tuple[Tensor, Tensor]:
    """-Σ λ_i L_I(c_i), the summand of both players' losses, and L_I(c_i) = H(c_i) - E[-log Q(c_i | x)] of every code.

    Equations 5 and 6 of InfoGAN (Chen et al. 2016, arXiv:1606.03657). Q's parameters are
    leaky_relu(batch_norm(features @ weight1ᵀ)) @ weight2ᵀ + bias2; the norm is in training mode: it takes the batch's
    mean and biased variance, and moves the running statistics as `torch.nn.BatchNorm1d` does.

    Operands of products are rounded to the features' dtype, or to autocast's where that is on; the kernels do
    everything else in float32. They take batches of 2 to 1,024 rows and layouts of up to 128 columns and 32 codes;
    others take torch's layers and `q_head_nll`.

    Args:
        features: [B, K] floating-point, B ≥ 2.
        head: The Q head's tensors, of any floating-point dtype; float32 master weights need no cast beforehand.
        targets: [B, C] float32, as `q_head_nll` takes them.
        layout: What the P columns mean.
        entropies: H(c_i), float32 [C], nats; a constant.
        weights: λ_i, float32 [C]; a constant.
        unit_gradient: Whether λ_i of a code with a constant variance is multiplied by it, so that the gradient is that
            of a variance of 1.
        variance_momentum: The share of the batch in the running means of (c_i - μ_i)², the constant variances.
        momentum: The share of the batch in the running statistics.
        eps: Added to the variance.
        slope: The leaky ReLU's, below 0.

    Returns: the term, float32 [], differentiable in the features and the five weights (the kernels: once), and the
        bounds, float32 [C + 1] without a gradient: L_I of every code and their sum, nats.
    Raises: ValueError for shapes, devices, targets, entropies or weights that require a gradient, and a batch of
        fewer than 2 rows; TypeError for dtypes.
    """
    _check(features, head, targets, layout, entropies, weights)
    if fuses_information(features, layout, implementation):
        device, dtype = features.device.type, features.dtype
        operand = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else dtype
        return fused.information.information_term(
            features, head, targets, layout, entropies, weights, unit_gradient, variance_momentum, momentum, eps,
            slope, operand,
        )  # fmt: skip
    weight1, norm_weight, norm_bias, running_mean, running_var, weight2, bias2, variances = head
    dtype = features.dtype
    hidden = linear(features, weight1.to(dtype))
    normal = batch_norm(hidden, running_mean, running_var, norm_weight, norm_bias, True, momentum, eps)
    parameters = linear(leaky_relu(normal, slope), weight2.to(dtype), bias2.to(dtype))
    nll = q_head_nll(parameters, targets, layout, implementation=implementation)
    bounds = entropies - at_variances(nll, variances)
    weights = (weights * variances if unit_gradient else weights).to(bounds.dtype)
    record_variances(nll, layout, variances, variance_momentum)
    return -torch.dot(weights, bounds), torch.cat((bounds, bounds.sum(0, keepdim=True))).detach()


def at_variances(nll: Tensor, variances: Tensor) -> Tensor:
    """-log Q(c_i | x) for the constant variances of the codes, from its values for a variance of 1.

    ½ (log 2πσ² + r²/σ²) = nll/σ² + ½ log σ² + (1 - 1/σ²) ½ log 2π of a Gaussian, where nll = ½ (log 2π + r²).

    Args:
        nll: [C], of `q_head_nll`.
        variances: σ² [C], 1 for codes that have no constant variance. It may change before the backward pass.
    """
    precisions = 1 / variances
    return nll * precisions + 0.5 * variances.log() + (1 - precisions) * reference.HALF_LOG_2_PI


@torch.no_grad()
def record_variances(nll: Tensor, layout: Layout, variances: Tensor, momentum: float) -> None:
    """Update σ² [C] of codes with one Gaussian column: running means of (c - μ)², from `q_head_nll` [C].

    They are the constant variances of the greatest likelihood, within the bounds of a learned one.
    """
    for group in layout.groups:
        if momentum and group.kind == GAUSSIAN and group.size == 1:
            squares = 2 * (nll[group.codes] - reference.HALF_LOG_2_PI)
            kept = variances[group.codes].lerp_(squares.to(variances.dtype), momentum)
            kept.clamp_(math.exp(layout.log_var_min), math.exp(layout.log_var_max))


def _check(
    features: Tensor, head: QHeadTensors, targets: Tensor, layout: Layout, entropies: Tensor, weights: Tensor
) -> None:
    if features.ndim != 2 or features.shape[0] < 2:
        raise ValueError(f"features must be [B, K] with B ≥ 2, not {list(features.shape)}")
    batch, width = features.shape
    hidden, codes = head.weight1.shape[0], len(layout.columns)
    shapes: dict[str, tuple[Tensor, tuple[int, ...]]] = {
        "weight1": (head.weight1, (hidden, width)),
        "norm_weight": (head.norm_weight, (hidden,)),
        "norm_bias": (head.norm_bias, (hidden,)),
        "running_mean": (head.running_mean, (hidden,)),
        "running_var": (head.running_var, (hidden,)),
        "weight2": (head.weight2, (layout.width, hidden)),
        "bias2": (head.bias2, (layout.width,)),
        "targets": (targets, (batch, codes)),
        "entropies": (entropies, (codes,)),
        "weights": (weights, (codes,)),
        "variances": (head.variances, (codes,)),
    }
    for name, (tensor, shape) in shapes.items():
        if tensor.shape != shape:
            raise ValueError(f"{name} must be {list(shape)}, not {list(tensor.shape)}")
        if name in ("running_mean", "running_var", "variances") and not tensor.is_contiguous():
            raise ValueError(f"{name} must be contiguous: it is updated in place")
        if tensor.device != features.device:
            raise ValueError(f"features are on {features.device}, {name} on {tensor.device}")
    for name in ("targets", "entropies", "weights", "variances"):
        tensor = shapes[name][0]
        if tensor.requires_grad:
            raise ValueError(f"{name} must be a constant; it requires a gradient")
        if tensor.dtype != torch.float32 and reference.compute_dtype(features) != tensor.dtype:
            raise TypeError(f"{name} must be float32, not {tensor.dtype}")
