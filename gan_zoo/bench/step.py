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
from dataclasses import asdict, dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from gan_zoo.bench.clock import in_turn, reason
from gan_zoo.bench.rates import rates
from gan_zoo.bench.record import Cell, Report, Samples
from gan_zoo.config import Config
from gan_zoo.data.dataset import open_dataset
from gan_zoo.errors import InputError, unknown
from gan_zoo.resolve import resolve
from gan_zoo.training.capture import WARM_UP, Play
from gan_zoo.training.checkpoint import State
from gan_zoo.training.environment import environment
from gan_zoo.training.iterations import Iterations
from gan_zoo.training.loop import new_state, with_facts
from gan_zoo.training.meter import Meter
from gan_zoo.training.precision import pick_precision

CODES = "categorical:10, uniform:2"
WARP = "rotate:0.2, scale:0.1, shift:0.05, shear:0.4, height:0.2, elastic:0.04"
BLOCK = 0.05
"""Seconds that a sample takes at least: shorter steps are timed several at a time."""
GAIN = 1.05
"""A larger batch is tried as long as the last one made this many times as many images a second as the one before."""

MODES: dict[str, dict[str, Any]] = {  # graph: compiled, and the step one CUDA graph
    "eager": {},
    "compiled": {"training.compile": True},
    "graph": {"training.compile": True, "training.cuda_graph": True},
}
Cases = dict[str, tuple[str, dict[str, Any]]]
"""Model and settings of its own of each case, by name."""
CASES: Cases = {"gan": ("gan", {}), "infogan": ("infogan", {})}
"""The two that every cell has."""
VARIANTS: Cases = {
    "infogan, channels last": ("infogan", {"training.channels_last": True}),
    "gan, simultaneous": ("gan", {"training.update": "simultaneous"}),
    "infogan, simultaneous": ("infogan", {"training.update": "simultaneous"}),
    "infogan, consistency": ("infogan", {"infogan.consistency": 1.0, "data.warp": WARP}),
    "infogan, consistency of a third": (
        "infogan",
        {"infogan.consistency": 1.0, "infogan.consistency_share": 0.334, "data.warp": WARP},
    ),
}
"""Further ones, of the full grid's cells at `PAPER`."""


@dataclass(frozen=True)
class Place:
    """A cell of the grid."""

    trunk: str
    resolution: int
    batch: int
    precision: str
    mode: str = "eager"

    @property
    def key(self) -> dict[str, str | int]:
        """What the cell is called by in a report."""
        return asdict(self)

    def config(self, model: str, settings: Mapping[str, Any], device: torch.device) -> Config:
        """The configuration of a case. The plain GAN's noise is as wide as InfoGAN's noise and codes."""
        noise = {"latent.noise": 62, "infogan.codes": CODES} if model == "infogan" else {"latent.noise": 74}
        colours = 1 if self.trunk == "infogan-mnist" else 3
        shared = {
            "trunk.name": self.trunk,
            "trunk.generator_norm": "batch",
            "trunk.discriminator_norm": "batch",
            "latent.distribution": "uniform",
            "data.name": "mnist-5k",
            "data.resolution": self.resolution,
            "data.channels": colours,
            "training.batch_size": self.batch,
            "training.precision": self.precision,
            "training.device": str(device),
        }
        return resolve(model, {}, {**shared, **noise, **MODES[self.mode], **settings})


PAPER = Place("infogan-mnist", 28, 128, "fp32")
"""The paper's network for digits and its batch (Chen et al., 2016, appendix C.1)."""


def grid(device: torch.device, *, quick: bool) -> list[Place]:
    """The first batch size of every trunk, resolution, precision and mode; larger batches follow where they gain."""
    best = pick_precision("auto", device)
    if quick:
        return [replace(PAPER, precision=precision) for precision in dict.fromkeys(("fp32", best))]
    trunks = [(PAPER.trunk, PAPER.resolution, PAPER.batch), ("dcgan", 32, 64), ("dcgan", 64, 32), ("resnet", 32, 8)]
    modes = [mode for mode in MODES if device.type == "cuda" or mode != "graph"]
    precisions = dict.fromkeys(("fp32", best, *(("fp16",) if device.type == "cuda" else ())))
    return [Place(*trunk, precision, mode) for mode in modes for trunk in trunks for precision in precisions]


def step(
    device: torch.device,
    *,
    quick: bool = False,
    chosen: Mapping[str, Sequence[str]] = MappingProxyType({}),  # of the grid, by field of a place; none is all
    batches: Sequence[int] = (),  # batch sizes, instead of those that the device is found to gain by
    seconds: float | None = None,  # for each cell of two cases, beyond its first rounds
    minutes: float = 18.0,  # after which no further cell is begun
    say: Callable[[str], None] = lambda line: None,
    keep: Callable[[Report], object] = lambda report: None,  # takes the report so far, after each cell
) -> Report:
    """Measure the grid; then, while there is time, the same with twice the batch wherever the last doubling gained.

    Raises:
        InputError: If no cell is left.
    """
    places = _choose(grid(device, quick=quick), chosen)
    if any(n < 2 for n in batches) or (seconds is not None and not seconds > 0):
        raise InputError("batch sizes are 2 or more, and seconds more than 0")
    budget = seconds or (10.0 if quick else 15.0)
    report = Report(
        suite="step",
        environment=environment(device),
        settings={
            "quick": quick,
            "seconds a cell": budget,
            "codes": CODES,
            "tf32 convolutions": torch.backends.cudnn.allow_tf32,
            "tf32 products": torch.backends.cuda.matmul.allow_tf32,
        },
        rates=rates(dict.fromkeys(place.precision for place in places), device),
        cells=(),
        notes=() if device.type == "cuda" else ("No CUDA device: no CUDA graphs, no peak memory.",),
    )
    queue = deque(replace(place, batch=n) for place in places for n in batches or (place.batch,))
    speeds: dict[Place, float] = {}
    ends = time.monotonic() + 60 * minutes
    while queue:
        place = queue.popleft()
        if time.monotonic() > ends:
            left = "; ".join(Cell(key=p.key).name for p in (place, *queue))
            report = report.model_copy(
                update={"notes": (*report.notes, f"Not begun within {minutes:g} minutes: {left}.")}
            )
            keep(report)
            break
        say(Cell(key=place.key).name)
        further = not quick and place == replace(PAPER, precision=place.precision)
        cases = CASES | VARIANTS if further else CASES
        measured = cell(place, cases, device, seconds=budget * len(cases) / len(CASES))
        report = report.model_copy(update={"cells": (*report.cells, measured)})
        keep(report)
        if "gan" in measured.cases and not (quick or batches):
            speeds[place] = place.batch / measured.cases["gan"].time.median
            before = speeds.get(replace(place, batch=place.batch // 2))
            if time.monotonic() < ends and (before is None or speeds[place] > GAIN * before):
                queue.append(replace(place, batch=2 * place.batch))
    return report


def _choose(places: Sequence[Place], chosen: Mapping[str, Sequence[str]]) -> list[Place]:
    """The places that are asked for.

    Raises:
        InputError: If a value is of no place, or none is left.
    """
    for field, values in chosen.items():
        here = list(dict.fromkeys(str(getattr(place, field)) for place in places))
        for value in values:
            if value not in here:
                raise unknown(f"{field} of this grid", value, here)
    left = [p for p in places if all(getattr(p, field) in values for field, values in chosen.items() if values)]
    if not left:
        raise InputError("nothing is left to measure: these choices have no cell of the grid in common")
    return left


def cell(place: Place, cases: Cases, device: torch.device, *, seconds: float) -> Cell:
    """Measure one cell; a case that cannot be had is told in its place."""
    torch.compiler.reset()  # torch compiles a function for few models only, and leaves it eager for further ones
    running: dict[str, Running] = {}
    missing: dict[str, str] = {}
    for name, (model, settings) in cases.items():
        try:
            running[name] = Running(place.config(model, settings, device))
        except (RuntimeError, MemoryError) as error:
            missing[name] = reason(error)
            continue
        if said := running[name].said:
            missing[name] = "; ".join(said)
            del running[name]
    try:
        timed_cases = timed(running, device, seconds=seconds)
    except (RuntimeError, MemoryError) as error:
        timed_cases, missing = {}, missing | {"": reason(error)}
    running.clear()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return Cell(key=place.key, cases=timed_cases, missing=missing)


class Running:
    """A training without a run folder, warm, of which steps are asked for.

    Args:
        config: Of the run.
        order: Makes the order of play from the state, where it is not that of the configuration.

    Attributes:
        said: What the iterations had to say: why there is no CUDA graph.
        flops: Of a step.
    """

    def __init__(self, config: Config, order: Callable[[State], Play] | None = None) -> None:
        device = torch.device(config.training.device)
        dataset = open_dataset(config.data)
        config = with_facts(config, dataset, device)
        self.meter = Meter()
        self.said: list[str] = []
        eager = config.training.model_copy(update={"compile": False, "cuda_graph": False})
        self.iterations = Iterations(new_state(config.model_copy(update={"training": eager}), device), dataset.train)
        if order:
            self.iterations.play = order(self.iterations.state)
        with FlopCounterMode(display=False) as counter:
            self.steps(1)
        self.flops = counter.get_total_flops()
        if config.training != eager:
            self.iterations = Iterations(new_state(config, device), dataset.train, self.said.append)
        self.steps(WARM_UP + 1)  # whatever is compiled, captured or chosen at first use

    def steps(self, count: int) -> None:
        """Make `count` steps."""
        for _ in range(count):
            for objective in next(self.iterations):
                self.meter.add(objective.terms | objective.metrics, self.iterations.state.step)


def timed(running: Mapping[str, Running], device: torch.device, *, seconds: float) -> dict[str, Samples]:
    """Samples of each case, of one step each: short steps are timed several at a time."""
    if not running:
        return {}
    (once,) = in_turn(
        {"": partial(next(iter(running.values())).steps, 1)}, device, seconds=0, least=1, warm_up=0
    ).values()
    block = math.ceil(BLOCK / once[0])
    peaks = {name: _peak(case, device) for name, case in running.items()}
    before = {name: (case.iterations.state.step, case.iterations.waited) for name, case in running.items()}
    calls = {name: partial(case.steps, block) for name, case in running.items()}
    taken = in_turn(calls, device, seconds=seconds, warm_up=0)
    found = {}
    for name, case in running.items():
        times = [t / block for t in taken[name]]
        step, waited = before[name]
        waiting = (case.iterations.waited - waited) / (case.iterations.state.step - step) / statistics.mean(times)
        facts = {"images": case.iterations.config.training.batch_size, "flops": case.flops, "waiting": waiting}
        found[name] = Samples(seconds=tuple(times), facts=facts | peaks[name])
    return found


def _peak(case: Running, device: torch.device) -> dict[str, float]:
    """Bytes that a step needs at its height beyond what lies on the device between steps; CUDA counts them, but for a
    graph's, whose memory is its own.
    """
    if device.type != "cuda" or case.iterations.config.training.cuda_graph:
        return {}
    torch.cuda.reset_peak_memory_stats(device)
    between = torch.cuda.memory_allocated(device)
    case.steps(1)
    torch.cuda.synchronize(device)
    return {"peak_bytes": torch.cuda.max_memory_allocated(device) - between}
