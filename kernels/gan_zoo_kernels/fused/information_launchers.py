"""The launches of the information term: three forward and two backward for a batch of up to 128 rows.

The first launch is a Q head up to its batch norm, the second the rest of it and every code's likelihood for blocks of
32 rows, the third the sum over the blocks, which a smaller batch does without. Larger batches and more than 2,048
features take another launch for the first product.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import triton.language as tl
from torch import Tensor

from ..dispatch import interpreting
from ..layout import Layout, parse_layout
from .information_backward_kernels import hidden_backward_kernel, outer_backward_kernel
from .information_kernels import hidden_kernel, hidden_parts_kernel, information_kernel, likelihood_kernel
from .launches import launch
from .tiles import next_power_of_two

ROWS = 128  # most rows of a block; products of two tiles have this many at most
NARROW = 32  # parameters of Q up to which a tile of the likelihood has LIKELIHOOD_ROWS rows; wider ones have half
LIKELIHOOD_ROWS = 32  # of a program: one that took 128 rows kept a multiprocessor busy three times as long; and Triton
# 3.7 does not compile reductions of a product of 64 rows or more for sm_100
WIDEST = 4_096  # values of a tile of rows and parameters in the backward pass; twice as many spill
COLUMNS = 16  # hidden units of a program that holds all rows: the fewest that a product takes
PART = 2_048  # features that a program adds up by itself
TILE = 64  # most rows of a part of the first product; rows and columns of a tile of the last backward launch

_OPERANDS = {torch.float32: tl.float32, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}
Gradients = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def _options(operand: torch.dtype) -> dict[str, Any]:
    """What all kernels with products are compiled for."""
    exact = operand != torch.float32 or torch.get_float32_matmul_precision() == "highest"
    return {
        "OPERAND": _OPERANDS[operand],
        "DOT": tl.float32 if interpreting() else _OPERANDS[operand],
        "PRECISION": "ieee" if exact else "tf32",
        "CHUNK": 32 if operand == torch.float32 else 64,
    }


def _rows(batch: int, most: int = ROWS) -> int:
    return min(most, next_power_of_two(max(batch, 16)))


def padded(parameters: int) -> int:
    """Columns of a tile of Q's parameters."""
    return next_power_of_two(max(parameters, 16))


@functools.lru_cache(maxsize=256)
def _plan(spec: str, low: float, high: float) -> tuple[Layout, dict[str, Any]]:
    """A layout and what the likelihood's kernel knows of it; put together once and looked up by later calls."""
    layout = parse_layout(spec, low, high)
    return layout, {"WIDTH": layout.width, "LOW": float(low), "HIGH": float(high), "GROUPS": layout.groups}


def forward(
    features: Tensor,
    weight1: Tensor,
    gain: Tensor,
    shift: Tensor,
    running_mean: Tensor,
    running_variance: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    targets: Tensor,
    entropies: Tensor,
    weights: Tensor,
    spec: str,
    low: float,
    high: float,
    momentum: float,
    eps: float,
    slope: float,
    operand: torch.dtype,
    differentiated: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The term [], the bounds [C + 1], and for the backward pass: normal [B, H], scale [H], slopes [B, P padded]."""
    layout, known = _plan(spec, low, high)
    codes, parameters = len(layout.columns), layout.width
    (batch, width), hidden = features.shape, weight1.shape[0]
    term, bounds, normal, scale, slopes = results = empty_results(features, hidden, layout, differentiated)
    options = _options(operand)
    blocks = -(-batch // ROWS)
    columns = -(-hidden // COLUMNS)
    size = {"WIDTH": width, "HIDDEN": hidden, "COLUMNS": COLUMNS}

    parts = 0 if blocks == 1 and width <= PART else -(-width // PART)
    partials = features.new_empty((parts, batch, hidden), dtype=torch.float32) if parts else normal
    if parts:
        launch(
            hidden_parts_kernel,
            parts * -(-batch // _rows(batch, TILE)) * columns,
            features,
            features,
            weight1,
            partials,
            batch,
            features.stride(0),
            **size,
            PART=PART,
            ROWS=_rows(batch, TILE),
            **options,
            num_warps=8,
            num_stages=3,
        )
    rows = _rows(batch, next_power_of_two(batch))
    launch(
        hidden_kernel,
        columns,
        features,
        features,
        weight1,
        partials,
        running_mean,
        running_variance,
        normal,
        scale,
        batch,
        features.stride(0),
        MOMENTUM=momentum,
        EPS=eps,
        **size,
        PARTS=parts,
        ROWS=rows,
        **options,
        num_warps=8 if batch <= 512 else 16,
        num_stages=4,
    )

    columns_of_q = padded(parameters)
    span, tile_rows = LIKELIHOOD_ROWS, LIKELIHOOD_ROWS // (1 if columns_of_q <= NARROW else 2)
    spans = -(-batch // span)
    sums = features.new_empty((spans, codes), dtype=torch.float32) if spans > 1 else bounds
    every = {"CODES": codes, "ALL_CODES": next_power_of_two(codes)}
    launch(
        likelihood_kernel,
        spans,
        features,
        normal,
        gain,
        shift,
        weight2,
        bias2,
        targets,
        entropies,
        weights,
        slopes,
        sums,
        bounds,
        term,
        batch,
        SLOPE=slope,
        HIDDEN=hidden,
        **known,
        **every,
        DIFFERENTIATED=differentiated,
        WHOLE=spans == 1,
        SPAN=span,
        ROWS=_rows(batch, tile_rows),
        COLUMNS=columns_of_q,
        **(options if columns_of_q <= NARROW else {**options, "CHUNK": 32}),
        num_warps=8 if columns_of_q <= NARROW else 4,
        num_stages=2,
    )
    if spans > 1:
        launch(
            information_kernel, 1, features, sums, entropies, weights, bounds, term, spans, batch, **every, num_warps=1
        )
    return results


def backward(
    upstream: Tensor,
    features: Tensor,
    weight1: Tensor,
    gain: Tensor,
    shift: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    normal: Tensor,
    scale: Tensor,
    slopes: Tensor,
    slope: float,
    operand: torch.dtype,
    of_features: bool,
    of_weights: bool,
) -> Gradients:
    """Gradients in the features, both layers' weights and the norm's; empty tensors where they are not wanted."""
    gradients = empty_gradients(features, weight1, gain, shift, weight2, bias2, of_features, of_weights)
    d_features, d_weight1, d_gain, d_shift, d_weight2, d_bias2 = gradients
    (batch, width), hidden, parameters = features.shape, *reversed(weight2.shape)
    d_hidden = features.new_empty((batch, hidden), dtype=operand)
    options = _options(operand)
    columns_of_q = padded(parameters)
    rows = _rows(batch, min(ROWS, WIDEST // columns_of_q))
    shared = {name: options[name] for name in ("OPERAND", "DOT", "PRECISION")}
    launch(
        hidden_backward_kernel,
        -(-hidden // COLUMNS),
        features,
        upstream,
        slopes,
        normal,
        scale,
        gain,
        shift,
        weight2,
        d_hidden,
        d_gain,
        d_shift,
        d_weight2,
        d_bias2,
        batch,
        SLOPE=slope,
        HIDDEN=hidden,
        WIDTH=parameters,
        TRAINED=of_weights,
        WHOLE=batch <= rows,
        ROWS=rows,
        COLUMNS=COLUMNS,
        PADDED=columns_of_q,
        **shared,
        num_warps=8,
    )
    blocks = -(-width // TILE)
    rows, units = _rows(batch, TILE), _rows(hidden, TILE)
    feature_tiles = -(-batch // rows) * blocks if of_features else 0
    weight_tiles = -(-hidden // units) * blocks if of_weights else 0
    launch(
        outer_backward_kernel,
        feature_tiles + weight_tiles,
        features,
        d_hidden,
        features,
        weight1,
        d_features,
        d_weight1,
        batch,
        features.stride(0),
        feature_tiles,
        WIDTH=width,
        HIDDEN=hidden,
        ROWS=rows,
        UNITS=units,
        COLUMNS=TILE,
        **options,
        num_warps=8,
        num_stages=2,
    )
    return gradients


def empty_results(
    features: Tensor, hidden: int, layout: Layout, differentiated: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    batch = features.shape[0]
    slopes_shape = (batch, padded(layout.width)) if differentiated else (0,)
    shapes = ((), (len(layout.columns) + 1,), (batch, hidden), (hidden,), slopes_shape)
    term, bounds, normal, scale, slopes = (features.new_empty(shape, dtype=torch.float32) for shape in shapes)
    return term, bounds, normal, scale, slopes


def empty_gradients(
    features: Tensor,
    weight1: Tensor,
    gain: Tensor,
    shift: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    of_features: bool,
    of_weights: bool,
) -> Gradients:
    of_x = features.new_empty(features.shape if of_features else (0,))
    w1, g, b, w2, b2 = (t.new_empty(t.shape if of_weights else (0,)) for t in (weight1, gain, shift, weight2, bias2))
    return of_x, w1, g, b, w2, b2
