"""The suite `kernels`: each function of gan_zoo_kernels as Triton kernels, in plain torch, compiled by torch, and as
torch's function if there is one.

A cell is one function at one shape, in one precision and one direction; its cases are interleaved. `cold` describes how
a call is timed. An empty kernel in every cell shows the cost of a launch.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from gan_zoo_kernels import implementation_for
from gan_zoo_kernels.fused.launches import count_launches
from torch import Tensor

from gan_zoo.bench.clock import reason
from gan_zoo.bench.cold import Cold, Plain, host_seconds
from gan_zoo.bench.problems import PROBLEMS, Direction, Problem, Work
from gan_zoo.bench.rates import DTYPES, copy_rate
from gan_zoo.bench.record import Cell, Report, Samples
from gan_zoo.terminal import say
from gan_zoo.training.environment import environment

PRECISIONS = ("bf16", "fp32")
OURS, COMPILED, REFERENCE, TORCH, EMPTY = ("ours", "reference compiled", "reference", "torch", "empty kernel")
UNCAPTURED = ", no graph"
"""Suffix of the name of a case that cannot be captured."""

CELL_SECONDS, QUICK_SECONDS = 1.0, 0.1
COMPILING_SECONDS, QUICK_COMPILING_SECONDS = 120.0, 25.0
"""Total time for compiling references; each takes seconds, as much as all its measurements."""
QUICK_TOTAL = 65.0
"""Seconds after which a quick run on CUDA starts no further function."""

Calls = dict[str, list[Callable[[], object]]]
"""The calls of each case, one for each set of inputs."""


def kernels(
    device: torch.device,
    *,
    quick: bool = False,
    keep: Callable[[Report], object] = lambda report: None,
) -> Report:
    """Measure every function on a device; the report's notes and cells give the reason for missing measurements.

    Args:
        device: The device.
        quick: Take a tenth of the time per cell and, on CUDA, compile the references of a few shapes only: a minute.
        keep: Called with the report so far, after each function and shape.
    """
    seconds = QUICK_SECONDS if quick else CELL_SECONDS
    begun = time.monotonic()
    on_gpu = device.type == "cuda"
    unmeasured: list[str] = []
    with torch.cuda.stream(torch.cuda.Stream(device)) if on_gpu else nullcontext():  # see `Cold`
        timer = Cold(device) if on_gpu else Plain(device)
        budget = QUICK_COMPILING_SECONDS if quick else COMPILING_SECONDS
        suite = _Suite(device, timer, seconds, quick, obstacles(device, quick=quick), budget)
        notes = [timer.method]
        rates: dict[str, float] = {}
        try:
            rates["copy"] = copy_rate(device, seconds=seconds / 2)
        except RuntimeError as error:
            notes.append(f"rate of copies: {reason(error)}")
        report = Report(
            suite="kernels",
            environment=environment(device),
            settings={"quick": quick, "seconds a cell": seconds, "method": timer.method},
            rates=rates,
            cells=(),
        )
        for precision in PRECISIONS:
            for problem in PROBLEMS:
                if problem.large and not on_gpu:
                    continue
                name = f"{problem.kernel}, {problem.shape}, {precision}"
                if quick and on_gpu and time.monotonic() - begun > QUICK_TOTAL:
                    unmeasured.append(name)
                    continue
                say(name)
                report = report.model_copy(update={"cells": (*report.cells, *suite.cells(problem, precision))})
                keep(report)
    if not on_gpu:
        notes.append("large shapes: left out, they are meant for a GPU")
    if unmeasured:
        notes.append(f"Not begun within {QUICK_TOTAL:.0f} s: {'; '.join(unmeasured)}.")
    notes += [f"{case}: {why}" for case, why in suite.obstacles.items()]
    return report.model_copy(update={"notes": tuple(notes)})


def obstacles(device: torch.device, *, quick: bool) -> dict[str, str]:
    """Why a case cannot be measured on a device, by case."""
    causes: dict[str, str] = {}
    compiler = os.environ.get("CXX", "g++")
    if device.type == "cpu" and quick:
        causes[COMPILED] = "left out of a quick run, since compiling takes minutes"
    elif device.type == "cpu" and not shutil.which(compiler):
        causes[COMPILED] = f"torch.compile needs a C++ compiler, and there is no {compiler}"
    if device.type == "cpu":
        causes[OURS] = "the Triton kernels need a GPU; their interpreter does not measure speed"
    elif (choice := implementation_for(device, "auto")).path != "triton":
        causes[OURS] = choice.reason
    return causes


@dataclass
class _Suite:
    """A run of the suite."""

    device: torch.device
    timer: Plain
    seconds: float  # per cell
    quick: bool
    obstacles: dict[str, str]
    budget: float  # seconds for compiling
    spent: float = 0.0  # seconds of the budget

    def cells(self, problem: Problem, precision: str) -> list[Cell]:
        """Measure a function at one shape and precision: a cell for each direction."""
        named = {"kernel": problem.kernel, "shape": problem.shape, "precision": precision}
        keys: dict[Direction, dict[str, str | int]] = {d: {**named, "direction": d} for d in problem.directions}
        try:
            work = problem.make(self.device, DTYPES[precision])
            sets = work.copies(self.timer.count(work.floor("both")))
        except RuntimeError as error:
            return [Cell(key=key, missing={"": reason(error)}) for key in keys.values()]
        torch.compiler.reset()  # torch refuses to compile a function more than eight times
        missing = dict(self.obstacles)
        if self.quick and (not problem.representative or precision != PRECISIONS[0]):
            missing.setdefault(COMPILED, "left out of a quick run, which compiles a few shapes")
        functions = _functions(work)
        measured = []
        for direction, key in keys.items():
            measured.append(self.cell(key, direction, work, sets, functions, missing | self.obstacles))
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        return measured

    def cell(
        self,
        key: dict[str, str | int],
        direction: Direction,
        work: Work,
        sets: Sequence[tuple[Tensor, ...]],
        functions: dict[str, Callable[..., Any]],
        missing: dict[str, str],
    ) -> Cell:
        """Measure the cases of one direction; those that fail get a reason."""
        calls: Calls = {}
        runs: dict[str, Callable[[], object]] = {}
        for case, function in functions.items():
            if case in missing:
                continue
            begun = time.perf_counter()
            try:
                with torch._functorch.config.patch(
                    donated_buffer=False
                ):  # torch requires it to retain a compiled graph
                    case_calls = [
                        _call(direction, partial(function, *inputs), inputs[: work.learned]) for inputs in sets
                    ]
                    run, why = self.timer.ready(case_calls)
            except Exception as error:  # compilers raise errors of many types
                missing[case] = reason(error)
            else:
                if why:
                    missing[case], case = why, case + UNCAPTURED
                calls[case], runs[case] = case_calls, run
            if case == COMPILED:
                self._spend(time.perf_counter() - begun)
        if not runs:
            return Cell(key=key, missing=missing)
        try:
            self._add_empty(calls, runs, missing, sets)
            rounds = self.timer.times(runs, len(sets), seconds=self.seconds)
            facts = {case: self._facts(case, calls[case], work.floor(direction)) for case in rounds}
        except RuntimeError as error:
            return Cell(key=key, missing={"": reason(error)})
        cases = {case: Samples(seconds=tuple(times), facts=facts[case]) for case, times in rounds.items()}
        return Cell(key=key, cases=cases, missing=missing)

    def _add_empty(
        self,
        calls: Calls,
        runs: dict[str, Callable[[], object]],
        missing: dict[str, str],
        sets: Sequence[tuple[Tensor, ...]],
    ) -> None:
        """Add the empty kernel to the cases if Triton is available."""
        if self.device.type != "cuda" or OURS in self.obstacles:
            return
        from gan_zoo.bench.empty import launch_empty

        calls[EMPTY] = [partial(launch_empty, inputs[0].detach()) for inputs in sets]
        runs[EMPTY], why = self.timer.ready(calls[EMPTY])
        if why:
            missing[EMPTY] = why

    def _facts(self, case: str, calls: Sequence[Callable[[], object]], moved: int) -> dict[str, float]:
        facts: dict[str, float] = {} if case == EMPTY else {"bytes": moved}
        if case.removesuffix(UNCAPTURED) == OURS:
            with count_launches() as names:
                calls[0]()
            facts["launches"] = len(names)
        if self.device.type == "cuda":
            facts["host_seconds"] = host_seconds(calls, self.device)
        return facts

    def _spend(self, seconds: float) -> None:
        """Add time spent on compiling; when the budget is used up, nothing more is compiled."""
        self.spent += seconds
        if self.spent > self.budget:
            self.obstacles[COMPILED] = f"the {self.budget:.0f} s for compiling were used up"


def _functions(work: Work) -> dict[str, Callable[..., Any]]:
    """The function of each case."""
    reference = partial(work.function, implementation="reference")
    functions: dict[str, Callable[..., Any]] = {
        OURS: partial(work.function, implementation="triton"),
        COMPILED: torch.compile(reference, fullgraph=True),
        REFERENCE: reference,
    }
    return functions if work.torch is None else {**functions, TORCH: work.torch}


def _call(direction: Direction, forward: Callable[[], Any], learned: Sequence[Tensor]) -> Callable[[], object]:
    """One direction of a function; backward reuses one retained graph."""

    def without_graph() -> object:
        with torch.no_grad():
            return forward()

    if direction == "forward":
        return without_graph
    output = forward()
    upstream = torch.ones_like(output)
    if direction == "backward":
        return lambda: torch.autograd.grad(output, learned, upstream, retain_graph=True)
    return lambda: torch.autograd.grad(forward(), learned, upstream)
