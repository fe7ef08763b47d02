"""The cross-entropy of logits of label 1 and of logits of label 0: one launch forward and one backward."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .launches import launch, warp_size
from .mathematics import sigmoid, softplus
from .operators import is_differentiated, once_differentiable, register

BLOCK, THREADS = 512, 128


@triton.jit
def mean_softplus(logits, n, stride, SIGN: tl.constexpr, BLOCK: tl.constexpr):
    """The mean of log(1 + e^t), t = SIGN · logits."""
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for first in range(0, n, BLOCK):
        i = first + tl.arange(0, BLOCK)
        t = SIGN * tl.load(logits + i.to(tl.int64) * stride, i < n, 0.0).to(tl.float32)
        total += tl.where(i < n, softplus(t), 0.0)
    return tl.div_rn(tl.sum(total, axis=0), n.to(tl.float32))


@triton.jit(do_not_specialize=["n_ones", "n_zeros", "stride_of_ones", "stride_of_zeros"])
def binary_cross_entropy_forward_kernel(
    ones, zeros, loss, n_ones, n_zeros, stride_of_ones, stride_of_zeros,
    ONES: tl.constexpr, ZEROS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """-log σ(x) = log(1 + e^-x), averaged over ones, plus -log(1 - σ(x)) = log(1 + e^x), averaged over zeros."""
    value = 0.0
    if ONES:
        value += mean_softplus(ones, n_ones, stride_of_ones, -1.0, BLOCK)
    if ZEROS:
        value += mean_softplus(zeros, n_zeros, stride_of_zeros, 1.0, BLOCK)
    tl.store(loss, value)


@triton.jit
def store_slopes(upstream, logits, gradient, n, stride, SIGN: tl.constexpr, BLOCK: tl.constexpr):
    """The gradient in a block of logits: d/dx log(1 + e^t) = SIGN · σ(t), times g / n."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    t = SIGN * tl.load(logits + i.to(tl.int64) * stride, i < n, 0.0).to(tl.float32)
    g = tl.div_rn(tl.load(upstream).to(tl.float32), n.to(tl.float32))
    tl.store(gradient + i, (SIGN * sigmoid(t) * g).to(gradient.dtype.element_ty), i < n)


@triton.jit(do_not_specialize=["n_ones", "n_zeros", "stride_of_ones", "stride_of_zeros"])
def binary_cross_entropy_backward_kernel(
    upstream, ones, zeros, of_ones, of_zeros, n_ones, n_zeros, stride_of_ones, stride_of_zeros,
    ONES: tl.constexpr, ZEROS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A program takes one block of each."""
    if ONES:
        store_slopes(upstream, ones, of_ones, n_ones, stride_of_ones, -1.0, BLOCK)
    if ZEROS:
        store_slopes(upstream, zeros, of_zeros, n_zeros, stride_of_zeros, 1.0, BLOCK)


def _arguments(ones: Tensor | None, zeros: Tensor | None) -> tuple[list[Tensor], list[int], dict[str, Any]]:
    """The logits, each in the place of the other if there is only one; sizes and strides; constants."""
    given = [logits for logits in (ones, zeros) if logits is not None]
    sizes = [0 if logits is None else len(logits) for logits in (ones, zeros)]
    strides = [0 if logits is None else logits.stride(0) for logits in (ones, zeros)]
    constants = {"ONES": ones is not None, "ZEROS": zeros is not None, "BLOCK": BLOCK}
    return [given[0], given[-1]], [*sizes, *strides], {**constants, "num_warps": THREADS // warp_size()}


def _empty_gradients(ones: Tensor | None, zeros: Tensor | None) -> tuple[Tensor, Tensor]:
    """Contiguous, in the logits' dtype; the one of an absent tensor is empty."""
    given = zeros if ones is None else ones
    assert given is not None
    of_ones = given.new_empty((0,)) if ones is None else ones.new_empty(ones.shape)
    of_zeros = given.new_empty((0,)) if zeros is None else zeros.new_empty(zeros.shape)
    return of_ones, of_zeros


@register(
    "binary_cross_entropy", lambda ones, zeros: (zeros if ones is None else ones).new_empty((), dtype=torch.float32)
)
def forward(ones: Tensor | None, zeros: Tensor | None) -> Tensor:
    """The loss, a float32 scalar."""
    logits, numbers, constants = _arguments(ones, zeros)
    loss = logits[0].new_empty((), dtype=torch.float32)
    launch(binary_cross_entropy_forward_kernel, 1, loss, *logits, loss, *numbers, **constants)
    return loss


@register("binary_cross_entropy_backward", lambda upstream, ones, zeros: _empty_gradients(ones, zeros))
def backward(upstream: Tensor, ones: Tensor | None, zeros: Tensor | None) -> tuple[Tensor, Tensor]:
    """The gradients in the logits; an empty tensor for absent ones."""
    logits, numbers, constants = _arguments(ones, zeros)
    gradients = _empty_gradients(ones, zeros)
    if programs := -(-max(numbers[:2]) // BLOCK):
        launch(
            binary_cross_entropy_backward_kernel, programs, upstream, upstream, *logits, *gradients, *numbers,
            **constants,
        )  # fmt: skip
    return gradients


class _Differentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ones: Tensor | None, zeros: Tensor | None) -> Tensor:
        ctx.save_for_backward(ones, zeros)
        return forward(ones, zeros)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        saved, wanted = ctx.saved_tensors, ctx.needs_input_grad
        sources = [logits for logits in saved if logits is not None]
        gradients = backward(
            upstream[0], *(logits if want else None for logits, want in zip(saved, wanted, strict=True))
        )
        return tuple(
            once_differentiable(gradient, upstream[0], *sources) if want else None
            for gradient, want in zip(gradients, wanted, strict=True)
        )


def binary_cross_entropy(ones: Tensor | None, zeros: Tensor | None) -> Tensor:
    """See `gan_zoo_kernels.binary_cross_entropy`; the arguments are trusted here."""
    if not is_differentiated(ones, zeros):
        return forward(ones, zeros)
    loss: Tensor = _Differentiable.apply(ones, zeros)  # type: ignore[no-untyped-call]
    return loss
