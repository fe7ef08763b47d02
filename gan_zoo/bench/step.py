"""Speed of InfoGAN's and the plain GAN's steps with the same trunk, loop, data path and number format.

The cases of a cell are interleaved, so a ratio compares steps under the same conditions. A case runs what `gan-zoo
train` runs between two logging steps: batch, latents, step, moving average, sums of losses.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import torch

from gan_zoo.bench.busy import busy
from gan_zoo.bench.clock import in_turn, reason
from gan_zoo.bench.flops import flop_counter
from gan_zoo.bench.rates import rates
from gan_zoo.bench.record import Cell, Report, Samples
from gan_zoo.bench.workloads import CASES, CODES, PAPER, RECIPE, VARIANTS, Cases, Workload, choose, grid
from gan_zoo.config import Config, Training
from gan_zoo.data.dataset import open_dataset
from gan_zoo.errors import InputError
from gan_zoo.terminal import say
from gan_zoo.training.build import new_state, with_facts
from gan_zoo.training.capture import WARM_UP
from gan_zoo.training.environment import environment
from gan_zoo.training.iterations import Iterations
from gan_zoo.training.precision import tuned
from gan_zoo.training.state import State
from gan_zoo.training.step import UpdateOrder

BLOCK = 0.05
"""Minimum seconds of a sample; shorter steps are timed in blocks."""
GAIN = 1.05
"""The batch is doubled as long as this multiplies images per second by at least this factor."""


def step(
    device: torch.device,
    *,
    quick: bool = False,
    chosen: Mapping[str, Sequence[str]] = MappingProxyType({}),
    batches: Sequence[int] = (),
    seconds: float | None = None,
    minutes: float | None = None,
    keep: Callable[[Report], object] = lambda report: None,
) -> Report:
    """Measure the grid; then double the batch while that is faster and there is time.

    Args:
        device: Where to measure.
        quick: Measure a smaller grid, each cell for less time.
        chosen: Values to measure, by field of a workload; an empty sequence selects all.
        batches: Batch sizes; by default they are doubled as long as that is faster.
        seconds: Time for each cell of two cases, beyond its first rounds.
        minutes: Start no further cell after this time.
        keep: Called with the report so far, after each cell.

    Raises:
        InputError: If no cell is left, or a setting is out of range.
    """
    workloads = choose(grid(device, quick=quick), chosen)
    if any(n < 2 for n in batches) or (seconds is not None and not seconds > 0):
        raise InputError("--batch-size must be at least 2, and --seconds greater than 0")
    on_gpu = device.type == "cuda"
    budget = seconds or ((4.0 if on_gpu else 10.0) if quick else 15.0)
    minutes = (1.5 if quick and on_gpu else 18.0) if minutes is None else minutes
    report = Report(
        suite="step",
        environment=environment(device),
        settings={"quick": quick, "seconds a cell": budget, "codes": CODES, "tf32": Training().tf32},
        rates=rates(dict.fromkeys(workload.precision for workload in workloads), device),
        cells=(),
        notes=() if on_gpu else ("No CUDA device: no CUDA graphs, no peak memory, no count of kernels.",),
    )
    queue = deque(replace(workload, batch=n) for workload in workloads for n in batches or (workload.batch,))
    speeds: dict[Workload, float] = {}
    ends = time.monotonic() + 60 * minutes
    while queue and time.monotonic() <= ends:
        workload = queue.popleft()
        say(Cell(key=workload.key).name)
        cases = _cases(workload, quick=quick, on_gpu=on_gpu)
        with tuned(Training(), device):
            measured = cell(workload, cases, device, seconds=budget * len(cases) / len(CASES))
        report = report.model_copy(update={"cells": (*report.cells, measured)})
        keep(report)
        if not (quick or batches) and _gains(workload, measured, speeds) and time.monotonic() < ends:
            queue.append(replace(workload, batch=2 * workload.batch))
    if queue:
        names = "; ".join(Cell(key=workload.key).name for workload in queue)
        report = report.model_copy(update={"notes": (*report.notes, f"Not begun within {minutes:g} minutes: {names}.")})
        keep(report)
    return report


def _gains(workload: Workload, measured: Cell, speeds: dict[Workload, float]) -> bool:
    """Add the plain GAN's images per second to `speeds`; return whether a larger batch is worth trying."""
    if "gan" not in measured.cases:
        return False
    speeds[workload] = workload.batch / measured.cases["gan"].time.median
    previous = speeds.get(replace(workload, batch=workload.batch // 2))
    return previous is None or speeds[workload] > GAIN * previous


def _cases(workload: Workload, *, quick: bool, on_gpu: bool) -> Cases:
    """The cases of a workload: on the paper's network also the variants, or the recipe in a quick run on a GPU."""
    if workload != replace(PAPER, precision=workload.precision, mode=workload.mode):
        return CASES
    if quick:
        return CASES | {RECIPE: VARIANTS[RECIPE]} if on_gpu else CASES
    return CASES | VARIANTS if workload.mode in ("eager", "graph") else CASES


def cell(workload: Workload, cases: Cases, device: torch.device, *, seconds: float) -> Cell:
    """Measure one cell; a case that fails is recorded with its cause."""
    torch.compiler.reset()  # torch runs a function eagerly after a few recompilations
    running: dict[str, Running] = {}
    missing: dict[str, str] = {}
    for name, (model, settings) in cases.items():
        try:
            running[name] = Running(workload.config(model, settings, device))
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
        gc.collect()  # a training refers to itself
        torch.cuda.empty_cache()
    return Cell(key=workload.key, cases=timed_cases, missing=missing)


class Running:
    """A warmed-up training without a run folder.

    Args:
        config: The configuration.
        order: Makes the update order from the state; defaults to the configuration's.

    Attributes:
        images: Images per step.
        flops: FLOPs per step, as torch counts them: without the products of a fused head, 0.5 % of InfoGAN's.
        captured: Whether a step is a CUDA graph.
        messages: Reasons why there is no CUDA graph.
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
        with flop_counter() as counter:
            self.steps(1)
        self.flops = counter.get_total_flops()
        self.images, self.captured = config.training.batch_size, config.training.cuda_graph != "off"
        if config.training != eager:
            self.iterations = Iterations(new_state(config, device), dataset.train, self.messages.append)
        self.steps(WARM_UP + 1)  # compiles, captures and selects algorithms

    @property
    def waited(self) -> float:
        """Seconds spent in waiting for data."""
        return self.iterations.feed.waited

    def steps(self, count: int) -> None:
        """Make `count` steps."""
        for _ in range(count):
            next(self.iterations)


def timed(running: Mapping[str, Running], device: torch.device, *, seconds: float) -> dict[str, Samples]:
    """Samples of each case, per step; short steps are timed in blocks."""
    if not running:
        return {}
    (once,) = in_turn(
        {"": partial(next(iter(running.values())).steps, 1)}, device, seconds=0, least=1, warm_up=0
    ).values()
    block = math.ceil(BLOCK / once[0])
    peaks = {name: _peak(case, device) for name, case in running.items()}
    waited = {name: case.waited for name, case in running.items()}
    calls = {name: partial(case.steps, block) for name, case in running.items()}
    rounds = in_turn(calls, device, seconds=seconds, warm_up=0)
    samples = {}
    for name, case in running.items():
        times = [t / block for t in rounds[name]]
        waiting = (case.waited - waited[name]) / (block * sum(times))
        facts = {"images": case.images, "flops": case.flops, "waiting": waiting, **peaks[name]}
        facts |= busy(case.steps, device, seconds=statistics.median(times))
        samples[name] = Samples(seconds=tuple(times), facts=facts)
    return samples


def _peak(case: Running, device: torch.device) -> dict[str, float]:
    """Peak bytes of a step beyond what is allocated between steps; only on CUDA without a graph, whose memory is not
    counted.
    """
    if device.type != "cuda" or case.captured:
        return {}
    torch.cuda.reset_peak_memory_stats(device)
    between = torch.cuda.memory_allocated(device)
    case.steps(1)
    torch.cuda.synchronize(device)
    return {"peak_bytes": torch.cuda.max_memory_allocated(device) - between}
