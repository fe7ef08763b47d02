"""The definition of every function, in plain torch: the oracle of the tests and the path on a CPU.

Arguments are trusted here; `functional` checks them. Arithmetic is in float32, or in float64 where a
floating-point argument is. Everything is differentiable twice by ordinary autograd. Nothing is copied from the host or
waited for, so that a CUDA graph can capture each function: numbers are passed to operations as they are, and constant
tensors come from `arange`.

Shapes: B batch, P parameters of Q(c | x), C codes, K classes, W columns of the generator's input.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from .layout import BERNOULLI, CATEGORICAL, GAUSSIAN, UNIFORM, Layout

HALF_LOG_2_PI = 0.5 * math.log(2.0 * math.pi)
CODE_COUNTERS = 2**31  # second counter word of the codes' draws; below it are those of the noise

ANGLE_OF_A_WORD = 2.0 * math.pi / 2**32  # a word counts these steps of Box-Muller's angle
SQRT_HALF_BITS = 0x3F3504F3  # √½ as a float32
LN_2_HIGH, LN_2_LOW = 0.693359375, -2.12194440e-4  # ten bits, whose product with an exponent is exact, and the rest
LOG_COEFFICIENTS = (
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
)
SINE_COEFFICIENTS = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
COSINE_COEFFICIENTS = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)

_PHILOX_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_PHILOX_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_PHILOX_ROUNDS = 10
_WORD = 0xFFFFFFFF


def compute_dtype(*tensors: Tensor) -> torch.dtype:
    """float64 if one of the tensors is, else float32."""
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32


def gaussian_nll(
    mean: Tensor, log_var: Tensor | None, target: Tensor, reduction: str, low: float, high: float
) -> Tensor:
    """½(log 2π + log_var + (target - mean)² e^(-log_var)), log_var clamped to [low, high]; None is 0."""
    if log_var is None:
        dtype = compute_dtype(mean, target)
        nll = 0.5 * (target.to(dtype) - mean.to(dtype)).square() + HALF_LOG_2_PI
    else:
        dtype = compute_dtype(mean, log_var, target)
        bounded = log_var.to(dtype).clamp(low, high)
        square = (target.to(dtype) - mean.to(dtype)).square()
        nll = 0.5 * (bounded + square * torch.exp(-bounded)) + HALF_LOG_2_PI
    return _reduce(nll, reduction)


def cross_entropy(logits: Tensor, target: Tensor, reduction: str, ignore_index: int | None) -> Tensor:
    """log Σ_k e^(logit_k) - logit_target over the last axis; the mean is over the rows not ignored."""
    log_p = logits.to(compute_dtype(logits)).log_softmax(dim=-1)
    label = target.long()
    if ignore_index is None:
        return _reduce(-log_p.gather(-1, label.unsqueeze(-1)).squeeze(-1), reduction)
    ignored = label == ignore_index
    label = label.masked_fill(ignored, 0)
    nll = -log_p.gather(-1, label.unsqueeze(-1)).squeeze(-1).masked_fill(ignored, 0.0)
    if reduction == "mean":
        return nll.sum() / ignored.logical_not().sum()
    return _reduce(nll, reduction)


def q_head_nll(parameters: Tensor, targets: Tensor, layout: Layout) -> Tensor:
    """[C] batch means of -log Q(c_i | x): L_I is H(c_i) minus these (eq. 5 of arXiv:1606.03657)."""
    dtype = compute_dtype(parameters)
    batch = parameters.shape[0]
    means = []
    for group in layout.groups:
        q = parameters[:, group.columns].to(dtype)
        c = targets[:, group.codes]
        if group.kind == CATEGORICAL:
            log_p = q.reshape(batch, group.length, group.size).log_softmax(dim=-1)
            means.append(-log_p.gather(-1, c.long().unsqueeze(-1)).squeeze(-1).mean(dim=0))
        elif group.kind == BERNOULLI:
            means.append(binary_cross_entropy_with_logits(q, c.to(dtype), reduction="none").mean(dim=0))
        elif group.size == 1:
            means.append(0.5 * (c.to(dtype) - q).square().mean(dim=0) + HALF_LOG_2_PI)
        else:
            mean, log_var = q.reshape(batch, group.length, 2).unbind(-1)
            log_var = log_var.clamp(layout.log_var_min, layout.log_var_max)
            nll = log_var + (c.to(dtype) - mean).square() * torch.exp(-log_var)
            means.append(0.5 * nll.mean(dim=0) + HALF_LOG_2_PI)
    return means[0] if len(means) == 1 else torch.cat(means)


def log_of_beta(beta: float) -> float:
    """log β of a moving average; for β = 0 that of a number whose powers are 0 in float32."""
    return math.log(max(beta, 1e-45))


def _reduce(nll: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return nll.mean()
    return nll.sum() if reduction == "sum" else nll


def philox_4x32(counters: Tensor, seed: int) -> Tensor:
    """Philox-4x32-10 (Salmon et al. 2011): int64 [4, n] counter words below 2**32 to [4, n] random words.

    int64 products wrap, so their low 64 bits are those of the unsigned product. c1 and c3 keep a product's
    high half as well until the end: it never reaches a multiplication.
    """
    device = counters.device
    first, second = _PHILOX_MULTIPLIERS
    multipliers = torch.arange(first, second - 1, second - first, device=device).unsqueeze(1)  # these two numbers
    words = (seed & _WORD, seed >> 32)
    keys = [
        torch.arange(word, word + _PHILOX_ROUNDS * step, step, device=device)
        for word, step in zip(words, _PHILOX_KEY_STEPS, strict=True)
    ]
    even, odd = counters[0::2], counters[1::2]  # (c0, c2) and (c1, c3)
    for key in torch.stack(keys, dim=1).bitwise_and_(_WORD).unsqueeze(2).unbind(0):
        product = (even * multipliers).flip(0)
        even = (product >> 32).bitwise_xor_(odd).bitwise_xor_(key).bitwise_and_(_WORD)
        odd = product
    return torch.stack((even[0], odd[0], even[1], odd[1])) & _WORD


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
    """Latents of rows first_row … first_row + batch - 1: the input [B, W] and the targets [B, C].

    Counter words are (row, block, step, stream). Block j of the noise gives columns 4j … 4j + 3; block
    2**31 + j gives codes 2j and 2j + 1, two words each. So no two values share a bit, and a code's value does
    not depend on how much noise there is.
    """
    noise_blocks = -(-layout.noise // 4)
    codes = len(layout.columns)
    code_blocks = -(-codes // 2)
    blocks = noise_blocks + code_blocks
    counters = torch.empty((4, batch, blocks), dtype=torch.int64, device=device)
    counters[0] = torch.arange(first_row, first_row + batch, device=device).unsqueeze(1)
    counters[1, :, :noise_blocks] = torch.arange(noise_blocks, device=device)
    counters[1, :, noise_blocks:] = torch.arange(CODE_COUNTERS, CODE_COUNTERS + code_blocks, device=device)
    counters[2] = step & _WORD
    counters[3] = stream
    words = philox_4x32(counters.view(4, -1), seed).view(4, batch, blocks).permute(1, 2, 0)

    latents = torch.empty((batch, layout.width), dtype=dtype, device=device)
    targets = torch.empty((batch, codes), dtype=torch.float32, device=device)
    if layout.noise:
        noise_words = words[:, :noise_blocks]
        noise = _normal_pairs(noise_words) if layout.normal else _uniform(noise_words, -1.0, 2.0)
        latents[:, : layout.noise] = noise.flatten(1)[:, : layout.noise]
    code_words = words[:, noise_blocks:].reshape(batch, 2 * code_blocks, 2)
    for group in layout.groups:
        word = code_words[:, group.codes]
        column = latents[:, group.columns]
        if group.kind == CATEGORICAL:
            value = (word[..., 0] * group.size) >> 32
            one_hot = column.zero_().view(batch, group.length, group.size)
            one_hot.scatter_(2, value.unsqueeze(-1), 1.0)
        else:
            if group.kind == UNIFORM:
                value = _uniform(word[..., 0], group.low, group.span)
            elif group.kind == GAUSSIAN:
                value = _normal_pairs(word)[..., 0]
            else:
                value = ((word[..., 0] >> 8) < group.ones).to(torch.float32)
            column.copy_(value)
        targets[:, group.codes] = value
    return latents, targets


def _uniform(word: Tensor, low: float, span: float) -> Tensor:
    """low + u · span with u = the upper 24 bits / 2**24, which float32 holds exactly."""
    return (word >> 8).to(torch.float32) * 2.0**-24 * span + low


def _normal_pairs(words: Tensor) -> Tensor:
    """Box-Muller on the last axis: words (a, b) to r cos θ, r sin θ, with u = (a + ½) / 2³² and θ = 2π (b + ½) / 2³².

    In float32, by additions, products and one square root alone, which IEEE 754 rounds in one way only: the
    same bits on every device, as long as no product is fused with an addition.
    """
    a, b = words[..., 0::2], words[..., 1::2]
    # torch's float32 root is off by an ulp at times on a CPU; one in float64 rounds to the right float32 always.
    radius = (_log_uniform(a).to(torch.float64) * -2.0).sqrt_().to(torch.float32)
    quarter = (b + 2**29) >> 30  # the nearest multiple of a quarter turn, 0 … 4
    angle = ((b - (quarter << 30)).to(torch.float32) + 0.5) * ANGLE_OF_A_WORD
    sine, cosine = _sine_and_cosine(angle)
    swapped = (quarter & 1) == 1
    first = radius * torch.where(swapped, sine, cosine)
    second = radius * torch.where(swapped, cosine, sine)
    first = torch.where(((quarter + 1) & 2) == 2, -first, first)
    second = torch.where((quarter & 2) == 2, -second, second)
    return torch.stack((first, second), dim=-1).flatten(-2)


def _log_uniform(word: Tensor) -> Tensor:
    """log u in float32, u = (word + ½) / 2³², to 2 ulp: the polynomial of Cephes' logf (Moshier 1992).

    Above √½ it is a function of 1 - u, which float32 holds more exactly than u.
    """
    u = (word.to(torch.float32) + 0.5) * 2.0**-32
    bits = u.view(torch.int32) - SQRT_HALF_BITS
    exponent = bits >> 23
    mantissa = ((bits & 0x7FFFFF) + SQRT_HALF_BITS).view(torch.float32)  # in [√½, √2)
    from_1 = ((_WORD - word).to(torch.float32) + 0.5) * -(2.0**-32)
    x = torch.where(exponent == 0, from_1, mantissa - 1.0)
    exponent = exponent.to(torch.float32)
    square = x * x
    y = _horner(x, LOG_COEFFICIENTS) * x * square + exponent * LN_2_LOW
    return x + (y - square * 0.5) + exponent * LN_2_HIGH


def _sine_and_cosine(x: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float32, for |x| ≤ π/4, to 1 ulp: the polynomials of Cephes' sinf and cosf (Moshier 1992)."""
    square = x * x
    sine = _horner(square, SINE_COEFFICIENTS) * square * x + x
    cosine = _horner(square, COSINE_COEFFICIENTS) * square * square - square * 0.5 + 1.0
    return sine, cosine


def _horner(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    y = x * coefficients[0]
    for coefficient in coefficients[1:-1]:
        y.add_(coefficient).mul_(x)
    return y.add_(coefficients[-1])
