"""What a GPU and its host do in a step: how many kernels there are, how long the GPU works, how long the host."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

PROFILED = 5
"""Steps that are profiled."""
TIMED = 20
"""Steps that the host is timed in, one at a time."""


def busy(steps: Callable[[int], object], device: torch.device, *, seconds: float) -> dict[str, float]:
    """The facts `kernels`, `busy` and `host_seconds` of a step; none where the device is not CUDA.

    Measure this after everything else: a profiler that was once switched on may slow down launches.

    Args:
        steps: Makes so many steps.
        device: Where.
        seconds: Of a step, as it was timed without a profiler, which would prolong it.
    """
    if device.type != "cuda":
        return {}
    host = []
    for _ in range(TIMED):
        torch.cuda.synchronize(device)
        begun = time.perf_counter()
        steps(1)
        host.append(time.perf_counter() - begun)
    torch.cuda.synchronize(device)
    facts = {"host_seconds": statistics.median(host)}
    with profile(activities=[ProfilerActivity.CUDA]) as taken:
        steps(PROFILED)
        torch.cuda.synchronize(device)
    spans = [
        (event.time_range.start, event.time_range.end)
        for event in taken.events()
        if event.device_type == DeviceType.CUDA and not event.is_user_annotation
    ]
    if not spans:  # this driver lets nobody trace
        return facts
    working = 1e-6 * covered(spans) / PROFILED
    return {"kernels": len(spans) / PROFILED, "busy": min(1.0, working / seconds), **facts}


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """The length of the union of intervals."""
    length, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        length += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return length
