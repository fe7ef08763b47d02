"""Steps as CUDA graphs: one is captured for each kind of step, and making a step is replaying it.

A graph holds a whole iteration, from the choice of the batch to the count of steps: all that differs from step to step
lies on the device (`ahead`), so that the host has nothing to write before a replay. Reference: the CUDA graph notes of
torch's documentation (static inputs, warm-up on a side stream, memory pools that graphs share).
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Protocol

import torch

from gan_zoo.models.gan.model import GAN
from gan_zoo.training.checkpoint import State
from gan_zoo.training.ranks import Ranks

WARM_UP = 3
"""Steps of a kind made eagerly first: what is compiled, chosen or allocated at first use must not be captured."""

Run = Callable[[], None]


class Recorder(Protocol):
    """Makes operations that are recorded once and carried out again and again, on the same memory."""

    def warm(self, run: Run) -> None:
        """Run eagerly, where the capture will be made."""

    def record(self, run: Run) -> Run:
        """Record what `run` does without doing it; returns what carries it out.

        Raises:
            RuntimeError: If something in it cannot be recorded.
        """


class CudaGraphs(Recorder):
    """torch's, on one stream of their own from the first warm-up on, and in one memory pool: nothing that a step
    allocates outlives it.

    Args:
        device: Where the steps are made.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()

    def warm(self, run: Run) -> None:
        """On the stream that the capture will be made on."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            run()
        torch.cuda.current_stream().wait_stream(self.stream)

    def record(self, run: Run) -> Run:
        """A graph; other threads may allocate and copy meanwhile, as a DataLoader's does that pins memory."""
        graph = torch.cuda.CUDAGraph()
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        with torch.cuda.stream(self.stream):  # which is left even where the capture cannot be ended
            graph.capture_begin(pool=self.pool, capture_error_mode="thread_local")
            try:
                run()
            finally:
                graph.capture_end()
        return graph.replay


class Captured:
    """Makes steps: those of a kind are captured after a few, and replayed from then on; if they cannot be captured,
    they are made eagerly.

    Args:
        state: Which the steps move on.
        recorder: What records them.
        say: Takes the reason why a kind of step could not be captured.
    """

    def __init__(self, state: State, recorder: Recorder, say: Callable[[str], None]) -> None:
        self.state, self.recorder, self.say = state, recorder, say
        self.made: Counter[Hashable] = Counter()
        self.replays: dict[Hashable, Run | None] = {}  # None: cannot be captured
        self.recording = False
        self.told: set[str] = set()

    def __call__(self, kind: Hashable, run: Run) -> None:
        """Make a step of a kind; steps of one kind do the same at the same places."""
        if self.made[kind] < WARM_UP:
            self.made[kind] += 1
            self.recorder.warm(run)
            return
        if kind not in self.replays:
            self.recording = True
            try:
                self.replays[kind] = self.recorder.record(run)
            except RuntimeError as error:
                self.replays[kind] = None
                if (told := reason(error)) not in self.told:
                    self.told.add(told)
                    self.say(f"no CUDA graph: {told}")
                _forget_half_a_step(self.state)
            finally:
                self.recording = False
        if replay := self.replays[kind]:
            replay()
        else:
            self.recorder.warm(run)


def capture_obstacle(model: GAN, ranks: Ranks) -> str | None:
    """Why steps of `model` cannot be captured; None if they may be."""
    if model.device.type != "cuda":
        return f"the device is {model.device}"
    if ranks.world > 1:
        return "several ranks exchange their gradients in a step"
    return None


def reason(error: BaseException) -> str:
    """The first line of what went wrong at first: ending a capture that has failed is an error, too."""
    while error.__context__ is not None:
        error = error.__context__
    return (str(error).splitlines() or [type(error).__name__])[0]


def _forget_half_a_step(state: State) -> None:
    """Drop what a capture that broke off left: gradients that were never computed, and the scaler's note of a step."""
    for player in state.optimizers.values():
        player.losses.clear()
        player.adam.zero_grad(set_to_none=True)
        for parameter in player.parameters.values():
            parameter.requires_grad_(True)
            if (copy := player.half_weights.copies.get(parameter)) is not None:
                copy.requires_grad_(True).grad = None
    if (scaler := state.precision.scaler).is_enabled():
        scaler._per_optimizer_states.clear()
