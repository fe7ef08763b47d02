"""The steps of a run, one after the other, with all that a step takes in."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from torch import Tensor

from gan_zoo.data.batches import Batch, batch_indices, batches
from gan_zoo.data.dataset import Split
from gan_zoo.data.feed import Feed, InMemoryFeed, StreamedFeed
from gan_zoo.draws import Draws
from gan_zoo.errors import InputError
from gan_zoo.training.capture import Captured, CudaGraphs, capture_obstacle
from gan_zoo.training.faults import Skipping
from gan_zoo.training.half_weights import HalfWeights
from gan_zoo.training.meter import Meter
from gan_zoo.training.phases import announces_phases
from gan_zoo.training.precision import stores_pixel_by_pixel
from gan_zoo.training.state import State
from gan_zoo.training.step import ORDERS, MicroBatch, StepFunctions
from gan_zoo.training.step_tables import StepTables


class StepKind(NamedTuple):
    """What distinguishes steps: those of one kind consist of the same operations."""

    update_generator: bool
    penalised: bool
    phase: Hashable  # the model's


class Iterations(Iterator[int]):
    """Endless steps, each a function of the state and its own number: batch, latents and random numbers.

    Args:
        state: What every step updates.
        split: The images.
        say: Takes a line for the user.

    Attributes:
        meter: Collects the losses and metrics of the steps.
        feed: Where the batches come from.
    """

    def __init__(self, state: State, split: Split, say: Callable[[str], None] = lambda line: None) -> None:
        model, training = state.model, state.model.config.training
        self.state, self.config, self.device = state, model.config, model.device
        self.rows = training.batch_size // (training.accumulate * state.ranks.world)  # of a micro-batch
        self.functions = StepFunctions(model, state.precision, self.rows)
        self.update = ORDERS[training.update]
        self.feed, order = self._feed(split)
        self.tables = StepTables(order, self._rates, self.device)
        self.meter = Meter(self.tables.meter_row, state.ranks)
        self.half_weights = HalfWeights((model.generator, model.discriminator), state.precision.dtype)
        for optimizer in state.optimizers.values():
            optimizer.use(self.half_weights)
        self.skipping = Skipping(state) if training.on_nan == "skip" else None
        self.first_steps: dict[StepKind, int] = {}  # steps done before the first of each kind
        self.captured: Captured | None = None
        self.rates_on_device = False
        obstacle = capture_obstacle(model, state.ranks)
        if obstacle and (training.cuda_graph == "on" or (training.cuda_graph == "auto" and self.device.type == "cuda")):
            say(f"no CUDA graph: {obstacle}")
        if self.device.type == "cuda":
            self.read_rates_on_device()
            if training.cuda_graph != "off" and not obstacle:
                self.captured = Captured(state, CudaGraphs(self.device), say)
        model.train()

    @property
    def choices(self) -> str:
        """What `auto` was resolved to on this device, for the user; empty on a CPU."""
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
        kind = self.prepare()
        run = partial(self.iterate, kind)
        if self.captured:
            self.captured(kind, run)
        else:
            run()
        self.state.step += 1
        self.meter.wrote(kind, self.state.step)
        return self.state.step

    def kind(self, step: int) -> StepKind:
        """The kind of the step that `step` others precede."""
        return StepKind(
            update_generator=(step + 1) % self.config.training.discriminator_steps == 0,
            penalised=self.functions.penalties.due(step),
            phase=self.state.model.phase(step),
        )

    def prepare(self) -> StepKind:
        """The host's part of the next step."""
        step = self.state.step
        kind = self.kind(step)
        self.first_steps.setdefault(kind, step)
        if self.tables.upload_for(step):
            self.half_weights.refresh(weight for _, _, weight in self.half_weights.places)
        self.feed.ready()
        if not self.rates_on_device:
            self._set_rates(self._rates(step))
        return kind

    def iterate(self, kind: StepKind) -> None:
        """The whole step on the device: it reads fixed places there, and needs nothing from the host."""
        if self.rates_on_device:
            self.tables.look_up()
        micro_batches = self._micro_batches(self.feed.batch(self.tables.images), self._steps_done(kind))
        if self.skipping:
            self.skipping.begin()
        with self.half_weights.in_use(not (kind.penalised and self.functions.penalised_in_float32)):
            objectives = self.update(
                self.state,
                self.functions,
                micro_batches,
                update_generator=kind.update_generator,
                penalised=kind.penalised,
            )
        if self.skipping:
            objectives[-1].metrics |= self.skipping.end()
        if self.state.ema and kind.update_generator:
            self.state.ema.update(self.state.model.generator, self.average_weight)
        self.meter.write(kind, [item for o in objectives for item in (*o.terms.items(), *o.metrics.items())])
        self.tables.advance()

    def _micro_batches(self, batch: Batch, steps_done: int | None) -> list[MicroBatch]:
        """The rank's batch in micro-batches, each with its latents and random numbers."""
        state, count = self.state, self.config.training.accumulate
        step, seed = self.tables.step, self.config.seed
        labels = [None] * count if batch.labels is None else batch.labels.chunk(count)
        micro_batches = []
        for k, pair in enumerate(zip(batch.images.chunk(count), labels, strict=True)):
            first_row = (state.ranks.rank * count + k) * self.rows
            latents = state.model.prior.sample(self.rows, seed=seed, step=step, first_row=first_row, device=self.device)
            draws = Draws(seed, step, first_row=first_row, device=self.device)
            micro_batches.append(MicroBatch(Batch(*pair), replace(latents, steps_done=steps_done), draws))
        return micro_batches

    def _steps_done(self, kind: StepKind) -> int | None:
        """The value of `latents.step` for objectives; None where a graph would freeze it unnoticed."""
        compiles, records = self.config.training.compile, self.captured is not None and self.captured.recording
        if not (compiles or records):
            return self.state.step
        has_phases = announces_phases(type(self.state.model))
        if has_phases and compiles:  # which would compile anew for every number
            return self.first_steps[kind]
        return None if records and not has_phases else self.state.step

    def _rates(self, step: int) -> list[float]:
        """The learning rates of both networks in step `step`, the weight of the moving average's update, and the
        share of the penalties' γ.
        """
        update = (step + 1) // self.config.training.discriminator_steps
        rates = [rate for optimizer in self.state.optimizers.values() for rate in optimizer.rates(step)]
        average_weight = self.state.ema.weight(update) if self.state.ema else 0.0
        return [*rates, average_weight, self.functions.penalties.share_of(step)]

    def _set_rates(self, rates: Sequence[float | Tensor]) -> None:
        *rates, self.average_weight, self.functions.penalties.share = rates
        for optimizer in self.state.optimizers.values():
            optimizer.set_rates([rates.pop(0) for _ in optimizer.schedules])

    def read_rates_on_device(self) -> None:
        """Have every step read its learning rates from the device, where `StepTables` keeps them."""
        self.rates_on_device = True
        self._set_rates(self.tables.rates.unbind())

    def _feed(self, split: Split) -> tuple[Feed, Callable[[int], Tensor] | None]:
        """The source of batches and, for a set in memory, the function that chooses each batch's images."""
        if not len(split):
            raise InputError("a split without images has no batches")
        ranks, seed, size = self.state.ranks, self.config.seed, self.rows * self.config.training.accumulate
        channels_last = stores_pixel_by_pixel(self.state.model, self.config.training, self.device)
        if isinstance(split.images, Tensor):
            order = partial(batch_indices, seed, length=len(split), batch_size=size, rank=ranks.rank, world=ranks.world)
            return InMemoryFeed(split.images, split.labels, self.device, channels_last=channels_last), order
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
        return StreamedFeed(stream, self.device, channels_last=channels_last), None

    def close(self) -> None:
        """End the processes that decode images."""
        self.feed.close()
