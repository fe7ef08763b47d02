"""Samples of time, of cases that take turns: a drift of the machine falls on all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch

from gan_zoo.training.build import is_out_of_memory


def elapsed(call: Callable[[], object], device: torch.device) -> float:
    """Seconds that one call takes: by events of the device on CUDA, by the wall on a CPU.

    The events stand before and after everything that the call launches; a call that the device waits for is measured as
    long as that wait.
    """
    if device.type != "cuda":
        begun = time.perf_counter()
        call()
        return time.perf_counter() - begun
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize(device)
    start.record()
    call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1000


def in_turn(
    calls: Mapping[str, Callable[[], object]],
    device: torch.device,
    *,
    seconds: float,  # about how long it may take
    least: int = 6,  # rounds: what an interval of 95 % takes
    most: int = 200,  # rounds
    warm_up: int = 3,  # rounds that are not counted
    measure: Callable[[Callable[[], object], torch.device], float] = elapsed,  # seconds of a call
) -> dict[str, list[float]]:
    """Seconds of each call, round by round; the order within a round turns from round to round.

    The k-th values of all calls are of the same round.
    """
    names = list(calls)
    for _ in range(warm_up):
        for name in names:
            calls[name]()
    taken: dict[str, list[float]] = {name: [] for name in names}
    begun, rounds = time.perf_counter(), 0
    while rounds < least or (rounds < most and time.perf_counter() - begun < seconds):
        turned = names[rounds % len(names) :] + names[: rounds % len(names)]
        for name in turned:
            taken[name].append(measure(calls[name], device))
        rounds += 1
    return taken


def reason(error: Exception) -> str:
    """An error in one line: what a report says in place of a measurement."""
    lines = str(error).strip().splitlines()
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and is_out_of_memory(error)):
        return "out of memory"
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
