"""The time of a short call: on CUDA inside a graph and with a flushed L2 cache, on a CPU as it is called.

A graph on CUDA holds a flush, N calls, each on inputs and outputs of its own, and another flush. The first flush reads
a buffer of several times the cache, so that every call reads its inputs from memory; the last one makes the calls pay
for writing back what they left in the cache. A graph of the two flushes alone takes its turn with the others, and

    seconds of a call = (seconds of the graph - median seconds of the flushes' graph) / N

The host launches one graph and the device is kept waiting until it has, so that the host's time does not count. What it
costs the host to make a call is measured apart, from Python, with an empty queue and nothing waited for.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch

from gan_zoo.bench.clock import in_turn, reason

Call = Callable[[], object]

LEAST_CALLS, MOST_CALLS = 2, 64
FILLED = 8
"""How many times the L2 cache's size the calls of a graph move together, within these bounds."""
FLUSHED = 3
"""How many times the L2 cache's size is read to flush it: its replacement is not strictly by age."""
HEAD_START = 400_000
"""Cycles, about 0.2 ms, that the device spins while the host launches what is timed."""
HOST_CALLS, HOST_ROUNDS = 10, 5
"""Calls between two synchronisations, few enough to leave the launch queue far from full."""
LEAST_SECONDS = 1e-9
"""A sample that chance made shorter than the flushes' median counts as this."""


class Timer(Protocol):
    """How the cases of a cell are timed."""

    method: str

    def count(self, moved: int) -> int:
        """How many sets of inputs to make for calls that move `moved` bytes each."""

    def ready(self, calls: Sequence[Call]) -> tuple[Call, str | None]:
        """All the calls as one, and why they are not in a graph, if they should be and are not."""

    def times(self, runs: Mapping[str, Call], count: int, *, seconds: float) -> dict[str, list[float]]:
        """Seconds of one of `count` calls, round by round."""


class Plain(Timer):
    """One call at a time, by the wall clock."""

    method = "Each call by the wall clock, on the same inputs again and again."

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def count(self, moved: int) -> int:
        """One set: nothing is flushed."""
        return 1

    def ready(self, calls: Sequence[Call]) -> tuple[Call, None]:
        """The only call, after it was made once: an error belongs to its case."""
        calls[0]()
        return calls[0], None

    def times(self, runs: Mapping[str, Call], count: int, *, seconds: float) -> dict[str, list[float]]:
        """Seconds of each."""
        return in_turn(runs, self.device, seconds=seconds)


class Cold(Timer):
    """Graphs of calls whose inputs are in no cache; see the module's description. The current stream must not be the
    default one, which cannot be captured: backward runs on the stream of its forward pass.

    Args:
        device: A CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.cache = device, torch.cuda.get_device_properties(device).L2_cache_size
        self.buffer = torch.zeros(FLUSHED * self.cache // 4, device=device)
        self.around([])  # loads its kernel, which a capture may not
        self.flushes = _captured(lambda: self.around([]))
        self.method = (
            f"In a CUDA graph of {LEAST_CALLS} to {MOST_CALLS} calls, each on inputs and outputs of its own that are "
            f"not in the L2 cache ({self.cache / 2**20:.0f} MiB), which is flushed before and after; the flushes' own "
            "time is subtracted."
        )

    def count(self, moved: int) -> int:
        """Many short calls, so that the flushes' time hardly counts; few large ones, for they take memory."""
        return min(MOST_CALLS, max(LEAST_CALLS, math.ceil(FILLED * self.cache / max(1, moved))))

    def ready(self, calls: Sequence[Call]) -> tuple[Call, str | None]:
        """The calls' graph; the calls one after the other if one of them waits for the device."""
        for call in (*calls, calls[0]):
            call()  # whatever is compiled or allocated at first use
        if why := _waits(calls[0]):
            return (lambda: self.around(calls)), why
        return _captured(lambda: self.around(calls)), None

    def around(self, calls: Sequence[Call]) -> list[object]:
        """Make the calls between two flushes. Their results are held until all are there, each in its own place."""
        self.buffer.sum()
        results = [call() for call in calls]
        self.buffer.sum()
        return results

    def times(self, runs: Mapping[str, Call], count: int, *, seconds: float) -> dict[str, list[float]]:
        """Seconds of each without the flushes'."""
        taken = in_turn({"": self.flushes, **runs}, self.device, seconds=seconds, measure=self.elapsed)
        flushes = statistics.median(taken.pop(""))
        return {name: [max(LEAST_SECONDS, t - flushes) / count for t in times] for name, times in taken.items()}

    def elapsed(self, call: Call, device: torch.device) -> float:
        """Seconds of the device, whose work on the call begins when the host has launched it."""
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize(device)
        torch.cuda._sleep(HEAD_START)
        start.record()
        call()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1000


def host_seconds(calls: Sequence[Call], device: torch.device) -> float:
    """Seconds that the host spends in one call on CUDA: the median of a few rounds of calls that are not waited for."""
    rounds = []
    for _ in range(HOST_ROUNDS):
        torch.cuda.synchronize(device)
        begun = time.perf_counter()
        for k in range(HOST_CALLS):
            calls[k % len(calls)]()
        rounds.append((time.perf_counter() - begun) / HOST_CALLS)
    torch.cuda.synchronize(device)
    return statistics.median(rounds)


def _captured(run: Call) -> Call:
    """What `run` does on the current stream, as one graph."""
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    graph.capture_begin(capture_error_mode="thread_local")
    try:
        results = run()
    finally:
        graph.capture_end()

    def replay(holding: object = (run, results)) -> None:  # the graph reads what the calls hold
        graph.replay()

    return replay


def _waits(call: Call) -> str | None:
    """Why a call cannot be captured: it waits for the device. Found without breaking off a capture, which may leave
    the process unable to go on.
    """
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        call()
    except RuntimeError as error:
        return f"not in a graph: {reason(error)}"
    finally:
        torch.cuda.set_sync_debug_mode(before)
    return None
