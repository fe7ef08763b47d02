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
from .information_kernels import hidden_kernel, hidden_split_kernel, information_kernel, likelihood_kernel
from .launches import launch
from .operators import register
from .tiles import next_power_of_two

BLOCK_ROWS = 128  # most rows of a tile that is an operand of a product
LIKELIHOOD_ROWS = 32  # of a program: with 128, one multiprocessor was busy three times as long
NARROW = 32  # parameters of Q up to which the likelihood's tile has LIKELIHOOD_ROWS rows; for more it has half as many
BACKWARD_VALUES = 4_096  # of a tile of rows and parameters in the backward pass; twice as many spill
UNITS = 16  # hidden units of a program that holds all rows: the fewest that a product takes
FEATURES = 2_048  # that a program adds up by itself; more are split over several programs
TILE = 64  # most rows of a split's tile; rows and columns of a tile of the last backward launch

_OPERANDS = {torch.float32: tl.float32, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}
Results = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
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


def _rows(batch: int, most: int = BLOCK_ROWS) -> int:
    return min(most, next_power_of_two(max(batch, 16)))


def padded(parameters: int) -> int:
    """Columns of a tile of Q's parameters."""
    return next_power_of_two(max(parameters, 16))


def _empty_results(features: Tensor, hidden: int, layout: Layout, differentiated: bool) -> Results:
    batch, codes = features.shape[0], len(layout.columns)
    slopes_shape = (batch, padded(layout.width)) if differentiated else (0,)
    shapes = ((), (codes + 1,), (batch, hidden), (hidden,), slopes_shape)
    term, bounds, normal, scale, slopes = (features.new_empty(shape, dtype=torch.float32) for shape in shapes)
    return term, bounds, normal, scale, slopes


def _fake_forward(features: Tensor, weight1: Tensor, *rest: Any) -> Results:
    spec, low, high = rest[10:13]
    return _empty_results(features, weight1.shape[0], parse_layout(spec, low, high), rest[-1])


@functools.lru_cache(maxsize=256)
def _constants(spec: str, low: float, high: float) -> dict[str, Any]:
    """What the likelihood's kernel is compiled for; later calls look it up."""
    layout = parse_layout(spec, low, high)
    return {"WIDTH": layout.width, "LOW": low, "HIGH": high, "GROUPS": layout.groups}


@register("information_term", _fake_forward, mutates=("running_mean", "running_var", "variances"))
def forward(
    features: Tensor,
    weight1: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    targets: Tensor,
    entropies: Tensor,
    weights: Tensor,
    variances: Tensor,
    spec: str,
    low: float,
    high: float,
    unit_gradient: bool,
    variance_momentum: float,
    momentum: float,
    eps: float,
    slope: float,
    operand: torch.dtype,
    differentiated: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The term [], the bounds [C + 1], and for the backward pass: normal [B, H], scale [H], slopes [B, P padded]."""
    (batch, width), (parameters, hidden), codes = features.shape, weight2.shape, targets.shape[1]
    layout = parse_layout(spec, low, high)
    term, bounds, normal, scale, slopes = results = _empty_results(features, hidden, layout, differentiated)
    options = _options(operand)
    unit_blocks = -(-hidden // UNITS)
    shape = {"WIDTH": width, "HIDDEN": hidden, "COLUMNS": UNITS}

    splits = 0 if batch <= BLOCK_ROWS and width <= FEATURES else -(-width // FEATURES)
    partials = features.new_empty((splits, batch, hidden), dtype=torch.float32) if splits else normal
    if splits:
        rows = _rows(batch, TILE)
        launch(
            hidden_split_kernel, splits * -(-batch // rows) * unit_blocks, features,
            features, weight1, partials, batch, features.stride(0),
            **shape, SPLIT=FEATURES, ROWS=rows, **options, num_warps=8, num_stages=3,
        )  # fmt: skip
    launch(
        hidden_kernel, unit_blocks, features,
        features, weight1, partials, running_mean, running_var, normal, scale, batch, features.stride(0),
        MOMENTUM=momentum, EPS=eps, **shape, SPLITS=splits, ROWS=_rows(batch, next_power_of_two(batch)), **options,
        num_warps=8 if batch <= 512 else 16, num_stages=4,
    )  # fmt: skip

    narrow = padded(parameters) <= NARROW
    # Triton 3.7 cannot compile reductions of a product of 64 rows or more for sm_100.
    tile_rows = LIKELIHOOD_ROWS if narrow else LIKELIHOOD_ROWS // 2
    blocks = -(-batch // LIKELIHOOD_ROWS)
    sums = features.new_empty((blocks, codes), dtype=torch.float32) if blocks > 1 else bounds
    constants = _constants(spec, low, high)
    of_codes = {
        **constants, "UNIT_GRADIENT": unit_gradient, "VARIANCE_MOMENTUM": variance_momentum, "CODES": codes,
        "PADDED_CODES": next_power_of_two(codes),
    }  # fmt: skip
    launch(
        likelihood_kernel, blocks, features,
        normal, norm_weight, norm_bias, weight2, bias2, targets, entropies, weights, variances, slopes, sums, bounds,
        term, batch, SLOPE=slope, HIDDEN=hidden, **of_codes,
        DIFFERENTIATED=differentiated, WHOLE=blocks == 1, SPAN=LIKELIHOOD_ROWS, ROWS=_rows(batch, tile_rows),
        COLUMNS=padded(parameters), **(options if narrow else {**options, "CHUNK": 32}),
        num_warps=8 if narrow else 4, num_stages=2,
    )  # fmt: skip
    if blocks > 1:
        launch(
            information_kernel, 1, features, sums, entropies, weights, variances, bounds, term, blocks, batch,
            **of_codes, num_warps=1,
        )  # fmt: skip
    return results


def _empty_gradients(features: Tensor, *weights_and_wanted: Any) -> Gradients:
    *weights, of_features, of_weights = weights_and_wanted
    of_x = features.new_empty(features.shape if of_features else (0,))
    w1, g, b, w2, b2 = (t.new_empty(t.shape if of_weights else (0,)) for t in weights)
    return of_x, w1, g, b, w2, b2


@register("information_term_backward", lambda upstream, *rest: _empty_gradients(*rest[:6], *rest[-2:]))
def backward(
    upstream: Tensor,
    features: Tensor,
    weight1: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    normal: Tensor,
    scale: Tensor,
    slopes: Tensor,
    slope: float,
    operand: torch.dtype,
    of_features: bool,
    of_weights: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients in the features, both layers' weights and the norm's; empty tensors where they are not wanted."""
    weights = (weight1, norm_weight, norm_bias, weight2, bias2)
    d_features, d_weight1, *d_others = gradients = _empty_gradients(features, *weights, of_features, of_weights)
    (batch, width), (parameters, hidden) = features.shape, weight2.shape
    d_hidden = features.new_empty((batch, hidden), dtype=operand)
    options = _options(operand)
    rows = _rows(batch, min(BLOCK_ROWS, BACKWARD_VALUES // padded(parameters)))
    launch(
        hidden_backward_kernel, -(-hidden // UNITS), features,
        upstream, slopes, normal, scale, norm_weight, norm_bias, weight2, d_hidden, *d_others, batch,
        SLOPE=slope, HIDDEN=hidden, WIDTH=parameters, TRAINED=of_weights, WHOLE=batch <= rows,
        ROWS=rows, COLUMNS=UNITS, PADDED=padded(parameters),
        **{name: options[name] for name in ("OPERAND", "DOT", "PRECISION")}, num_warps=8,
    )  # fmt: skip
    blocks = -(-width // TILE)
    rows, units = _rows(batch, TILE), _rows(hidden, TILE)
    feature_tiles = -(-batch // rows) * blocks if of_features else 0
    weight_tiles = -(-hidden // units) * blocks if of_weights else 0
    launch(
        outer_backward_kernel, feature_tiles + weight_tiles, features,
        d_hidden, features, weight1, d_features, d_weight1, batch, features.stride(0), feature_tiles,
        WIDTH=width, HIDDEN=hidden, ROWS=rows, UNITS=units, COLUMNS=TILE, **options, num_warps=8, num_stages=2,
    )  # fmt: skip
    return gradients
