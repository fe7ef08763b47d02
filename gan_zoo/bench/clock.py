"""Interleaved timings of several cases, so that a drift of the machine affects all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch

from gan_zoo.training.build import is_out_of_memory


def elapsed(call: Callable[[], object], device: torch.device, *, head_start: int = 0) -> float:
    """Seconds of one call: by CUDA events, or by the wall clock on a CPU.

    The events enclose everything that the call launches, including any time in which the device waits for the host; a
    device that first spins for `head_start` cycles does not wait for it.
    """
    if device.type != "cuda":
        begun = time.perf_counter()
        call()
        return time.perf_counter() - begun
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize(device)
    if head_start:
        torch.cuda._sleep(head_start)
    start.record()
    call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1000


def in_turn(
    calls: Mapping[str, Callable[[], object]],
    device: torch.device,
    *,
    seconds: float,  # approximate total time
    least: int = 6,  # minimum number of rounds, which a 95 % interval requires
    most: int = 200,  # maximum number of rounds
    warm_up: int = 3,  # rounds that are not counted
    measure: Callable[[Callable[[], object], torch.device], float] = elapsed,  # returns the seconds of a call
) -> dict[str, list[float]]:
    """Seconds of each call by round; the order within a round rotates.

    The k-th values of all calls are from the same round.
    """
    names = list(calls)
    for _ in range(warm_up):
        for name in names:
            calls[name]()
    times: dict[str, list[float]] = {name: [] for name in names}
    begun, rounds = time.perf_counter(), 0
    while rounds < least or (rounds < most and time.perf_counter() - begun < seconds):
        turned = names[rounds % len(names) :] + names[: rounds % len(names)]
        for name in turned:
            times[name].append(measure(calls[name], device))
        rounds += 1
    return times


def reason(error: Exception) -> str:
    """An error in one line, for a report."""
    lines = str(error).strip().splitlines()
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and is_out_of_memory(error)):
        return "out of memory"
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
