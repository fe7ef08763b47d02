"""Noise and codes drawn and packed in one launch: Philox-4x32-10 and Box-Muller, as in `reference`.

A program takes a block of rows and one unit of work: a stretch of the noise, or one code. Uniforms and
classes come from integers by operations that IEEE 754 rounds in one way only, and so do normals (`normals`): all
are the reference's bit for bit.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language.random import philox_impl

from ..layout import Layout, parse_layout
from ..reference import CODE_COUNTERS as _CODE_COUNTERS
from . import tiles
from .codes import BERNOULLI, CATEGORICAL, GAUSSIAN, LOW, ONES, SPAN, UNIFORM, find_code, has, of_group
from .launches import launch, warp_size
from .normals import normal_pair
from .operators import register

CODE_COUNTERS = tl.constexpr(_CODE_COUNTERS)


@triton.jit
def uniform(word, low, span):
    """low + u · span with u = the upper 24 bits / 2**24; the product and the sum are rounded apart."""
    return (word >> 8).to(tl.float32) * 5.9604644775390625e-08 * span + low


@triton.jit
def rows_of(block, batch, first_row, ROWS: tl.constexpr):
    """Numbers of a block of rows in this draw, which of them there are, and their counter words."""
    i = block * ROWS + tl.arange(0, ROWS)
    return i.to(tl.int64), i < batch, first_row.to(tl.uint32, bitcast=True) + i.to(tl.uint32, bitcast=True)


@triton.jit
def draw_noise(
    latents, batch, first_row, c2, c3, k0, k1, program,
    NOISE_UNITS: tl.constexpr,
    NOISE: tl.constexpr, NORMAL: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """A stretch of 4 · BLOCKS columns of noise for each row of a block."""
    unit = program % NOISE_UNITS
    row, live, c0 = rows_of(program // NOISE_UNITS, batch, first_row, ROWS)
    block = unit * BLOCKS + tl.arange(0, BLOCKS)
    zero = tl.zeros((ROWS, BLOCKS), dtype=tl.uint32)
    c1 = zero + block.to(tl.uint32)[None, :]
    a, b, c, d = philox_impl(zero + c0[:, None], c1, zero + c2, zero + c3, k0, k1)
    if NORMAL:
        z0, z1 = normal_pair(a, b)
        z2, z3 = normal_pair(c, d)
    else:
        z0, z1 = uniform(a, -1.0, 2.0), uniform(b, -1.0, 2.0)
        z2, z3 = uniform(c, -1.0, 2.0), uniform(d, -1.0, 2.0)
    # Interleave the four words of a block: its columns are 4j … 4j + 3 in order.
    z = tl.join(tl.join(z0, z2), tl.join(z1, z3)).reshape((ROWS, 4 * BLOCKS))
    column = unit * (4 * BLOCKS) + tl.arange(0, 4 * BLOCKS)
    at = latents + row[:, None] * WIDTH + column[None, :]
    tl.store(at, z.to(latents.dtype.element_ty), mask=live[:, None] & (column < NOISE)[None, :])


@triton.jit
def draw_code(
    latents, targets, batch, first_row, c2, c3, k0, k1, program,
    GROUPS: tl.constexpr, CODES: tl.constexpr, WIDTH: tl.constexpr,
    ROWS: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    """One code of each row of a block: its columns of the input, and its target."""
    # Codes 2j and 2j + 1 share a Philox block, with two words each.
    code = program % CODES
    row, live, c0 = rows_of(program // CODES, batch, first_row, ROWS)
    kind, size, column = find_code(code, GROUPS)
    out = latents + row * WIDTH + column
    zero = tl.zeros((ROWS,), dtype=tl.uint32)
    c1 = zero + (code // 2).to(tl.uint32) + tl.full((), CODE_COUNTERS, tl.uint32)
    a, b, c, d = philox_impl(c0, c1, zero + c2, zero + c3, k0, k1)
    word = tl.where(code % 2 == 0, a, c)
    value = uniform(word, of_group(code, GROUPS, LOW), of_group(code, GROUPS, SPAN))
    if has(GROUPS, CATEGORICAL):
        if kind == CATEGORICAL:
            index = tl.umulhi(word, zero + size.to(tl.uint32)).to(tl.int32)
            value = index.to(tl.float32)
            # The gather keeps the threads that share a row from drawing its word again.
            index = tl.gather(index, tl.arange(0, ROWS), 0)
            k = tl.arange(0, CLASSES)
            one_hot = (k[None, :] == index[:, None]).to(tl.float32).to(latents.dtype.element_ty)
            tl.store(out[:, None] + k[None, :], one_hot, mask=live[:, None] & (k < size)[None, :])
    if has(GROUPS, GAUSSIAN):
        if kind == GAUSSIAN:
            value, _ = normal_pair(word, tl.where(code % 2 == 0, b, d))
    if has(GROUPS, BERNOULLI):
        if kind == BERNOULLI:
            value = ((word >> 8) < of_group(code, GROUPS, ONES)).to(tl.float32)
    if has(GROUPS, UNIFORM, GAUSSIAN, BERNOULLI):
        tl.store(out, value.to(latents.dtype.element_ty), mask=live & (kind != CATEGORICAL))
    tl.store(targets + row * CODES + code, value, mask=live)


@triton.jit(do_not_specialize=["batch", "first_row", "step", "stream", "key0", "key1"])
def sample_latents_kernel(
    latents, targets, step_pointer,
    batch, first_row, step, stream, key0, key1,
    STEP_TENSOR: tl.constexpr, NOISE: tl.constexpr, NORMAL: tl.constexpr, NOISE_UNITS: tl.constexpr,
    GROUPS: tl.constexpr, CODES: tl.constexpr, WIDTH: tl.constexpr,
    ROWS: tl.constexpr, BLOCKS: tl.constexpr, CODE_ROWS: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    # The counter is (row, block, step, stream), the key the seed; the first programs draw noise, the others codes.
    if STEP_TENSOR:
        c2 = tl.load(step_pointer).to(tl.uint32)
    else:
        c2 = step.to(tl.uint32, bitcast=True)
    c3 = stream.to(tl.uint32, bitcast=True)
    k0 = key0.to(tl.uint32, bitcast=True)
    k1 = key1.to(tl.uint32, bitcast=True)
    noise_programs = tl.cdiv(batch, ROWS) * NOISE_UNITS
    if tl.program_id(0) < noise_programs:
        if NOISE_UNITS > 0:
            draw_noise(
                latents, batch, first_row, c2, c3, k0, k1, tl.program_id(0),
                NOISE_UNITS, NOISE, NORMAL, WIDTH, ROWS, BLOCKS,
            )  # fmt: skip
    elif CODES > 0:
        draw_code(
            latents, targets, batch, first_row, c2, c3, k0, k1, tl.program_id(0) - noise_programs,
            GROUPS, CODES, WIDTH, CODE_ROWS, CLASSES,
        )  # fmt: skip


@functools.lru_cache(maxsize=256)
def _plan(spec: str, warp_size: int) -> tuple[Layout, dict[str, Any], int]:
    """The layout, what the compiled kernel knows of it, and its warps; later calls look them up."""
    layout = parse_layout(spec)
    widest = layout.most_classes
    noise_blocks = -(-layout.noise // 4)
    tile = tiles.latent_tile(noise_blocks, widest, warp_size)
    known = {
        "NOISE": layout.noise,
        "NORMAL": layout.normal,
        "NOISE_UNITS": -(-noise_blocks // tile.columns),
        "GROUPS": layout.groups,
        "CODES": len(layout.columns),
        "WIDTH": layout.width,
        "ROWS": tile.rows,
        "BLOCKS": tile.columns,
        "CODE_ROWS": tiles.rows_of_codes(widest),
        "CLASSES": tiles.next_power_of_two(widest),
    }
    return layout, known, tile.warps


def _fake(spec: str, batch: int, *rest: Any) -> tuple[Tensor, Tensor]:
    device, dtype = rest[-2:]
    return _empty_results(parse_layout(spec), batch, device, dtype)


@register("sample_latents", _fake)
def draw(
    spec: str,
    batch: int,
    seed: int,
    step: int,
    step_tensor: Tensor | None,
    stream: int,
    first_row: int,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """(input, targets) of the layout whose `spec` this is."""
    layout, known, warps = _plan(spec, warp_size())
    latents, targets = _empty_results(layout, batch, device, dtype)
    if batch == 0:
        return latents, targets
    launch(
        sample_latents_kernel,
        -(-batch // known["ROWS"]) * known["NOISE_UNITS"] + -(-batch // known["CODE_ROWS"]) * known["CODES"], latents,
        latents, targets, targets if step_tensor is None else step_tensor,
        batch, *(_signed(word) for word in (first_row, step, stream, seed, seed >> 32)),
        STEP_TENSOR=step_tensor is not None, **known, num_warps=warps, enable_fp_fusion=False,
    )  # fmt: skip
    return latents, targets


def _empty_results(layout: Layout, batch: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    latents = torch.empty((batch, layout.width), dtype=dtype, device=device)
    return latents, torch.empty((batch, len(layout.columns)), dtype=torch.float32, device=device)


def _signed(word: int) -> int:
    """The low 32 bits as a signed number, so that every value has one argument type."""
    return ((word & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000


def sample_latents(
    layout: Layout,
    batch: int,
    seed: int,
    step: int | Tensor,
    stream: int,
    first_row: int,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """See `gan_zoo_kernels.sample_latents`; the arguments are trusted here."""
    number, tensor = (0, step) if isinstance(step, Tensor) else (step, None)
    seed = seed - 2**64 if seed >= 2**63 else seed  # an operator's integer is signed
    return draw(layout.spec, batch, seed, number, tensor, stream, first_row, device, dtype)
