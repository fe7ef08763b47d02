"""Training batch norm with the leaky ReLU that follows it: the plain torch that defines it, and the public function."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from . import fused
from .dispatch import Implementation, implementation_for


def leaky_relu(x: Tensor, slope: float) -> Tensor:
    """x where positive, else slope · x; a slope of 1 is the identity."""
    if slope == 1:
        return x
    return functional.leaky_relu(x, slope) if slope else functional.relu(x)


def batch_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    *,
    rows: int | None = None,
    momentum: float = 0.1,
    eps: float = 1e-5,
    slope: float = 1.0,
    implementation: Implementation | None = None,
) -> Tensor:
    """Batch norm (Ioffe & Szegedy, 2015) by the statistics of each lot of `rows` images, then leaky ReLU.

    The Triton kernels take x whose memory is rows of channels: contiguous [n, C], or [n, C, h, w] in
    `torch.channels_last`. Any other layout takes the reference.

    Args:
        x: [n, C] or [n, C, h, w], floating-point.
        weight, bias: [C], the gain and shift of each channel.
        running_mean, running_var: [C], contiguous; updated in place, one lot after the other, as torch does: the
            variance that they record is the unbiased one. None for both records nothing.
        rows: Images of a lot; the last lot may have fewer. None takes all as one lot.
        momentum: Weight of a lot in the running statistics.
        eps: Added to the variance.
        slope: Of the leaky ReLU for negative numbers; 0 is ReLU, 1 leaves it out.

    Returns: shape and dtype of x. Statistics are computed in float32, or in float64 for float64 tensors.
    Raises: ValueError for shapes, devices, a lot with a single value per channel, or only one running statistic.
    """
    rows = len(x) if rows is None else rows
    _check(x, weight, bias, running_mean, running_var, rows)
    in_rows = x.is_contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x.is_contiguous()
    dtype = torch.promote_types(x.dtype, weight.dtype)
    if implementation_for(x.device, implementation, dtype=dtype).path == "triton" and in_rows:
        return fused.batch_norm.batch_norm(x, weight, bias, running_mean, running_var, rows, momentum, eps, slope)
    lots = [
        functional.batch_norm(lot, running_mean, running_var, weight, bias, True, momentum, eps)
        for lot in x.split(rows)
    ]
    return leaky_relu(torch.cat(lots) if len(lots) > 1 else lots[0], slope)


def _check(
    x: Tensor, weight: Tensor, bias: Tensor, running_mean: Tensor | None, running_var: Tensor | None, rows: int
) -> None:
    if x.ndim not in (2, 4) or rows < 1:
        raise ValueError(
            f"x must be [n, C] or [n, C, h, w] in lots of at least 1, not {list(x.shape)} in lots of {rows}"
        )
    images, channels, *space = x.shape
    pixels = space[0] * space[1] if space else 1
    if min(rows, (images - 1) % rows + 1) * pixels < 2:
        raise ValueError(f"x {list(x.shape)} in lots of {rows}: a lot needs 2 or more values per channel")
    if (running_mean is None) != (running_var is None):
        raise ValueError("running_mean and running_var must both be tensors or both None")
    named = {"weight": weight, "bias": bias, "running_mean": running_mean, "running_var": running_var}
    for name, tensor in named.items():
        if tensor is None:
            continue
        if tensor.shape != (channels,):
            raise ValueError(f"{name} must be [{channels}], not {list(tensor.shape)}")
        if tensor.device != x.device:
            raise ValueError(f"x is on {x.device}, {name} on {tensor.device}")
