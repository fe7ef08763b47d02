"""One step of Adam for one weight, with its copy in half precision, in one launch."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..reference import log_of_beta
from .launches import launch, warp_size
from .mathematics import exp
from .operators import register
from .tiles import flat_tile


@triton.jit
def bias_correction(steps, LOG_BETA: tl.constexpr):
    """1 - β^t to a few ulp. A difference would lose the first digits of 1 - 0.999^t; Kahan's quotient keeps them."""
    y = steps * LOG_BETA
    power = exp(y)
    near_one = tl.where(power > 0.5, power, 0.5)
    return tl.where(power > 0.5, tl.where(power == 1.0, -y, (1.0 - near_one) * (y / tl.log(near_one))), 1.0 - power)


@triton.jit(do_not_specialize=["lr"])  # one of several numbers in a row, not all at multiples of 16 bytes
def adam_kernel(
    weight, gradient, average, square, copy, lr, steps, n,
    BETA1: tl.constexpr, BETA2: tl.constexpr, LOG_BETA1: tl.constexpr, LOG_BETA2: tl.constexpr, EPS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Every tensor has n elements in the same order; `copy` receives the new weights."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    live = i < n
    w = tl.load(weight + i, live, 0.0)
    g = tl.load(gradient + i, live, 0.0).to(tl.float32)
    m = tl.load(average + i, live, 0.0)
    v = tl.load(square + i, live, 0.0)
    t = tl.load(steps)
    rate = tl.load(lr) / bias_correction(t, LOG_BETA1)
    root = tl.sqrt_rn(bias_correction(t, LOG_BETA2))
    m += (1.0 - BETA1) * (g - m)
    v = BETA2 * v + (1.0 - BETA2) * (g * g)
    w -= rate * (m / (tl.sqrt_rn(v) / root + EPS))
    tl.store(weight + i, w, live)
    tl.store(average + i, m, live)
    tl.store(square + i, v, live)
    tl.store(copy + i, w.to(copy.dtype.element_ty), live)


@register("adam_step", lambda *_: None, mutates=("weight", "average", "square", "copy"))
def adam_step(
    weight: Tensor,
    gradient: Tensor,
    average: Tensor,
    square: Tensor,
    copy: Tensor,
    lr: Tensor,
    steps: Tensor,
    beta1: float,
    beta2: float,
    eps: float,
) -> None:
    """See `gan_zoo_kernels.adam_step`; the tensors are dense and of one memory layout."""
    n = weight.numel()
    if n == 0:
        return
    tile = flat_tile(n, 4, warp_size())
    launch(
        adam_kernel, -(-n // tile.columns), weight, weight, gradient, average, square, copy, lr, steps, n,
        BETA1=beta1, BETA2=beta2, LOG_BETA1=log_of_beta(beta1), LOG_BETA2=log_of_beta(beta2), EPS=eps,
        BLOCK=tile.columns, num_warps=tile.warps,
    )  # fmt: skip
    torch.autograd.graph.increment_version((weight, average, square, copy))  # or autograd misses that they changed
