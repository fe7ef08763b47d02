"""The steps of a run, one after the other, with all that a step takes in."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from torch import Tensor

from gan_zoo.data.batches import Batch, batch_indices, batches
from gan_zoo.data.dataset import Split
from gan_zoo.data.feed import Feed, InMemory, Streamed
from gan_zoo.draws import Draws
from gan_zoo.errors import InputError
from gan_zoo.models.gan.model import GAN
from gan_zoo.training.ahead import Ahead
from gan_zoo.training.capture import Captured, CudaGraphs, why_not
from gan_zoo.training.checkpoint import State
from gan_zoo.training.faults import Skipping
from gan_zoo.training.half_weights import HalfWeights
from gan_zoo.training.meter import Meter
from gan_zoo.training.precision import stores_pixel_by_pixel
from gan_zoo.training.step import ORDERS, Part, Rules


class Kind(NamedTuple):
    """What makes steps unlike each other: those of one kind are made of the same operations."""

    update_generator: bool
    penalised: bool
    phase: Hashable  # the model's


class Iterations(Iterator[int]):
    """Steps without end, each a function of the state and its own number: batch, latents and random numbers.

    Args:
        state: Which every step moves on.
        split: The images.
        say: Takes a line that the user should read.

    Attributes:
        meter: Collects the losses and metrics of the steps.
        feed: Where the batches come from.
    """

    def __init__(self, state: State, split: Split, say: Callable[[str], None] = lambda line: None) -> None:
        model, training = state.model, state.model.config.training
        self.state, self.config, self.device = state, model.config, model.device
        self.rows = training.batch_size // (training.accumulate * state.ranks.world)  # of a part
        self.rules = Rules(model, state.precision, self.rows)
        self.play = ORDERS[training.update]
        self.feed, order = self._feed(split)
        self.ahead = Ahead(order, self._rates, self.device)
        self.meter = Meter(self.ahead.line, state.ranks)
        self.halves = HalfWeights((model.generator, model.discriminator), state.precision.dtype)
        for player in state.players.values():
            player.halves = self.halves
        self.skipping = Skipping(state) if training.on_nan == "skip" else None
        self.begun: dict[Kind, int] = {}  # steps done before the first of each kind
        self.captured: Captured | None = None
        self.rates_on_device = False
        asked, obstacle = training.cuda_graph, why_not(model, state.ranks)
        if obstacle and (asked == "on" or (asked == "auto" and self.device.type == "cuda")):
            say(f"no CUDA graph: {obstacle}")
        if self.device.type == "cuda":
            self.read_rates_on_device()
            if asked != "off" and not obstacle:
                self.captured = Captured(state, CudaGraphs(self.device), say)
        model.train()

    @property
    def choices(self) -> str:
        """What `auto` stands for on this device, for the user to read; nothing on a CPU."""
        if self.device.type != "cuda":
            return ""
        training, name = self.config.training, self.state.precision.name
        chosen = [
            str(self.device),
            "TF32" if name == "fp32" and training.tf32 else name,
            "channels-last" if stores_pixel_by_pixel(self.state.model, training, self.device) else "",
            "compiled losses" if training.compile else "",
            "steps captured as CUDA graphs" if self.captured else "eager steps",
        ]
        return f" ({', '.join(filter(None, chosen))})"

    def __next__(self) -> int:
        """Make a step.

        Returns:
            How many are done.
        """
        state, step = self.state, self.state.step
        kind = Kind(
            update_generator=(step + 1) % self.config.training.discriminator_steps == 0,
            penalised=self.rules.penalties.due(step),
            phase=state.model.phase(step),
        )
        self.begun.setdefault(kind, step)
        if self.ahead.reach(step):
            self.halves.take_in(weight for _, _, weight in self.halves.places)
        self.feed.ready()
        if not self.rates_on_device:
            self._set_rates(self._rates(step))
        run = partial(self._iterate, kind)
        if self.captured:
            self.captured(kind, run)
        else:
            run()
        state.step += 1
        self.meter.wrote(kind, state.step)
        return state.step

    def _iterate(self, kind: Kind) -> None:
        """All of a step: it reads what lies at fixed places on the device, and asks nothing of the host."""
        if self.rates_on_device:
            self.ahead.look_up()
        parts = self._parts(self.feed.batch(self.ahead.images), self._steps_done(kind))
        if self.skipping:
            self.skipping.begin()
        with self.halves.in_use(not (kind.penalised and self.rules.in_float32)):
            objectives = self.play(
                self.state, self.rules, parts, update_generator=kind.update_generator, penalised=kind.penalised
            )
        if self.skipping:
            objectives[-1].metrics |= self.skipping.end()
        if self.state.ema and kind.update_generator:
            self.state.ema.update(self.state.model.generator, self.average_weight)
        self.meter.write(kind, [item for o in objectives for item in (*o.terms.items(), *o.metrics.items())])
        self.ahead.advance()

    def _parts(self, batch: Batch, steps_done: int | None) -> list[Part]:
        """The batch in as many parts as gradients are accumulated over, each with its latents and random numbers."""
        state, accumulate = self.state, self.config.training.accumulate
        draw = partial(Draws, self.config.seed, self.ahead.step, device=self.device)
        parts = []
        for k, piece in enumerate(_chunk(batch, accumulate)):
            row = (state.ranks.rank * accumulate + k) * self.rows
            latents = state.model.prior.sample(
                self.rows, seed=self.config.seed, step=self.ahead.step, first_row=row, device=self.device
            )
            parts.append(Part(piece, replace(latents, steps_done=steps_done), draw(first_row=row)))
        return parts

    def _steps_done(self, kind: Kind) -> int | None:
        """What the model's objectives read as `latents.step`; None where it would be frozen into a graph unnoticed."""
        has_phases = type(self.state.model).phase is not GAN.phase
        if has_phases and self.config.training.compile:  # which compiles anew for every number that it meets
            return self.begun[kind]
        return None if self.captured and self.captured.recording and not has_phases else self.state.step

    def _rates(self, step: int) -> list[float]:
        """The learning rates of both players in step `step`, and the weight of the moving average's update."""
        update = (step + 1) // self.config.training.discriminator_steps
        rates = [rate for player in self.state.players.values() for rate in player.rates(step)]
        return [*rates, self.state.ema.weight(update) if self.state.ema else 0.0]

    def _set_rates(self, rates: Sequence[float | Tensor]) -> None:
        *rates, self.average_weight = rates
        for player in self.state.players.values():
            player.set_rates([rates.pop(0) for _ in player.paces])

    def read_rates_on_device(self) -> None:
        """Have every step read its learning rates from the tensor that the tables keep up to date."""
        self.rates_on_device = True
        self._set_rates(self.ahead.rates.unbind())

    def _feed(self, split: Split) -> tuple[Feed, Callable[[int], Tensor] | None]:
        """Where batches come from, and what chooses those of a set in memory."""
        if not len(split):
            raise InputError("a split without images has no batches")
        ranks, seed, size = self.state.ranks, self.config.seed, self.rows * self.config.training.accumulate
        channels_last = stores_pixel_by_pixel(self.state.model, self.config.training, self.device)
        if isinstance(split.images, Tensor):
            order = partial(batch_indices, seed, length=len(split), batch_size=size, rank=ranks.rank, world=ranks.world)
            return InMemory(split.images, split.labels, self.device, channels_last=channels_last), order
        stream = batches(
            split,
            seed=seed,
            batch_size=size,
            device=self.device,
            start_step=self.state.step,
            rank=ranks.rank,
            world=ranks.world,
            workers=self.config.data.workers,
        )
        return Streamed(stream, self.device, channels_last=channels_last), None

    def close(self) -> None:
        """End the processes that decode images."""
        self.feed.close()


def _chunk(batch: Batch, parts: int) -> list[Batch]:
    labels = [None] * parts if batch.labels is None else batch.labels.chunk(parts)
    return [Batch(*pair) for pair in zip(batch.images.chunk(parts), labels, strict=True)]
