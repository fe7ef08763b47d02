"""A step as a CUDA graph: captured once, then replayed with new numbers in the same places.

What a graph cannot hold stays outside: the batch, the latents and the learning rates are written into fixed tensors
before a replay, as is the step, which random numbers are a function of. Reference: the CUDA graph notes of torch's
documentation (static inputs, warm-up on a side stream).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gan_zoo.data.batches import Batch
from gan_zoo.draws import Draws
from gan_zoo.models.gan.model import GAN, Objective
from gan_zoo.models.gan.prior import Latents
from gan_zoo.training.checkpoint import State
from gan_zoo.training.step import Parts, Rules

WARM_UP = 3
"""Steps made eagerly first: what is compiled, chosen or allocated at first use must not be captured."""

Play = Callable[..., list[Objective]]


class Graph(Protocol):
    """Operations that are recorded once and carried out again and again, on the same memory."""

    def warm(self, run: Callable[[], list[Objective]]) -> list[Objective]:
        """Run eagerly, where the capture will be made."""

    def capture(self, run: Callable[[], list[Objective]]) -> list[Objective]:
        """Record what `run` does without doing it; returns where its results will stand.

        Raises:
            RuntimeError: If something in it cannot be recorded.
        """

    def replay(self) -> None:
        """Carry out what was recorded."""


class CudaGraph(Graph):
    """torch's, on one stream of its own from the first warm-up on.

    Args:
        device: Where the steps are made.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)
        self.graph = torch.cuda.CUDAGraph()

    def warm(self, run: Callable[[], list[Objective]]) -> list[Objective]:
        """On the stream that the capture will be made on."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            objectives = run()
        torch.cuda.current_stream().wait_stream(self.stream)
        return objectives

    def capture(self, run: Callable[[], list[Objective]]) -> list[Objective]:
        """Into a memory pool of its own."""
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        with torch.cuda.stream(self.stream):  # which is left even where the capture cannot be ended
            self.graph.capture_begin()
            try:
                return run()
            finally:
                self.graph.capture_end()

    def replay(self) -> None:
        """One launch."""
        self.graph.replay()


class Captured:
    """A way of playing a step that is captured at its first steps; if it cannot be, it is played as it is.

    Args:
        play: An order of play, from `ORDERS`.
        graph: What records it.
        say: Takes the reason why it could not be captured.
    """

    def __init__(self, play: Play, graph: Graph, say: Callable[[str], None]) -> None:
        self.play, self.graph, self.say = play, graph, say
        self.parts: Parts = []  # at fixed places
        self.step: Tensor | None = None  # the graph's random numbers are a function of it
        self.objectives: list[Objective] | None = None  # where the graph leaves them
        self.warm_ups, self.failed = 0, False

    def __call__(
        self, state: State, rules: Rules, parts: Parts, draws: Sequence[Draws], *, update_generator: bool
    ) -> list[Objective]:
        """A step. What it returns is overwritten by the next."""
        if self.failed:
            return self.play(state, rules, parts, draws, update_generator=update_generator)
        if self.step is None:
            self.parts = [(_copy(batch), _copy_latents(latents)) for batch, latents in parts]
            self.step = torch.zeros((), dtype=torch.int64, device=state.model.device)
            _hold_rates(state)
        own_step = self.step.fill_(state.step)
        for (batch, latents), (own, own_latents) in zip(parts, self.parts, strict=True):
            own.images.copy_(batch.images)
            own_latents.input.copy_(latents.input)
            own_latents.codes.copy_(latents.codes)
            if own.labels is not None and batch.labels is not None:
                own.labels.copy_(batch.labels)

        def run() -> list[Objective]:
            own_draws = [Draws(d.seed, own_step, first_row=d.first_row, device=d.device) for d in draws]
            return self.play(state, rules, self.parts, own_draws, update_generator=update_generator)

        if self.warm_ups < WARM_UP:
            self.warm_ups += 1
            return self.graph.warm(run)
        if self.objectives is None:
            try:
                self.objectives = self.graph.capture(run)
            except RuntimeError as error:
                self.failed = True
                self.say(f"no CUDA graph: {str(error).splitlines()[0]}")
                _forget_half_a_step(state)
                return self.play(state, rules, parts, draws, update_generator=update_generator)
        self.graph.replay()
        return self.objectives


def why_not(model: GAN) -> str | None:
    """Why a step of `model` cannot be captured; none if it may be."""
    config = model.config
    if model.device.type != "cuda":
        return f"the device is {model.device}"
    if dist.is_initialized():
        return "several ranks exchange their gradients in it"
    if config.training.on_nan == "skip":
        return "training.on_nan = 'skip': what a faulty step wrote is undone"
    if config.training.discriminator_steps > 1:
        return f"training.discriminator_steps = {config.training.discriminator_steps}: steps are not alike"
    if Rules.of(config).penalties.any and config.loss.penalty_interval > 1:
        return f"loss.penalty_interval = {config.loss.penalty_interval}: steps are not alike"
    if isinstance(model.prior, nn.Module):
        return "the prior is learned: its draws are part of the generator's graph"
    if model.phase(0) != model.phase(config.training.steps - 1):
        return "the model's objectives change with the step"
    return None


def _hold_rates(state: State) -> None:
    """Learning rates and counts of Adam as tensors, which a graph reads anew."""
    for player in state.players.values():
        for group in player.optimizer.param_groups:
            group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32, device=state.model.device)
            group["capturable"] = True


def _forget_half_a_step(state: State) -> None:
    """Drop what a capture that broke off left: gradients that were never computed, and the scaler's note of a step."""
    for player in state.players.values():
        player.optimizer.zero_grad(set_to_none=True)
        for parameter in player.parameters.values():
            parameter.requires_grad_(True)
    if (scaler := state.precision.scaler).is_enabled():
        scaler._per_optimizer_states.clear()


def _copy(batch: Batch) -> Batch:
    return Batch(batch.images.clone(), None if batch.labels is None else batch.labels.clone())


def _copy_latents(latents: Latents) -> Latents:
    return Latents(latents.input.clone(), latents.codes.clone(), latents.step)
