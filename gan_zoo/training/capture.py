"""CUDA graphs: a step of each kind is captured once and then replayed.

A graph holds a whole iteration, from the choice of the batch to the count of steps: everything that differs between
steps is on the device (`step_tables`), so the host writes nothing before a replay. Reference: "CUDA graphs" in torch's
CUDA semantics (static inputs, warm-up on a side stream, shared memory pools).
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Protocol

import torch

from gan_zoo.models.gan.model import GAN
from gan_zoo.training.ranks import Ranks
from gan_zoo.training.state import State

WARM_UP = 3
"""Eager steps of a kind before its capture, in which nothing may be compiled, tuned or allocated for the first time."""

Run = Callable[[], None]


class Recorder(Protocol):
    """Records operations once and replays them on the same memory."""

    def warm(self, run: Run) -> None:
        """Run eagerly, in the place of the capture."""

    def record(self, run: Run) -> Run:
        """Record the operations of `run` without executing them; returns the function that replays them.

        Raises:
            RuntimeError: If an operation cannot be recorded.
        """


class CudaGraphs(Recorder):
    """CUDA graphs on a stream of their own and in one memory pool, since nothing that a step allocates outlives it.

    Args:
        device: Where the steps are made.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()

    def warm(self, run: Run) -> None:
        """Run eagerly on the capture's stream."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            run()
        torch.cuda.current_stream().wait_stream(self.stream)

    def record(self, run: Run) -> Run:
        """Capture a graph."""
        graph = torch.cuda.CUDAGraph()
        gc.collect()  # not during the capture, where freeing CUDA memory is an error
        # thread_local: a DataLoader's thread may pin and allocate memory meanwhile. The outer context leaves the stream
        # even if a failed capture cannot be ended, where torch's does not.
        try:
            with (
                torch.cuda.stream(self.stream),
                torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"),
            ):
                run()
        except RuntimeError:
            # Before version 2.12, torch's allocator goes on allocating for a capture that has failed.
            with suppress(RuntimeError):
                torch._C._cuda_endAllocateToPool(self.stream.device_index, self.pool)
            self.pool = torch.cuda.graph_pool_handle()
            raise
        return graph.replay


class Captured:
    """Makes steps: captures those of a kind after a warm-up and replays them; eager steps if the capture fails.

    Args:
        state: What the steps update.
        recorder: What records them.
        say: Takes the reason why a kind of step could not be captured.
    """

    def __init__(self, state: State, recorder: Recorder, say: Callable[[str], None]) -> None:
        self.state, self.recorder, self.say = state, recorder, say
        self.warmed: Counter[Hashable] = Counter()
        self.replays: dict[Hashable, Run | None] = {}  # None: cannot be captured
        self.recording = False
        self.reported: set[str] = set()

    def __call__(self, kind: Hashable, run: Run) -> None:
        """Make a step of a kind; steps of one kind do the same operations on the same memory."""
        if self.warmed[kind] < WARM_UP:
            self.warmed[kind] += 1
            self.recorder.warm(run)
            return
        if kind not in self.replays:
            self.replays[kind] = self._record(run)
        if replay := self.replays[kind]:
            replay()
        else:
            self.recorder.warm(run)

    def _record(self, run: Run) -> Run | None:
        self.recording = True
        try:
            return self.recorder.record(run)
        except RuntimeError as error:
            if (cause := first_cause(error)) not in self.reported:
                self.reported.add(cause)
                self.say(f"no CUDA graph: {cause}")
            self._drop_half_a_step()
            return None
        finally:
            self.recording = False

    def _drop_half_a_step(self) -> None:
        """Drop what an aborted capture left behind: gradients that were never computed, and the scaler's notes."""
        for optimizer in self.state.optimizers.values():
            optimizer.drop_gradients()
        if (scaler := self.state.precision.scaler).is_enabled():
            scaler._per_optimizer_states.clear()


def capture_obstacle(model: GAN, ranks: Ranks) -> str | None:
    """Why steps of `model` cannot be captured; None if they can."""
    if model.device.type != "cuda":
        return f"the device is {model.device}"
    if ranks.world > 1:
        return "several ranks exchange their gradients in a step"
    return None


def first_cause(error: BaseException) -> str:
    """The first line of the error that came first: ending a failed capture raises another."""
    while error.__context__ is not None:
        error = error.__context__
    return (str(error).splitlines() or [type(error).__name__])[0]
