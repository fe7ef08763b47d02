"""Negative log-likelihood of a factored Gaussian: one pass over the elements forward, one backward.

The inputs are read where they lie: broadcast and sliced ones are walked by a row and a column stride. Tensors
that are all contiguous are walked by one index, 128 bits a load.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import tiles
from .column_sums import column_sums
from .launches import launch, warp_size
from .mathematics import HALF_LOG_2_PI, bound, exp
from .operators import is_differentiated, once_differentiable, register
from .strides import as_rows_and_columns, extent

IN_INPUT_DTYPE, IN_FLOAT32 = 1, 2  # a gradient's dtype in `wanted`; 0 for none


@triton.jit
def offset(i, columns, row_stride, column_stride, FLAT: tl.constexpr):
    """Where element i of the broadcast shape lies in a tensor with these strides."""
    if FLAT:
        return i
    return (i // columns) * row_stride + (i % columns) * column_stride


@triton.jit(do_not_specialize=["n", "divisor"])
def gaussian_nll_forward_kernel(
    mean, log_var, target, out,
    n, columns, mean_row, mean_column, log_var_row, log_var_column, target_row, target_column, divisor,
    LOW: tl.constexpr, HIGH: tl.constexpr, LEARNED: tl.constexpr, NONE: tl.constexpr,
    FLAT: tl.constexpr, WIDE: tl.constexpr, EVEN: tl.constexpr, ELEMENTS: tl.constexpr,
):  # fmt: skip
    if EVEN:
        n = n // 16 * 16  # shows that neighbours have one mask, so that the compiler joins their loads
    total = tl.zeros((ELEMENTS,), dtype=tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(n.to(tl.int64) if WIDE else n, ELEMENTS), tl.num_programs(0)):
        first = tile.to(tl.int64) * ELEMENTS if WIDE else tile * ELEMENTS
        i = first + tl.arange(0, ELEMENTS)
        live = i < n
        mu = tl.load(mean + offset(i, columns, mean_row, mean_column, FLAT), live, 0.0).to(tl.float32)
        c = tl.load(target + offset(i, columns, target_row, target_column, FLAT), live, 0.0).to(tl.float32)
        nll = 0.5 * (c - mu) * (c - mu) + HALF_LOG_2_PI
        if LEARNED:
            at = log_var + offset(i, columns, log_var_row, log_var_column, FLAT)
            s = bound(tl.load(at, live, 0.0).to(tl.float32), LOW, HIGH)
            nll = 0.5 * (s + (c - mu) * (c - mu) * exp(-s)) + HALF_LOG_2_PI
        if NONE:
            tl.store(out + i, nll, mask=live)
        total += tl.where(live, nll, 0.0)
    if not NONE:
        tl.store(out + tl.program_id(0), tl.div_rn(tl.sum(total, axis=0), divisor))


@triton.jit(do_not_specialize=["n", "divisor"])
def gaussian_nll_backward_kernel(
    upstream, mean, log_var, target, mean_gradient, log_var_gradient, target_gradient,
    n, columns, upstream_row, upstream_column, mean_row, mean_column, log_var_row, log_var_column,
    target_row, target_column, divisor,
    LOW: tl.constexpr, HIGH: tl.constexpr, LEARNED: tl.constexpr,
    MEAN: tl.constexpr, LOG_VAR: tl.constexpr, TARGET: tl.constexpr, SCALAR: tl.constexpr,
    FLAT: tl.constexpr, WIDE: tl.constexpr, EVEN: tl.constexpr, ELEMENTS: tl.constexpr,
):  # fmt: skip
    if EVEN:
        n = n // 16 * 16  # shows that neighbours have one mask, so that the compiler joins their loads
    tile = tl.program_id(0)
    first = tile.to(tl.int64) * ELEMENTS if WIDE else tile * ELEMENTS
    i = first + tl.arange(0, ELEMENTS)
    live = i < n
    if SCALAR:
        g = tl.div_rn(tl.load(upstream), divisor)
    else:
        g = tl.load(upstream + offset(i, columns, upstream_row, upstream_column, FLAT), live, 0.0)
    mu = tl.load(mean + offset(i, columns, mean_row, mean_column, FLAT), live, 0.0).to(tl.float32)
    c = tl.load(target + offset(i, columns, target_row, target_column, FLAT), live, 0.0).to(tl.float32)
    d = mu - c  # d/dμ ½(c - μ)²; times e^-s with a log-variance s; its negative is the gradient in c
    if LEARNED:
        at = log_var + offset(i, columns, log_var_row, log_var_column, FLAT)
        raw = tl.load(at, live, 0.0).to(tl.float32)
        scaled = (mu - c) * exp(-bound(raw, LOW, HIGH))
        if LOG_VAR:
            inside = (raw >= LOW) & (raw <= HIGH)  # beyond its bounds a log-variance has no gradient
            # d/ds ½(s + (c - μ)² e^-s) = ½(1 - (c - μ)² e^-s)
            ds = tl.where(inside, 0.5 * (1.0 - d * scaled) * g, 0.0)
            tl.store(log_var_gradient + i, ds.to(log_var_gradient.dtype.element_ty), mask=live)
        d = scaled
    if MEAN:
        tl.store(mean_gradient + i, (d * g).to(mean_gradient.dtype.element_ty), mask=live)
    if TARGET:
        tl.store(target_gradient + i, (-d * g).to(target_gradient.dtype.element_ty), mask=live)


def _walk(tensors: list[Tensor]) -> tuple[list[Tensor], int, list[int], dict[str, Any]]:
    """The tensors as rows and columns, their strides one after another, and what the kernel compiles for."""
    tensors, columns, strides, flat = as_rows_and_columns(tensors)
    shape = tensors[0].shape
    n = shape.numel()
    wide = n + tiles.MAX_ELEMENTS >= 2**31
    wide = wide or (not flat and any(extent(shape, t.stride()) + tiles.MAX_ELEMENTS >= 2**31 for t in tensors))
    return (
        tensors,
        columns,
        [s for pair in strides for s in pair],
        {"FLAT": flat, "WIDE": wide, "EVEN": n % 16 == 0},
    )


def _widest(tensors: Sequence[Tensor]) -> int:
    return max([t.element_size() for t in tensors])


@register(
    "gaussian_nll",
    lambda mean, log_var, target, reduction, *_: mean.new_empty(
        mean.shape if reduction == "none" else (), dtype=torch.float32
    ),
)
def forward(mean: Tensor, log_var: Tensor | None, target: Tensor, reduction: str, low: float, high: float) -> Tensor:
    """The loss; inputs have one shape, broadcast ones a stride of 0."""
    n = mean.numel()
    none = reduction == "none"
    out = torch.empty(mean.shape if none else (), dtype=torch.float32, device=mean.device)
    if n == 0:
        return out.fill_(math.nan) if reduction == "mean" else out.zero_()
    tensors, columns, strides, walk = _walk([mean, mean if log_var is None else log_var, target])
    tile = tiles.flat_tile(n, _widest(tensors), warp_size(), summed=not none)
    blocks = -(-n // tile.columns)
    programs = blocks if none else tiles.programs_of_a_sum(blocks)
    second = programs > 1 and not none
    partials = torch.empty((programs, 1), dtype=torch.float32, device=out.device) if second else out
    divisor = float(n) if reduction == "mean" else 1.0
    launch(
        gaussian_nll_forward_kernel, programs, mean,
        *tensors, partials, n, columns, *strides, 1.0 if second else divisor,
        LOW=low, HIGH=high, LEARNED=log_var is not None, NONE=none,
        **walk, ELEMENTS=tile.columns, num_warps=tile.warps,
    )  # fmt: skip
    if second:
        column_sums(partials, out, divisor)
    return out


@register(
    "gaussian_nll_backward",
    lambda upstream, mean, log_var, target, *rest: _empty_gradients(mean, log_var, target, rest[-1]),
)
def backward(
    upstream: Tensor,
    mean: Tensor,
    log_var: Tensor | None,
    target: Tensor,
    reduction: str,
    low: float,
    high: float,
    wanted: list[int],
) -> tuple[Tensor, Tensor, Tensor]:
    """Contiguous gradients of mean, log_var and target.

    `wanted` has for each of them 0 (returns an empty tensor), IN_INPUT_DTYPE or IN_FLOAT32.
    """
    gradients = _empty_gradients(mean, log_var, target, wanted)
    n = mean.numel()
    if n == 0:
        return gradients
    scalar = reduction != "none"
    inputs = [mean if scalar else upstream, mean, mean if log_var is None else log_var, target]
    tensors, columns, strides, walk = _walk(inputs)
    tile = tiles.flat_tile(n, _widest([*tensors, *gradients]), warp_size())
    launch(
        gaussian_nll_backward_kernel, -(-n // tile.columns), mean,
        upstream if scalar else tensors[0], *tensors[1:], *gradients,
        n, columns, *strides, float(n) if reduction == "mean" else 1.0,
        LOW=low, HIGH=high, LEARNED=log_var is not None,
        MEAN=wanted[0] > 0, LOG_VAR=wanted[1] > 0, TARGET=wanted[2] > 0, SCALAR=scalar,
        **walk, ELEMENTS=tile.columns, num_warps=tile.warps,
    )  # fmt: skip
    return gradients


def _empty_gradients(
    mean: Tensor, log_var: Tensor | None, target: Tensor, wanted: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    def empty(source: Tensor | None, want: int) -> Tensor:
        dtype = torch.float32 if source is None or want == IN_FLOAT32 else source.dtype
        return mean.new_empty(mean.shape if want else (0,), dtype=dtype)

    return empty(mean, wanted[0]), empty(log_var, wanted[1]), empty(target, wanted[2])


class _GaussianNLL(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, mean: Tensor, log_var: Tensor | None, target: Tensor, reduction: str, low: float, high: float
    ) -> Tensor:
        ctx.save_for_backward(mean, log_var, target)
        ctx.options = (reduction, low, high)
        return forward(*_expand(mean, log_var, target), *ctx.options)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        expanded = _expand(*inputs)
        shape = expanded[0].shape
        # A broadcast input's gradient is a sum: its terms stay in float32 until they are added.
        wanted = [
            0 if t is None or not needed else IN_INPUT_DTYPE if t.shape == shape else IN_FLOAT32
            for t, needed in zip(inputs, ctx.needs_input_grad, strict=False)
        ]
        sources = [t for t in inputs if t is not None]
        gradients: list[Tensor | None] = [None, None, None]
        for i, gradient in enumerate(backward(upstream[0], *expanded, *ctx.options, wanted)):
            if wanted[i]:
                t = inputs[i]
                if wanted[i] == IN_FLOAT32:
                    gradient = gradient.sum_to_size(t.shape).to(t.dtype)
                gradients[i] = once_differentiable(gradient, upstream[0], *sources)
        return *gradients, None, None, None


def _expand(mean: Tensor, log_var: Tensor | None, target: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
    shape = mean.shape
    if target.shape == shape and (log_var is None or log_var.shape == shape):
        return mean, log_var, target
    if log_var is None:
        mean, target = torch.broadcast_tensors(mean, target)  # type: ignore[no-untyped-call]
    else:
        mean, log_var, target = torch.broadcast_tensors(mean, log_var, target)  # type: ignore[no-untyped-call]
    return mean, log_var, target


def gaussian_nll(
    mean: Tensor, log_var: Tensor | None, target: Tensor, reduction: str, low: float, high: float
) -> Tensor:
    """See `gan_zoo_kernels.gaussian_nll`; the arguments are trusted here, `low` and `high` bound log_var."""
    if not is_differentiated(mean, log_var, target):
        return forward(*_expand(mean, log_var, target), reduction, float(low), float(high))
    loss: Tensor = _GaussianNLL.apply(mean, log_var, target, reduction, float(low), float(high))  # type: ignore[no-untyped-call]
    return loss
