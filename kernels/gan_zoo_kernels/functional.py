"""The public functions: arguments are checked here, once, and passed to the chosen implementation."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from . import reference
from .dispatch import Implementation, implementation_for
from .layout import LOG_VAR_MAX, LOG_VAR_MIN, Layout, PriorLayout, check_log_var_bounds

Reduction = Literal["mean", "sum", "none"]

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_FLOATING = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


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
    tensors = {"mean": mean, "target": target} if log_var is None else _gaussian_inputs(mean, log_var, target)
    log_var = tensors.get("log_var")
    _check_floating(**tensors)
    _check_devices(**tensors)
    try:
        torch.broadcast_shapes(*(t.shape for t in tensors.values()))
    except RuntimeError:
        shapes = ", ".join(f"{name} {list(t.shape)}" for name, t in tensors.items())
        raise ValueError(f"the shapes do not broadcast together: {shapes}") from None
    if _fused(implementation, mean.device, *tensors.values()):
        from .fused.gaussian_nll import gaussian_nll as fused

        return fused(mean, log_var, target, reduction, log_var_min, log_var_max)
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
        ignore_index: rows with this label count nothing and have gradient 0. None: no row is ignored.

    Returns: float32 (float64 for float64 logits).
    Raises: ValueError for shapes, devices or a reduction; TypeError for dtypes.
    """
    _check_reduction(reduction)
    _check_floating(logits=logits)
    if target.dtype not in _INTEGERS:
        raise TypeError(f"target holds integers, not {target.dtype}")
    if logits.ndim < 1 or logits.shape[-1] < 1 or logits.shape[:-1] != target.shape:
        raise ValueError(f"logits [..., K] and target [...] do not fit: {list(logits.shape)} and {list(target.shape)}")
    _check_devices(logits=logits, target=target)
    if _fused(implementation, logits.device, logits):
        from .fused.cross_entropy import cross_entropy as fused

        return fused(logits, target, reduction, ignore_index)
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
        targets: [B, C] float32, the codes that made the images, in the order of layout.segments: a class
            index, a real value, or 0 / 1 (a probability is allowed) for a Bernoulli code. They are
            constants: no gradient is computed for them. A class index that is not a whole number in
            0 … K - 1 raises or is undefined on the reference path and gives NaN on the kernel's.
        layout: what the columns mean.

    Returns: [C] float32 (float64 for float64 parameters); NaN for an empty batch.
    Raises: ValueError for shapes, devices or targets that require a gradient; TypeError for dtypes.
    """
    _check_floating(parameters=parameters)
    if targets.dtype != torch.float32 and not (targets.dtype == parameters.dtype == torch.float64):
        raise TypeError(f"targets are float32, not {targets.dtype}")
    codes = len(layout.segments)
    if parameters.ndim != 2 or parameters.shape[1] != layout.width:
        raise ValueError(f"parameters are [B, {layout.width}] by the layout, not {list(parameters.shape)}")
    if targets.ndim != 2 or targets.shape[1] != codes or targets.shape[0] != parameters.shape[0]:
        raise ValueError(f"targets are [{parameters.shape[0]}, {codes}], not {list(targets.shape)}")
    if targets.requires_grad:
        raise ValueError("targets are constants here; gaussian_nll has a gradient in its target")
    _check_devices(parameters=parameters, targets=targets)
    if _fused(implementation, parameters.device, parameters, columns=layout.most_classes):
        from .fused.q_head_nll import q_head_nll as fused

        return fused(parameters, targets, layout)
    return reference.q_head_nll(parameters, targets, layout)


def sample_latents(
    layout: PriorLayout,
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
    """Draw noise and codes: a function of (seed, step, stream, first_row + row, column) and nothing else.

    Philox-4x32-10 in counter mode, so there is no state to save, and ranks of a distributed run take slices
    of one global batch by `first_row`. Every implementation and device gives the same values bit for bit.

    Args:
        layout: the columns; see `PriorLayout`.
        batch: rows, 0 or more; first_row + batch ≤ 2**32.
        seed: 0 … 2**64 - 1. step, stream: 0 … 2**32 - 1 each. `step` may be a 0-d int64 tensor on
            `device`: a captured graph then draws anew when the tensor is advanced between replays.
        dtype: of the input; values are drawn in float32 and rounded to it.

    Returns: the generator's input [batch, layout.width] in `dtype` (noise, then codes, classes one-hot)
        and the targets [batch, C] in float32 (class index, value, or 0 / 1), as `q_head_nll` takes them.
    Raises: ValueError for numbers out of range, TypeError for a dtype.
    """
    device = torch.device(device)
    if batch < 0 or first_row < 0 or first_row + batch > 2**32:
        raise ValueError(f"rows lie in 0 … 2**32 - 1: first_row {first_row}, batch {batch}")
    for name, value, bits in (("seed", seed, 64), ("stream", stream, 32)):
        if not 0 <= value < 2**bits:
            raise ValueError(f"{name} lies in 0 … 2**{bits} - 1, not {value}")
    if isinstance(step, Tensor):
        elsewhere = step.device.type != device.type or device.index not in (None, step.device.index)
        if step.ndim != 0 or step.dtype != torch.int64 or elsewhere:
            found = f"{step.dtype} {list(step.shape)} on {step.device}"
            raise ValueError(f"a step tensor is int64, 0-d and on {device}, not {found}")
    elif not 0 <= step < 2**32:
        raise ValueError(f"step lies in 0 … 2**32 - 1, not {step}")
    if dtype not in _FLOATING:
        raise TypeError(f"latents are floating-point, not {dtype}")
    choice = implementation_for(device, implementation, dtype=dtype, columns=layout.most_classes)
    if choice.path == "triton":
        from .fused.sample_latents import sample_latents as fused

        return fused(layout, batch, seed, step, stream, first_row, device, dtype)
    return reference.sample_latents(layout, batch, seed, step, stream, first_row, device, dtype)


def _fused(implementation: Implementation | None, device: torch.device, *inputs: Tensor, columns: int = 1) -> bool:
    """Whether these inputs go to the Triton kernels."""
    dtype = reference.compute_dtype(*inputs)
    return implementation_for(device, implementation, dtype=dtype, columns=columns).path == "triton"


def _gaussian_inputs(mean: Tensor, log_var: Tensor, target: Tensor) -> dict[str, Tensor]:
    """torch's rule for one variance a row: a log_var without mean's last axis gets it back with size 1."""
    if mean.ndim > 0 and log_var.shape == mean.shape[:-1]:
        log_var = log_var.unsqueeze(-1)
    return {"mean": mean, "log_var": log_var, "target": target}


def _check_reduction(reduction: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"unknown reduction {reduction!r}: it is one of mean, sum, none")


def _check_floating(**tensors: Tensor) -> None:
    for name, tensor in tensors.items():
        if tensor.dtype not in _FLOATING:
            raise TypeError(f"{name} is float32, float16, bfloat16 or float64, not {tensor.dtype}")


def _check_devices(**tensors: Tensor) -> None:
    if len({tensor.device for tensor in tensors.values()}) > 1:
        places = ", ".join(f"{name} on {tensor.device}" for name, tensor in tensors.items())
        raise ValueError(f"the tensors are on different devices: {places}")


__all__ = [
    "Reduction",
    "cross_entropy",
    "gaussian_nll",
    "implementation_for",
    "q_head_nll",
    "sample_latents",
]
