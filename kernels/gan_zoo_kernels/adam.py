"""One step of Adam for a weight that is also kept in half precision: the plain torch that defines it, and the public
function.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import fused
from .dispatch import Implementation, implementation_for
from .reference import log_of_beta


@torch.no_grad()
def adam_step(
    weight: Tensor,
    gradient: Tensor,
    average: Tensor,
    square: Tensor,
    copy: Tensor,
    lr: Tensor,
    steps: Tensor,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    implementation: Implementation | None = None,
) -> None:
    """One step of Adam (Kingma & Ba, 2015, arXiv:1412.6980, algorithm 1), in place, in one launch.

    torch's fused Adam requires gradients in the weight's dtype and does not write copies. A weight that forward passes
    read in half precision then moves 40 bytes per element and step, in three passes over memory; this moves 28 in one.

    The Triton kernel takes dense tensors of one memory layout. Any other layout takes the reference.

    Args:
        weight, average, square: float32, of one shape: the weight and the running means of its gradient and of the
            gradient's square, which are updated.
        gradient: Of that shape, floating-point.
        copy: Of that shape, floating-point; receives the new weight.
        lr: float32 [], the learning rate.
        steps: float32 [], the steps made, with this one.
        betas: β₁ and β₂, in [0, 1).
        eps: ε, added to the root.

    Raises: ValueError for shapes, devices or β; TypeError for dtypes.
    """
    _check(weight, gradient, average, square, copy, lr, steps, betas)
    tensors = (weight, gradient, average, square, copy)
    if implementation_for(weight.device, implementation, dtype=weight.dtype).path == "triton" and _flat(*tensors):
        fused.adam.adam_step(*tensors, lr, steps, *betas, eps)
        return
    first, second = (-torch.expm1(steps * log_of_beta(beta)) for beta in betas)  # 1 - β^t
    gradient = gradient.to(weight.dtype)
    average.lerp_(gradient, 1 - betas[0])
    square.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
    weight.sub_(lr / first * average / ((square / second).sqrt() + eps))
    copy.copy_(weight)


def _flat(*tensors: Tensor) -> bool:
    """Whether the tensors are dense and hold their elements in one order."""
    first = tensors[0]
    dense = first.is_contiguous() or (first.ndim == 4 and first.is_contiguous(memory_format=torch.channels_last))
    sizes = [size > 1 for size in first.shape]  # the stride of an axis of one element means nothing
    layouts = {tuple(s for s, counts in zip(t.stride(), sizes, strict=True) if counts) for t in tensors}
    return dense and len(layouts) == 1


def _check(
    weight: Tensor,
    gradient: Tensor,
    average: Tensor,
    square: Tensor,
    copy: Tensor,
    lr: Tensor,
    steps: Tensor,
    betas: tuple[float, float],
) -> None:
    named = {"weight": weight, "gradient": gradient, "average": average, "square": square, "copy": copy}
    for name, tensor in {**named, "lr": lr, "steps": steps}.items():
        shape = weight.shape if name in named else ()
        if tensor.shape != shape:
            raise ValueError(f"{name} must be {list(shape)}, not {list(tensor.shape)}")
        if tensor.device != weight.device:
            raise ValueError(f"weight is on {weight.device}, {name} on {tensor.device}")
        if not tensor.is_floating_point():
            raise TypeError(f"{name} must be floating-point, not {tensor.dtype}")
        if tensor.dtype != weight.dtype and name not in ("gradient", "copy"):
            raise TypeError(f"{name} must be {weight.dtype} as weight is, not {tensor.dtype}")
    if not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas must be in [0, 1), not {betas}")
