"""A device's peak rates, with which steps and kernels are compared."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

import torch

from gan_zoo.bench.clock import in_turn

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def matmul_rate(name: str, device: torch.device, *, seconds: float = 1.0) -> float:
    """FLOP/s of a product of two square matrices in the number format `name`: the median for the best of three sizes.

    fp32 products use TF32 if torch allows convolutions to.
    """
    sizes = (4096, 8192, 16384) if device.type == "cuda" else (1024, 2048, 3072)
    calls, reached = {}, []
    for size in sizes:
        a, b = (torch.randn(size, size, device=device).to(DTYPES[name]) for _ in range(2))
        calls[str(size)] = lambda a=a, b=b: torch.mm(a, b)
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        for side, times in in_turn(calls, device, seconds=seconds).items():
            reached.append(2 * int(side) ** 3 / statistics.median(times))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed
    return max(reached)


def copy_rate(device: torch.device, *, seconds: float = 0.5) -> float:
    """Median bytes/s, read and written, of copying a tensor far larger than any cache."""
    source = torch.empty((2**30 if device.type == "cuda" else 2**28) // 4, device=device).normal_()
    target = torch.empty_like(source)
    times = in_turn({"copy": lambda: target.copy_(source)}, device, seconds=seconds)["copy"]
    return 2 * source.numel() * source.element_size() / statistics.median(times)


def rates(precisions: Iterable[str], device: torch.device) -> dict[str, float]:
    """The rates of a report: `matmul/<precision>` and `copy`."""
    return {**{f"matmul/{name}": matmul_rate(name, device) for name in precisions}, "copy": copy_rate(device)}
