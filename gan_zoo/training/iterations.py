"""The steps of a run, one after the other, with all that a step takes in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from hashlib import blake2b

import torch

from gan_zoo.data.batches import Batch, batches
from gan_zoo.data.dataset import Split
from gan_zoo.models.gan.model import Objective
from gan_zoo.training.capture import Captured, CudaGraph, why_not
from gan_zoo.training.checkpoint import State
from gan_zoo.training.faults import Skipping
from gan_zoo.training.step import ORDERS, Rules


class Iterations(Iterator[list[Objective]]):
    """Steps without end, each a function of the state and its own number: batch, latents and random numbers.

    Args:
        state: Which every step moves on.
        split: The images.
        say: Takes a line that the user should read.

    Attributes:
        waited: Seconds spent in waiting for the data.
    """

    def __init__(self, state: State, split: Split, say: Callable[[str], None] = lambda line: None) -> None:
        model = state.model
        self.state, self.config, self.rules = state, model.config, Rules.of(model.config)
        self.play = ORDERS[self.config.training.update]
        if self.config.training.cuda_graph != "off":
            if reason := why_not(model):
                say(f"no CUDA graph: {reason}")
            else:
                self.play = Captured(self.play, CudaGraph(model.device), say)
        self.random = torch.Generator(model.device)
        self.batches = batches(
            split,
            seed=self.config.seed,
            batch_size=self.config.training.batch_size // state.ranks.world,
            device=model.device,
            start_step=state.step,
            rank=state.ranks.rank,
            world=state.ranks.world,
            workers=self.config.data.workers,
        )
        self.skipping = Skipping(state) if self.config.training.on_nan == "skip" else None
        self.waited = 0.0
        model.train()

    def __next__(self) -> list[Objective]:
        """Make a step, and take it into the average.

        Returns:
            The objectives, on the device.
        """
        state, settings, seed, step = self.state, self.config.training, self.config.seed, self.state.step
        begun = time.perf_counter()
        batch = next(self.batches)
        self.waited += time.perf_counter() - begun

        ranks, parts_of_all = state.ranks, settings.accumulate * state.ranks.world
        part = settings.batch_size // parts_of_all
        first = ranks.rank * settings.accumulate
        latents = [
            state.model.prior.sample(part, seed=seed, step=step, first_row=k * part, device=state.model.device)
            for k in range(first, first + settings.accumulate)  # each its own graph, where the prior is learned
        ]
        parts = list(zip(_chunk(batch, settings.accumulate), latents, strict=True))
        for player in state.players.values():
            player.set_pace(step)
        every = settings.discriminator_steps
        update_generator = (step + 1) % every == 0
        self.random.manual_seed(step_seed(seed, step, ranks.rank))
        if self.skipping:
            self.skipping.begin()
        objectives = self.play(state, self.rules, parts, self.random, update_generator=update_generator)
        if self.skipping:
            objectives[-1].metrics |= self.skipping.end()
        state.step += 1
        if state.ema and update_generator:
            state.ema.update(state.model.generator, state.step // every)
        return objectives

    def close(self) -> None:
        """End the processes that decode images."""
        self.batches.close()


def step_seed(seed: int, step: int, rank: int = 0) -> int:
    """The seed of one step's random numbers on one rank: no state has to be saved for a run to go on."""
    return int.from_bytes(blake2b(f"{seed}/{step}/{rank}".encode(), digest_size=8).digest()) >> 1


def _chunk(batch: Batch, parts: int) -> list[Batch]:
    labels = [None] * parts if batch.labels is None else batch.labels.chunk(parts)
    return [Batch(*pair) for pair in zip(batch.images.chunk(parts), labels, strict=True)]
