"""The time of a short call: on CUDA in a graph with a flushed L2 cache, on a CPU by a direct call.

A CUDA graph contains a flush, N calls with separate inputs and outputs, and another flush. The first flush reads a
buffer several times the size of the cache, so that every call reads its inputs from memory; the last one includes the
cost of writing cached results back. A graph of the two flushes alone is timed in turn with the others, and

    seconds of a call = (seconds of the graph - median seconds of the flushes' graph) / N

The device spins until the host has launched the graph, so the host's time does not count. It is measured separately: a
call from Python with an empty queue, without synchronisation.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch

from gan_zoo.bench.clock import elapsed, in_turn, reason

Call = Callable[[], object]

LEAST_CALLS, MOST_CALLS = 2, 64
FILLED = 8
"""Bytes that the calls of a graph move in total, in multiples of the L2 cache; the bounds take precedence."""
FLUSHED = 3
"""Bytes read to flush the L2 cache, in multiples of its size, since it does not strictly replace the oldest lines."""
HEAD_START = 400_000
"""Cycles, about 0.2 ms, that the device spins while the host launches."""
HOST_CALLS, HOST_ROUNDS = 10, 5
"""Calls between two synchronisations, few enough to leave the launch queue far from full; and synchronisations."""
LEAST_SECONDS = 1e-9
"""Lower bound of a sample, which noise can make shorter than the flushes' median."""


class Plain:
    """One call at a time, by the wall clock."""

    method = "Each call by the wall clock, on the same inputs again and again."

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def count(self, moved: int) -> int:
        """1, as nothing is flushed."""
        return 1

    def ready(self, calls: Sequence[Call]) -> tuple[Call, str | None]:
        """Run the only call once, so that an error is attributed to its case, and return it."""
        calls[0]()
        return calls[0], None

    def times(self, runs: Mapping[str, Call], count: int, *, seconds: float) -> dict[str, list[float]]:
        """Seconds of each call, by round."""
        return in_turn(runs, self.device, seconds=seconds)


class Cold(Plain):
    """Graphs of calls with a cold cache; see the module's description. The current stream must not be the default one,
    which cannot be captured: backward runs on the stream of its forward pass.

    Args:
        device: A CUDA device.
    """

    measure = staticmethod(partial(elapsed, head_start=HEAD_START))

    def __init__(self, device: torch.device) -> None:
        self.device, self.cache = device, torch.cuda.get_device_properties(device).L2_cache_size
        self.buffer = torch.zeros(FLUSHED * self.cache // 4, device=device)
        self.around([])  # load the kernel, which is not allowed in a capture
        self.flushes = _captured(lambda: self.around([]))
        self.method = (
            f"In a CUDA graph of {LEAST_CALLS} to {MOST_CALLS} calls, each on inputs and outputs of its own that are "
            f"not in the L2 cache ({self.cache / 2**20:.0f} MiB), which is flushed before and after; the flushes' own "
            "time is subtracted."
        )

    def count(self, moved: int) -> int:
        """Many sets for short calls, so that the flushes hardly matter; few for large ones, which take memory."""
        return min(MOST_CALLS, max(LEAST_CALLS, math.ceil(FILLED * self.cache / max(1, moved))))

    def ready(self, calls: Sequence[Call]) -> tuple[Call, str | None]:
        """Capture the calls as a graph; if one synchronises with the device, run them in sequence instead."""
        for call in (*calls, calls[0]):
            call()  # compiles and allocates at first use
        if why := _waits(calls[0]):
            return (lambda: self.around(calls)), why
        return _captured(lambda: self.around(calls)), None

    def around(self, calls: Sequence[Call]) -> list[object]:
        """Run the calls between two flushes. All results stay alive until the end, so none reuses another's memory."""
        self.buffer.sum()
        results = [call() for call in calls]
        self.buffer.sum()
        return results

    def times(self, runs: Mapping[str, Call], count: int, *, seconds: float) -> dict[str, list[float]]:
        """Seconds of each call without the flushes, by round."""
        rounds = in_turn({"": self.flushes, **runs}, self.device, seconds=seconds, measure=self.measure)
        flushes = statistics.median(rounds.pop(""))
        return {name: [max(LEAST_SECONDS, t - flushes) / count for t in times] for name, times in rounds.items()}


def host_seconds(
    calls: Sequence[Call], device: torch.device, *, count: int = HOST_CALLS, rounds: int = HOST_ROUNDS
) -> float:
    """Seconds of the host for one call on CUDA: the median of `rounds` of `count` calls without synchronisation."""
    taken = []
    for _ in range(rounds):
        torch.cuda.synchronize(device)
        begun = time.perf_counter()
        for k in range(count):
            calls[k % len(calls)]()
        taken.append((time.perf_counter() - begun) / count)
    torch.cuda.synchronize(device)
    return statistics.median(taken)


def _captured(run: Call) -> Call:
    """Capture `run` on the current stream as a graph."""
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    graph.capture_begin(capture_error_mode="thread_local")
    try:
        results = run()
    finally:
        graph.capture_end()

    def replay(kept_alive: object = (run, results)) -> None:  # the graph uses their memory
        graph.replay()

    return replay


def _waits(call: Call) -> str | None:
    """Why a call cannot be captured: it synchronises with the device. Detected without a capture, since a failed one
    can break the process.
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
