"""Box-Muller in float32 by operations that IEEE 754 rounds in one way only: `reference._normal_pairs` in a kernel.

A kernel that calls these is compiled with `enable_fp_fusion=False`, for a fused multiply-add rounds once where the
reference rounds twice.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .. import reference

ANGLE_OF_A_WORD = tl.constexpr(reference.ANGLE_OF_A_WORD)
SQRT_HALF_BITS = tl.constexpr(reference.SQRT_HALF_BITS)
LN_2_HIGH = tl.constexpr(reference.LN_2_HIGH)
LN_2_LOW = tl.constexpr(reference.LN_2_LOW)
LOG_COEFFICIENTS = tl.constexpr(reference.LOG_COEFFICIENTS)
SINE_COEFFICIENTS = tl.constexpr(reference.SINE_COEFFICIENTS)
COSINE_COEFFICIENTS = tl.constexpr(reference.COSINE_COEFFICIENTS)


@triton.jit
def horner(x, COEFFICIENTS: tl.constexpr, TERMS: tl.constexpr):
    y = x * COEFFICIENTS[0]
    for i in tl.static_range(1, TERMS - 1):
        y = (y + COEFFICIENTS[i]) * x
    return y + COEFFICIENTS[TERMS - 1]


@triton.jit
def log_uniform(word):
    """log u, u = (word + ½) / 2³²."""
    u = (word.to(tl.float32) + 0.5) * 2.3283064365386963e-10
    bits = u.to(tl.int32, bitcast=True) - SQRT_HALF_BITS
    exponent = bits >> 23
    mantissa = ((bits & 0x7FFFFF) + SQRT_HALF_BITS).to(tl.float32, bitcast=True)
    from_1 = ((word ^ 0xFFFFFFFF).to(tl.float32) + 0.5) * -2.3283064365386963e-10
    x = tl.where(exponent == 0, from_1, mantissa - 1.0)
    exponent = exponent.to(tl.float32)
    square = x * x
    y = horner(x, LOG_COEFFICIENTS, 9) * x * square + exponent * LN_2_LOW
    return x + (y - square * 0.5) + exponent * LN_2_HIGH


@triton.jit
def normal_pair(a, b):
    """Two words to two normals."""
    radius = tl.sqrt_rn(log_uniform(a) * -2.0)
    quarter = ((b >> 1) + (1 << 28)) >> 29  # (b + 2²⁹) >> 30 without the carry, 0 … 4
    rest = (b - (quarter << 30)).to(tl.int32, bitcast=True)
    angle = (rest.to(tl.float32) + 0.5) * ANGLE_OF_A_WORD
    square = angle * angle
    sine = horner(square, SINE_COEFFICIENTS, 3) * square * angle + angle
    cosine = horner(square, COSINE_COEFFICIENTS, 3) * square * square - square * 0.5 + 1.0
    swapped = (quarter & 1) == 1
    first = radius * tl.where(swapped, sine, cosine)
    second = radius * tl.where(swapped, cosine, sine)
    first = tl.where(((quarter + 1) & 2) == 2, -first, first)
    return first, tl.where((quarter & 2) == 2, -second, second)
