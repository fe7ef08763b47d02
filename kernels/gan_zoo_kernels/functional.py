"""The public functions: arguments are checked here, once, and passed to the chosen implementation."""

from __future__ import annotations

from typing import Literal, NoReturn

import torch
from torch import Tensor

from . import fused, reference
from .dispatch import Implementation, implementation_for
from .layout import LOG_VAR_MAX, LOG_VAR_MIN, Layout, check_log_var_bounds

Reduction = Literal["mean", "sum", "none"]

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_FLOATING = frozenset((torch.float32, torch.float16, torch.bfloat16, torch.float64))


def gaussian_nll(
    mean: Tensor,
    log_var: Tensor | None,
    target: Tensor,
    reduction: Reduction = "mean",
    *,
    log_var_min: float = LOG_VAR_MIN,
    log_var_max: float = LOG_VAR_MAX,
    implementation: Implementation | None = None,
) -> Tensor:
    """Negative log-likelihood of a factored Gaussian, in nats and with its constant.

    ½(log 2π + log_var + (target - mean)² e^(-log_var)); -log Q(c | x) of a continuous code (InfoGAN, Chen et
    al. 2016, arXiv:1606.03657, §6).

    Args:
        mean, target: floating-point, any shape; they broadcast together.
        log_var: broadcasts with them, and may also lack the last axis of `mean`, as in torch's
            `gaussian_nll_loss`. It is clamped to [log_var_min, log_var_max] and has gradient 0 outside
            them. None: the variance is 1.
        reduction: "mean" or "sum" over all elements (a scalar), or "none" (the broadcast shape).

    Returns: float32; float64 if an input is float64, which only the reference takes.
    Raises: ValueError for shapes, devices, bounds or a reduction; TypeError for dtypes.
    """
    _check_reduction(reduction)
    check_log_var_bounds(log_var_min, log_var_max)
    shape, device = mean.shape, mean.device
    if log_var is not None and log_var.shape != shape and shape and log_var.shape == shape[:-1]:
        log_var = log_var.unsqueeze(-1)  # torch's rule for one variance a row
    widths = (mean.dtype, target.dtype, mean.dtype if log_var is None else log_var.dtype)
    if not _FLOATING.issuperset(widths):
        check_floating(mean=mean, log_var=log_var, target=target)
    if target.device != device or (log_var is not None and log_var.device != device):
        _refuse_devices(mean=mean, log_var=log_var, target=target)
    if target.shape != shape or (log_var is not None and log_var.shape != shape):
        _check_broadcast(mean=mean, log_var=log_var, target=target)
    dtype = torch.float64 if torch.float64 in widths else torch.float32
    if implementation_for(device, implementation, dtype=dtype).path == "triton":
        return fused.gaussian_nll.gaussian_nll(mean, log_var, target, reduction, log_var_min, log_var_max)
    return reference.gaussian_nll(mean, log_var, target, reduction, log_var_min, log_var_max)


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    reduction: Reduction = "mean",
    *,
    ignore_index: int | None = None,
    implementation: Implementation | None = None,
) -> Tensor:
    """log Σ_k e^(logits_k) - logits_target over the last axis, in nats: -log Q(c | x) of a categorical code.

    Args:
        logits: [..., K] floating-point.
        target: [...] integers in 0 … K - 1, or `ignore_index`. Out of that range the reference on a CPU
            raises and the kernel returns NaN, for it cannot raise without waiting for the device.
        reduction: "mean" (over the rows that are not ignored; NaN if there is none) or "sum": a scalar.
            "none": [...], 0 where ignored.
        ignore_index: rows with this label do not count and have gradient 0. None: no row is ignored.

    Returns: float32 (float64 for float64 logits).
    Raises: ValueError for shapes, devices or a reduction; TypeError for dtypes.
    """
    _check_reduction(reduction)
    if logits.dtype not in _FLOATING:
        check_floating(logits=logits)
    if target.dtype not in _INTEGERS:
        raise TypeError(f"target must have an integer dtype, not {target.dtype}")
    shape, device = logits.shape, logits.device
    if not shape or shape[-1] < 1 or shape[:-1] != target.shape:
        raise ValueError(
            f"logits must be [..., K] and target [...] of the same shape, not {list(shape)} and {list(target.shape)}"
        )
    if target.device != device:
        _refuse_devices(logits=logits, target=target)
    if implementation_for(device, implementation, dtype=logits.dtype).path == "triton":
        return fused.cross_entropy.cross_entropy(logits, target, reduction, ignore_index)
    return reference.cross_entropy(logits, target, reduction, ignore_index)


def q_head_nll(
    parameters: Tensor,
    targets: Tensor,
    layout: Layout,
    *,
    implementation: Implementation | None = None,
) -> Tensor:
    """The batch mean of -log Q(c_i | x) for every code i, in nats: L_I(G, Q) per code is H(c_i) minus this.

    Equation 5 of InfoGAN (Chen et al. 2016, arXiv:1606.03657), Q factored over the codes (§6).

    Args:
        parameters: [B, P] floating-point, the Q head's output, P = layout.width.
        targets: [B, C] float32, the codes that made the images, in the layout's order: a class
            index, a real value, or 0 / 1 (a probability is allowed) for a Bernoulli code. They are
            constants: no gradient is computed for them. A class index that is not a whole number in
            0 … K - 1 raises or is undefined on the reference path and gives NaN on the kernel's.
        layout: what the columns mean.

    Returns: [C] float32 (float64 for float64 parameters); NaN for an empty batch.
    Raises: ValueError for shapes, devices or targets that require a gradient; TypeError for dtypes.
    """
    shape, device = parameters.shape, parameters.device
    if parameters.dtype not in _FLOATING:
        check_floating(parameters=parameters)
    if targets.dtype != torch.float32 and not (targets.dtype == parameters.dtype == torch.float64):
        raise TypeError(f"targets must be float32, not {targets.dtype}")
    if len(shape) != 2 or shape[1] != layout.width:
        raise ValueError(f"parameters must be [B, {layout.width}] for this layout, not {list(shape)}")
    if not layout.is_posterior:
        raise ValueError(
            f"layout {layout.spec!r} describes latents: Q has no noise, and gaussian:1 or gaussian:2 for a uniform code"
        )
    if targets.shape != (shape[0], len(layout.columns)):
        raise ValueError(f"targets must be [{shape[0]}, {len(layout.columns)}], not {list(targets.shape)}")
    if targets.requires_grad:
        raise ValueError("targets must not require a gradient; gaussian_nll is differentiable in its target")
    if targets.device != device:
        _refuse_devices(parameters=parameters, targets=targets)
    columns = layout.most_classes
    if implementation_for(device, implementation, dtype=parameters.dtype, columns=columns).path == "triton":
        return fused.q_head_nll.q_head_nll(parameters, targets, layout)
    return reference.q_head_nll(parameters, targets, layout)


def sample_latents(
    layout: Layout,
    batch: int,
    *,
    seed: int,
    step: int | Tensor,
    stream: int = 0,
    first_row: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    implementation: Implementation | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw noise and codes, a function of (seed, step, stream, first_row + row, column) alone.

    Philox-4x32-10 in counter mode, so there is no state to save, and ranks of a distributed run take slices
    of one global batch by `first_row`. Every implementation and device gives the same values bit for bit.

    Args:
        layout: the columns.
        batch: rows, 0 or more; first_row + batch ≤ 2**32.
        seed: 0 … 2**64 - 1. step, stream: 0 … 2**32 - 1 each. `step` may be a 0-d int64 tensor on
            `device`: a captured graph then draws anew when the tensor is advanced between replays.
        dtype: of the input; values are drawn in float32 and rounded to it.

    Returns: the generator's input [batch, layout.width] in `dtype` (noise, then codes, classes one-hot)
        and the targets [batch, C] in float32 (class index, value, or 0 / 1), as `q_head_nll` takes them.
    Raises: ValueError for numbers out of range, TypeError for a dtype.
    """
    if not isinstance(device, torch.device):
        device = torch.device(device)
    if batch < 0 or first_row < 0 or first_row + batch > 2**32:
        raise ValueError(
            f"first_row and batch must be 0 or more with a sum of at most 2**32, not {first_row} and {batch}"
        )
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed must be 0 to 2**64 - 1, not {seed}")
    if not 0 <= stream < 2**32:
        raise ValueError(f"stream must be 0 to 2**32 - 1, not {stream}")
    if isinstance(step, Tensor):
        elsewhere = step.device.type != device.type or device.index not in (None, step.device.index)
        if step.ndim != 0 or step.dtype != torch.int64 or elsewhere:
            given = f"{step.dtype} {list(step.shape)} on {step.device}"
            raise ValueError(f"a step tensor must be int64 [] on {device}, not {given}")
    elif not 0 <= step < 2**32:
        raise ValueError(f"step must be 0 to 2**32 - 1, not {step}")
    if not layout.is_prior:
        raise ValueError(f"layout {layout.spec!r} describes Q's parameters: a latent Gaussian code is gaussian:1")
    if dtype not in _FLOATING:
        raise TypeError(f"dtype must be float32, float16, bfloat16 or float64, not {dtype}")
    if implementation_for(device, implementation, dtype=dtype, columns=layout.most_classes).path == "triton":
        return fused.sample_latents.sample_latents(layout, batch, seed, step, stream, first_row, device, dtype)
    return reference.sample_latents(layout, batch, seed, step, stream, first_row, device, dtype)


def _check_reduction(reduction: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', not {reduction!r}")


def check_floating(**tensors: Tensor | None) -> None:
    for name, tensor in tensors.items():
        if tensor is not None and tensor.dtype not in _FLOATING:
            raise TypeError(f"{name} must be float32, float16, bfloat16 or float64, not {tensor.dtype}")


def _refuse_devices(**tensors: Tensor | None) -> NoReturn:
    devices = ", ".join(f"{name} on {tensor.device}" for name, tensor in tensors.items() if tensor is not None)
    raise ValueError(f"all tensors must be on one device: {devices}")


def _check_broadcast(**tensors: Tensor | None) -> None:
    given = {name: tensor.shape for name, tensor in tensors.items() if tensor is not None}
    try:
        torch.broadcast_shapes(*given.values())
    except RuntimeError:
        shapes = ", ".join(f"{name} {list(shape)}" for name, shape in given.items())
        raise ValueError(f"shapes do not broadcast: {shapes}") from None


__all__ = [
    "Reduction",
    "cross_entropy",
    "gaussian_nll",
    "implementation_for",
    "q_head_nll",
    "sample_latents",
]
