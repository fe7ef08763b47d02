"""Steps per second of InfoGAN beside the plain GAN: the same trunk, loop, data path and number format.

Cases take turns within a cell of the grid, so that a ratio of theirs is of pairs that the machine served alike. What a
case does is what `gan-zoo train` does between two logging steps: batch, latents, step, moving average, sums of losses.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Protocol

import torch
from torch.utils.flop_counter import FlopCounterMode

from gan_zoo.bench.busy import busy
from gan_zoo.bench.clock import in_turn, reason
from gan_zoo.bench.places import CASES, CODES, PAPER, RECIPE, VARIANTS, Cases, Place, choose, grid
from gan_zoo.bench.rates import rates
from gan_zoo.bench.record import Cell, Report, Samples
from gan_zoo.config import Config, Training
from gan_zoo.data.dataset import open_dataset
from gan_zoo.errors import InputError
from gan_zoo.training.build import new_state, with_facts
from gan_zoo.training.capture import WARM_UP
from gan_zoo.training.environment import environment
from gan_zoo.training.iterations import Iterations
from gan_zoo.training.precision import tuned
from gan_zoo.training.state import State
from gan_zoo.training.step import UpdateOrder

BLOCK = 0.05
"""Seconds that a sample takes at least: shorter steps are timed several at a time."""
GAIN = 1.05
"""The batch is doubled as long as a doubling multiplies images a second by at least this."""


def step(
    device: torch.device,
    *,
    quick: bool = False,
    chosen: Mapping[str, Sequence[str]] = MappingProxyType({}),
    batches: Sequence[int] = (),
    seconds: float | None = None,
    minutes: float | None = None,
    say: Callable[[str], None] = lambda line: None,
    keep: Callable[[Report], object] = lambda report: None,
) -> Report:
    """Measure the grid; then double the batch, while there is time, wherever the last doubling gained.

    Args:
        device: Where to measure.
        quick: Measure a smaller grid, each cell for less time.
        chosen: Values to measure, by field of a place; an empty sequence selects all.
        batches: Batch sizes; by default they are doubled as long as the device gains.
        seconds: Time for each cell of two cases, beyond its first rounds.
        minutes: Start no further cell after this time.
        say: Called with the name of each cell before it is measured.
        keep: Called with the report so far, after each cell.

    Raises:
        InputError: If no cell is left, or a setting is out of range.
    """
    places = choose(grid(device, quick=quick), chosen)
    if any(n < 2 for n in batches) or (seconds is not None and not seconds > 0):
        raise InputError("--batch-size must be at least 2, and --seconds greater than 0")
    on_gpu = device.type == "cuda"
    budget = seconds or ((4.0 if on_gpu else 10.0) if quick else 15.0)
    minutes = (1.5 if quick and on_gpu else 18.0) if minutes is None else minutes
    report = Report(
        suite="step",
        environment=environment(device),
        settings={"quick": quick, "seconds a cell": budget, "codes": CODES, "tf32": Training().tf32},
        rates=rates(dict.fromkeys(place.precision for place in places), device),
        cells=(),
        notes=() if on_gpu else ("No CUDA device: no CUDA graphs, no peak memory, no count of kernels.",),
    )
    queue = deque(replace(place, batch=n) for place in places for n in batches or (place.batch,))
    speeds: dict[Place, float] = {}
    ends = time.monotonic() + 60 * minutes
    while queue and time.monotonic() <= ends:
        place = queue.popleft()
        say(Cell(key=place.key).name)
        cases = _cases(place, quick=quick, on_gpu=on_gpu)
        with tuned(Training(), device):
            measured = cell(place, cases, device, seconds=budget * len(cases) / len(CASES))
        report = report.model_copy(update={"cells": (*report.cells, measured)})
        keep(report)
        if not (quick or batches) and _gains(place, measured, speeds) and time.monotonic() < ends:
            queue.append(replace(place, batch=2 * place.batch))
    if queue:
        left = "; ".join(Cell(key=place.key).name for place in queue)
        report = report.model_copy(update={"notes": (*report.notes, f"Not begun within {minutes:g} minutes: {left}.")})
        keep(report)
    return report


def _gains(place: Place, measured: Cell, speeds: dict[Place, float]) -> bool:
    """Add the plain GAN's images a second to `speeds`; whether a larger batch is worth trying."""
    if "gan" not in measured.cases:
        return False
    speeds[place] = place.batch / measured.cases["gan"].time.median
    before = speeds.get(replace(place, batch=place.batch // 2))
    return before is None or speeds[place] > GAIN * before


def _cases(place: Place, *, quick: bool, on_gpu: bool) -> Cases:
    """What is measured at a place: at the paper's network also the variants, of a quick run on a GPU the recipe."""
    if place != replace(PAPER, precision=place.precision, mode=place.mode):
        return CASES
    if quick:
        return CASES | {RECIPE: VARIANTS[RECIPE]} if on_gpu else CASES
    return CASES | VARIANTS if place.mode in ("eager", "graph") else CASES


def cell(place: Place, cases: Cases, device: torch.device, *, seconds: float) -> Cell:
    """Measure one cell; a case that fails is recorded with its cause."""
    torch.compiler.reset()  # torch.compile recompiles a function a few times only, and then runs it eagerly
    running: dict[str, Running] = {}
    missing: dict[str, str] = {}
    for name, (model, settings) in cases.items():
        try:
            running[name] = Running(place.config(model, settings, device))
        except (RuntimeError, MemoryError) as error:
            missing[name] = reason(error)
            continue
        if messages := running[name].messages:
            missing[name] = "; ".join(messages)
            del running[name]
    try:
        timed_cases = timed(running, device, seconds=seconds)
    except (RuntimeError, MemoryError) as error:
        timed_cases, missing = {}, missing | {"": reason(error)}
    running.clear()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return Cell(key=place.key, cases=timed_cases, missing=missing)


class Steps(Protocol):
    """Something that makes steps.

    Attributes:
        images: In a step.
        flops: Of a step, as torch counts them: the products of a fused head, half a percent of InfoGAN's, are left out.
        waited: Seconds spent in waiting for data, in all steps.
        captured: Whether a step is a CUDA graph.
    """

    images: int
    flops: float
    captured: bool

    @property
    def waited(self) -> float:
        """Seconds spent in waiting for data."""

    def steps(self, count: int) -> None:
        """Make `count` steps."""


class Running(Steps):
    """A training without a run folder, warm, of which steps are asked for.

    Args:
        config: Of the run.
        order: Makes the order of play from the state, where it is not that of the configuration.

    Attributes:
        messages: What the iterations report: why there is no CUDA graph.
    """

    def __init__(self, config: Config, order: Callable[[State], UpdateOrder] | None = None) -> None:
        device = torch.device(config.training.device)
        dataset = open_dataset(config.data)
        config = with_facts(config, dataset, device)
        self.messages: list[str] = []
        eager = config.training.model_copy(update={"compile": False, "cuda_graph": "off"})
        self.iterations = Iterations(new_state(config.model_copy(update={"training": eager}), device), dataset.train)
        if order:
            self.iterations.update = order(self.iterations.state)
        with FlopCounterMode(display=False) as counter:
            self.steps(1)
        self.flops = counter.get_total_flops()
        self.images, self.captured = config.training.batch_size, config.training.cuda_graph != "off"
        if config.training != eager:
            self.iterations = Iterations(new_state(config, device), dataset.train, self.messages.append)
        self.steps(WARM_UP + 1)  # whatever is compiled, captured or chosen at first use

    @property
    def waited(self) -> float:
        """Seconds spent in waiting for data."""
        return self.iterations.feed.waited

    def steps(self, count: int) -> None:
        """Make `count` steps."""
        for _ in range(count):
            next(self.iterations)


def timed(running: Mapping[str, Steps], device: torch.device, *, seconds: float) -> dict[str, Samples]:
    """Samples of each case, of one step each: short steps are timed several at a time."""
    if not running:
        return {}
    (once,) = in_turn(
        {"": partial(next(iter(running.values())).steps, 1)}, device, seconds=0, least=1, warm_up=0
    ).values()
    block = math.ceil(BLOCK / once[0])
    peaks = {name: _peak(case, device) for name, case in running.items()}
    before = {name: case.waited for name, case in running.items()}
    calls = {name: partial(case.steps, block) for name, case in running.items()}
    taken = in_turn(calls, device, seconds=seconds, warm_up=0)
    samples = {}
    for name, case in running.items():
        times = [t / block for t in taken[name]]
        waiting = (case.waited - before[name]) / (block * sum(times))
        facts = {"images": case.images, "flops": case.flops, "waiting": waiting, **peaks[name]}
        facts |= busy(case.steps, device, seconds=statistics.median(times))
        samples[name] = Samples(seconds=tuple(times), facts=facts)
    return samples


def _peak(case: Steps, device: torch.device) -> dict[str, float]:
    """Bytes that a step needs at its height beyond what lies on the device between steps; CUDA counts them, but for a
    graph's, whose memory is its own.
    """
    if device.type != "cuda" or case.captured:
        return {}
    torch.cuda.reset_peak_memory_stats(device)
    between = torch.cuda.memory_allocated(device)
    case.steps(1)
    torch.cuda.synchronize(device)
    return {"peak_bytes": torch.cuda.max_memory_allocated(device) - between}
