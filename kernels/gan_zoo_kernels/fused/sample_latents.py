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

from ..layout import CODE_KINDS as KINDS
from ..layout import PriorCode, PriorLayout
from ..reference import CODE_COUNTERS as _CODE_COUNTERS
from . import tiles
from .launches import launch, warp_size
from .normals import normal_pair
from .operators import register

CATEGORICAL = tl.constexpr(0)
UNIFORM = tl.constexpr(1)
GAUSSIAN = tl.constexpr(2)
BERNOULLI = tl.constexpr(3)
CODE_COUNTERS = tl.constexpr(_CODE_COUNTERS)


@triton.jit
def uniform(word, low, span):
    """low + u · span with u = the upper 24 bits / 2**24; the product and the sum are rounded apart."""
    return (word >> 8).to(tl.float32) * 5.9604644775390625e-08 * span + low


@triton.jit
def find_code(code, RUNS: tl.constexpr):
    """(kind, width, first column, low, span) of a code; RUNS holds six numbers a run of equal codes."""
    kind = RUNS[0]
    size = RUNS[1]
    column = RUNS[3] + (code - RUNS[2]) * RUNS[1]
    low = RUNS[4]
    span = RUNS[5]
    for i in tl.static_range(6, len(RUNS), 6):
        here = code >= RUNS[i + 2]
        kind = tl.where(here, RUNS[i], kind)
        size = tl.where(here, RUNS[i + 1], size)
        column = tl.where(here, RUNS[i + 3] + (code - RUNS[i + 2]) * RUNS[i + 1], column)
        low = tl.where(here, RUNS[i + 4], low)
        span = tl.where(here, RUNS[i + 5], span)
    return kind, size, column, low, span


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
    z = tl.join(tl.join(z0, z2), tl.join(z1, z3)).reshape((ROWS, 4 * BLOCKS))
    column = unit * (4 * BLOCKS) + tl.arange(0, 4 * BLOCKS)
    at = latents + row[:, None] * WIDTH + column[None, :]
    tl.store(at, z.to(latents.dtype.element_ty), mask=live[:, None] & (column < NOISE)[None, :])


@triton.jit
def draw_code(
    latents, targets, batch, first_row, c2, c3, k0, k1, program,
    RUNS: tl.constexpr, KINDS: tl.constexpr, CODES: tl.constexpr, WIDTH: tl.constexpr,
    ROWS: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    """One code of each row of a block: its columns of the input, and its target."""
    code = program % CODES
    row, live, c0 = rows_of(program // CODES, batch, first_row, ROWS)
    kind, size, column, low, span = find_code(code, RUNS)
    out = latents + row * WIDTH + column
    zero = tl.zeros((ROWS,), dtype=tl.uint32)
    c1 = zero + (code // 2).to(tl.uint32) + tl.full((), CODE_COUNTERS, tl.uint32)
    a, b, c, d = philox_impl(c0, c1, zero + c2, zero + c3, k0, k1)
    word = tl.where(code % 2 == 0, a, c)
    value = uniform(word, low, span)
    if KINDS & 1:
        if kind == CATEGORICAL:
            index = tl.umulhi(word, zero + size.to(tl.uint32)).to(tl.int32)
            value = index.to(tl.float32)
            # Through a gather, lest the threads that share a row each draw its word anew.
            index = tl.gather(index, tl.arange(0, ROWS), 0)
            k = tl.arange(0, CLASSES)
            one_hot = (k[None, :] == index[:, None]).to(tl.float32).to(latents.dtype.element_ty)
            tl.store(out[:, None] + k[None, :], one_hot, mask=live[:, None] & (k < size)[None, :])
    if KINDS & 4:
        if kind == GAUSSIAN:
            value, _ = normal_pair(word, tl.where(code % 2 == 0, b, d))
    if KINDS & 8:
        if kind == BERNOULLI:
            value = ((word >> 8).to(tl.float32) < low).to(tl.float32)
    if KINDS & 14:
        tl.store(out, value.to(latents.dtype.element_ty), mask=live & (kind > CATEGORICAL))
    tl.store(targets + row * CODES + code, value, mask=live)


@triton.jit(do_not_specialize=["batch", "first_row", "step", "stream", "key0", "key1"])
def sample_latents_kernel(
    latents, targets, step_pointer,
    batch, first_row, step, stream, key0, key1,
    STEP_TENSOR: tl.constexpr, NOISE: tl.constexpr, NORMAL: tl.constexpr, NOISE_UNITS: tl.constexpr,
    RUNS: tl.constexpr, KINDS: tl.constexpr, CODES: tl.constexpr, WIDTH: tl.constexpr,
    ROWS: tl.constexpr, BLOCKS: tl.constexpr, CODE_ROWS: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
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
            RUNS, KINDS, CODES, WIDTH, CODE_ROWS, CLASSES,
        )  # fmt: skip


def constants(layout: PriorLayout, warp_size: int) -> tuple[dict[str, Any], int]:
    """What a compiled kernel knows of a layout, and its warps."""
    widest = layout.most_classes
    noise_blocks = -(-layout.noise // 4)
    tile = tiles.latent_tile(noise_blocks, widest, warp_size)
    kinds = 0
    runs: list[int | float] = []
    for run in layout.runs:
        kind = KINDS.index(run.code.kind)
        kinds |= 1 << kind
        runs += [kind, run.code.size, run.first_code, run.first_column, *_low_and_span(run.code)]
    known = {
        "NOISE": layout.noise,
        "NORMAL": layout.distribution == "normal",
        "NOISE_UNITS": -(-noise_blocks // tile.columns),
        "RUNS": tuple(runs),
        "KINDS": kinds,
        "CODES": len(layout.codes),
        "WIDTH": layout.width,
        "ROWS": tile.rows,
        "BLOCKS": tile.columns,
        "CODE_ROWS": tiles.rows_of_codes(widest),
        "CLASSES": tiles.next_power_of_two(widest),
    }
    return known, tile.warps


def _low_and_span(code: PriorCode) -> tuple[float, float]:
    """Two floats a code needs: of a Bernoulli code, the number of 2**24 equally likely draws that give 1."""
    if code.kind == "bernoulli":
        return float(round(code.probability * 2**24)), 0.0
    return float(code.low), float(code.high - code.low)


def draw(
    numbers: list[int],
    floats: list[float],
    kinds: list[int],
    batch: int,
    seed: int,
    step: int,
    step_tensor: Tensor | None,
    stream: int,
    first_row: int,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """(input, targets) of the layout whose `numbers` are these."""
    layout, known, warps = _plan(tuple(numbers), tuple(floats), tuple(kinds), warp_size())
    latents = torch.empty((batch, layout.width), dtype=dtype, device=device)
    targets = torch.empty((batch, len(layout.codes)), dtype=torch.float32, device=device)
    if batch == 0:
        return latents, targets
    launch(
        sample_latents_kernel,
        -(-batch // known["ROWS"]) * known["NOISE_UNITS"] + -(-batch // known["CODE_ROWS"]) * known["CODES"],
        latents,
        latents,
        targets,
        targets if step_tensor is None else step_tensor,
        batch,
        *(_signed(word) for word in (first_row, step, stream, seed, seed >> 32)),
        STEP_TENSOR=step_tensor is not None,
        **known,
        num_warps=warps,
        enable_fp_fusion=False,
    )
    return latents, targets


def _signed(word: int) -> int:
    """The low 32 bits as a signed number, so that every value has one argument type."""
    return ((word & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000


@functools.lru_cache(maxsize=256)
def _plan(
    numbers: tuple[int, ...], floats: tuple[float, ...], kinds: tuple[int, ...], warps_of: int
) -> tuple[PriorLayout, dict[str, Any], int]:
    """The layout, its constants and the warps; put together once and looked up by later calls."""
    noise, normal, *sizes = numbers
    codes = tuple(
        PriorCode(KINDS[kind], size, *floats[3 * i : 3 * i + 3])
        for i, (kind, size) in enumerate(zip(kinds, sizes, strict=True))
    )
    layout = PriorLayout(noise, "normal" if normal else "uniform", codes)
    return layout, *constants(layout, warps_of)


def _fake(numbers, floats, kinds, batch, seed, step, step_tensor, stream, first_row, device, dtype):  # type: ignore[no-untyped-def]
    width = numbers[0] + sum(numbers[2:])
    latents = torch.empty((batch, width), dtype=dtype, device=device)
    return latents, torch.empty((batch, len(kinds)), dtype=torch.float32, device=device)


_draw = register(
    "sample_latents(int[] numbers, float[] floats, int[] kinds, SymInt batch, int seed, SymInt step, "
    "Tensor? step_tensor, int stream, SymInt first_row, Device device, ScalarType dtype) -> (Tensor, Tensor)",
    draw,
    _fake,
)


def sample_latents(
    layout: PriorLayout,
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
    drawn: tuple[Tensor, Tensor] = _draw(*layout.numbers, batch, seed, number, tensor, stream, first_row, device, dtype)
    return drawn
