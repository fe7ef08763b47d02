"""The number of kernels in a step, and the time that GPU and host spend on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from gan_zoo.bench.cold import host_seconds

PROFILED = 5
"""Number of profiled steps."""
TIMED = 20
"""Number of steps, timed one by one, for the host's time."""


def busy(steps: Callable[[int], object], device: torch.device, *, seconds: float) -> dict[str, float]:
    """The facts `kernels`, `busy` and `host_seconds` of a step; empty unless the device is CUDA.

    Measure this last: a profiler may slow down later launches.

    Args:
        steps: Runs the given number of steps.
        device: The device.
        seconds: Time of a step without the profiler, which slows it down.
    """
    if device.type != "cuda":
        return {}
    facts = {"host_seconds": host_seconds([partial(steps, 1)], device, count=1, rounds=TIMED)}
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        steps(PROFILED)
        torch.cuda.synchronize(device)
    spans = [
        (event.time_range.start, event.time_range.end)
        for event in profiled.events()
        if event.device_type == DeviceType.CUDA and not event.is_user_annotation
    ]
    if not spans:  # the driver does not permit tracing
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
