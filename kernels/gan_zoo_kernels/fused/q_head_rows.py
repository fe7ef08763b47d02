"""Equal categorical codes of a large batch: a thread takes whole codes, and rows are read as one stretch.

A lane is one code of one row, with all its logits in one thread, so that a softmax needs no exchange between
threads. Neighbouring lanes are neighbours in memory: a program's loads cover whole cache lines between them.
"""

from __future__ import annotations

import functools

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..layout import CATEGORICAL, Layout
from . import tiles
from .codes import is_class
from .column_sums import column_sums
from .launches import launch, warp_size
from .mathematics import exp_below_1

MOST_CLASSES = 16  # logits of one code that a thread holds, beside those of a second one
LANES = 2 * tiles.THREADS  # of a program


@triton.jit
def load_codes(parameters, lane, live, K: tl.constexpr, VECTOR: tl.constexpr, COLUMNS: tl.constexpr):
    """Logits [COLUMNS / VECTOR, LANES, VECTOR] in float32, -inf beyond class K - 1, and their classes."""
    k = tl.arange(0, COLUMNS // VECTOR)[:, None, None] * VECTOR + tl.arange(0, VECTOR)[None, None, :]
    here = (
        k < K // VECTOR * VECTOR
    )  # K, written to show that a vector lies on one side of it: the compiler joins its loads
    x = tl.load(parameters + lane[None, :, None] * K + k, live[None, :, None] & here, 0.0).to(tl.float32)
    return tl.where(here, x, float("-inf")), k


@triton.jit
def sums_of_codes(total, CODES: tl.constexpr, ROWS: tl.constexpr, CODES_2: tl.constexpr, ROWS_2: tl.constexpr):
    """[CODES_2] sums over the rows of lanes that are ROWS rows of CODES codes; a gather sorts them by code."""
    i = tl.arange(0, CODES_2 * ROWS_2)
    code, row = i // ROWS_2, i % ROWS_2
    inside = (code < CODES) & (row < ROWS)
    sorted_by_code = tl.gather(total, tl.where(inside, row * CODES + code, 0), 0)
    return tl.sum(tl.where(inside, sorted_by_code, 0.0).reshape(CODES_2, ROWS_2), axis=1)


@triton.jit(do_not_specialize=["batch", "rows_of_a_program"])
def q_head_rows_forward_kernel(
    parameters, targets, out, batch, rows_of_a_program,
    K: tl.constexpr, CODES: tl.constexpr, VECTOR: tl.constexpr, COLUMNS: tl.constexpr, LANES: tl.constexpr,
    ROWS: tl.constexpr, CODES_2: tl.constexpr, ROWS_2: tl.constexpr,
):  # fmt: skip
    """Sums by code of -log Q(c | x) over this program's rows; they follow each other, ROWS at a time."""
    lane = tl.arange(0, LANES)
    end = tl.minimum(batch, (tl.program_id(0) + 1) * rows_of_a_program)
    total = tl.zeros((LANES,), dtype=tl.float32)
    for first in range(tl.program_id(0) * rows_of_a_program, end, ROWS):
        live = (lane < ROWS * CODES) & (first + lane // CODES < end)
        before = (tl.full((), 0, tl.int64) + first) * CODES  # lanes of earlier rows, which may exceed 32 bits
        c = tl.load(targets + before + lane, live, 0.0)
        here = parameters + before * K
        x, _ = load_codes(here, lane, live, K, VECTOR, COLUMNS)
        valid = is_class(c, K)
        label = tl.where(valid, c, 0.0).to(tl.int32)
        chosen = tl.load(here + lane * K + label, live, 0.0).to(tl.float32)
        top = tl.max(tl.max(x, axis=0), axis=1)
        log_sum = tl.log(tl.sum(tl.sum(exp_below_1(x - top[None, :, None], False), axis=0), axis=1))
        nll = tl.where(valid, log_sum + (top - chosen), float("nan"))
        total += tl.where(live, nll, 0.0)
    code = tl.arange(0, CODES_2)
    sums = sums_of_codes(total, CODES, ROWS, CODES_2, ROWS_2)
    tl.store(out + tl.program_id(0) * CODES + code, sums, mask=code < CODES)


@triton.jit(do_not_specialize=["batch", "divisor"])
def q_head_rows_backward_kernel(
    upstream, parameters, targets, gradient, batch, upstream_stride, divisor,
    K: tl.constexpr, CODES: tl.constexpr, VECTOR: tl.constexpr, COLUMNS: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """The gradient in the logits of LANES codes; they may begin and end within a row."""
    lane = tl.arange(0, LANES)
    before = tl.program_id(0).to(tl.int64) * LANES
    live = lane < tl.minimum(batch.to(tl.int64) * CODES - before, LANES).to(tl.int32)
    c = tl.load(targets + before + lane, live, 0.0)
    x, k = load_codes(parameters + before * K, lane, live, K, VECTOR, COLUMNS)
    code = ((before % CODES).to(tl.int32) + lane) % CODES
    g = tl.div_rn(tl.load(upstream + code * upstream_stride), divisor)
    valid = is_class(c, K)
    g = tl.where(valid, g, float("nan"))
    label = tl.where(valid, c, 0.0).to(tl.int32)
    e = exp_below_1(x - tl.max(tl.max(x, axis=0), axis=1)[None, :, None], gradient.dtype.element_ty == tl.float32)
    # d/dx_k (log Σ e^x - x_c) = softmax(x)_k - [k = c]; one division a code, and products for its classes
    d = e * (g / tl.sum(tl.sum(e, axis=0), axis=1))[None, :, None]
    d = tl.where(k == label[None, :, None], d - g[None, :, None], d)
    # Threads exchange the rounded gradients, so that neighbours in memory are stored together.
    d = d.to(gradient.dtype.element_ty).permute(1, 0, 2).reshape(LANES, COLUMNS)
    k = tl.arange(0, COLUMNS)[None, :]
    inside = live[:, None] & (k < K // VECTOR * VECTOR)
    tl.store(gradient + before * K + lane[:, None] * K + k, d, mask=inside)


def equal_classes(layout: Layout) -> int:
    """The classes of each code, if these kernels take the layout: equal categorical codes; otherwise 0."""
    (group, *others) = layout.groups
    fits = (
        not others
        and group.kind == CATEGORICAL
        and group.size <= MOST_CLASSES
        and group.size % 2 == 0  # loads of single half-precision values cost more than the exchange that is saved
        and group.length <= LANES // 4
    )
    return group.size if fits else 0


def serves(parameters: Tensor, targets: Tensor, tile: tiles.Tile) -> bool:
    """Whether these kernels take a batch of such codes: contiguous, and more than one program takes in `tile`s."""
    return parameters.shape[0] > tiles.ALONE * tile.rows and parameters.is_contiguous() and targets.is_contiguous()


@functools.lru_cache(maxsize=256)
def _constants(classes: int, codes: int, itemsize: int) -> dict[str, int]:
    vector = min(tiles.VECTOR_BYTES // itemsize, classes & -classes)
    return {"K": classes, "CODES": codes, "VECTOR": vector, "COLUMNS": tiles.next_power_of_two(classes)}


def forward(parameters: Tensor, targets: Tensor, classes: int) -> Tensor:
    """[C] batch means; see `q_head_nll`."""
    batch, codes = targets.shape
    rows = LANES // codes
    blocks = -(-batch // rows)
    blocks_of_a_program = -(-blocks // tiles.MAX_PARTIAL_SUMS)
    programs = -(-blocks // blocks_of_a_program)
    partials = torch.empty((programs, codes), dtype=torch.float32, device=parameters.device)
    launch(
        q_head_rows_forward_kernel, programs, parameters,
        parameters, targets, partials, batch, blocks_of_a_program * rows,
        **_constants(classes, codes, parameters.element_size()), LANES=LANES,
        ROWS=rows, CODES_2=tiles.next_power_of_two(codes), ROWS_2=tiles.next_power_of_two(rows),
        num_warps=tiles.THREADS // warp_size(),
    )  # fmt: skip
    out = torch.empty(codes, dtype=torch.float32, device=parameters.device)
    column_sums(partials, out, float(batch))
    return out


def backward(upstream: Tensor, parameters: Tensor, targets: Tensor, classes: int) -> Tensor:
    """[B, P] gradient in the dtype of the parameters, from the [C] gradient of the means."""
    batch, codes = targets.shape
    gradient = torch.empty_like(parameters)
    lanes = LANES if parameters.element_size() == 2 else LANES // 2  # float32's exact exponentials need registers
    launch(
        q_head_rows_backward_kernel, -(-targets.numel() // lanes), parameters,
        upstream, parameters, targets, gradient, batch, upstream.stride(0), float(batch),
        **_constants(classes, codes, parameters.element_size()), LANES=lanes,
        num_warps=tiles.THREADS // warp_size(),
    )  # fmt: skip
    return gradient
