"""Device functions that more than one kernel computes."""

from __future__ import annotations

import triton
import triton.language as tl

from ..reference import HALF_LOG_2_PI as _HALF_LOG_2_PI

HALF_LOG_2_PI = tl.constexpr(_HALF_LOG_2_PI)
LOG2_E = tl.constexpr(1.4426950216293335)  # log₂ e to float32, and what is missing
LOG2_E_LOW = tl.constexpr(1.92596298909109e-8)
LN_2 = tl.constexpr(0.6931471805599453)


@triton.jit
def exp(x):
    """e^x to about 3 ulp for x ≤ 88; 0 below -104, and for -inf; NaN for NaN.

    `tl.exp` multiplies by log₂ e and takes the hardware's 2^x: the rounding of the product grows with |x|, to
    20 ulp at -80. Here a fused multiply-add recovers that rounding, and e^x = 2^t (1 + δ ln 2) puts it back.
    There is one hardware exponential, of which a multiprocessor computes 16 a cycle.
    """
    x = tl.maximum(x, -104.0, propagate_nan=tl.PropagateNan.ALL)
    t = x * LOG2_E
    lost = tl.fma(x, LOG2_E, -t) + x * LOG2_E_LOW
    e = tl.exp2(t)
    return e + e * (lost * LN_2)


@triton.jit
def exp_below_1(x, EXACT: tl.constexpr):
    """e^x for x ≤ 0: as `exp`, or in two operations with an error of about |x| / 2 + 2 ulp.

    The second is enough where the result is rounded to 11 bits or fewer, or added to a sum of at least 1: an
    error of |x| ulp in e^x is less than one ulp of 1.
    """
    if EXACT:
        e = exp(x)
    else:
        e = tl.exp2(x * LOG2_E)
    return e


@triton.jit
def log1p_of_exp(x):
    """log(1 + e^x) for x ≤ 0, to a few ulp where e^x vanishes beside 1 too (Kahan's quotient)."""
    e = exp(x)
    u = 1.0 + e
    return tl.where(u == 1.0, e, tl.log(u) * (e / tl.where(u == 1.0, 1.0, u - 1.0)))


@triton.jit
def softplus(x):
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), whose exponential does not overflow."""
    return tl.maximum(x, 0.0) + log1p_of_exp(-tl.abs(x))


@triton.jit
def sigmoid(x):
    """1 / (1 + e^-x), the slope of softplus, by the exponential that does not overflow."""
    e = exp(-tl.abs(x))
    return tl.where(x >= 0, 1.0, e) / (1.0 + e)


@triton.jit
def bound(x, LOW: tl.constexpr, HIGH: tl.constexpr):
    """x clamped to [LOW, HIGH]; NaN stays NaN."""
    return tl.clamp(x, LOW, HIGH, propagate_nan=tl.PropagateNan.ALL)
