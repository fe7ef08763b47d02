"""Device functions that more than one kernel computes."""

from __future__ import annotations

import triton
import triton.language as tl

from ..reference import HALF_LOG_2_PI as _HALF_LOG_2_PI

HALF_LOG_2_PI = tl.constexpr(_HALF_LOG_2_PI)
LOG2_E = tl.constexpr(1.4426950408889634)
LN2_HIGH = tl.constexpr(0.693359375)  # ten bits: its product with an exponent is exact
LN2_LOW = tl.constexpr(-2.12194440e-4)


@triton.jit
def exp(x):
    """e^x to about 3 ulp for x ≤ 88; 0 below -104, and for -inf; NaN for NaN.

    `tl.exp` multiplies by log2 e and takes the hardware's 2^x: the rounding of the product grows with |x|, to
    20 ulp at -80. Here the multiple of ln 2 nearest to x is taken off in two parts first (Cody and Waite).
    """
    x = tl.where(x < -104.0, -104.0, x)
    n = tl.floor(x * LOG2_E + 0.5)
    rest = (x - n * LN2_HIGH) - n * LN2_LOW
    return tl.exp2(n) * tl.exp2(rest * LOG2_E)


@triton.jit
def log1p_of_exp(x):
    """log(1 + e^x) for x ≤ 0, to a few ulp where e^x vanishes beside 1 too (Kahan's quotient)."""
    e = exp(x)
    u = 1.0 + e
    return tl.where(u == 1.0, e, tl.log(u) * (e / tl.where(u == 1.0, 1.0, u - 1.0)))


@triton.jit
def bound(x, LOW: tl.constexpr, HIGH: tl.constexpr):
    """x clamped to [LOW, HIGH]; NaN stays NaN."""
    return tl.where(x < LOW, LOW, tl.where(x > HIGH, HIGH, x))
