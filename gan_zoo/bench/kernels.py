"""The suite `kernels`: each function of gan_zoo_kernels in plain torch, compiled by torch, and as Triton kernels.

A cell is one function at one shape, in one precision and one direction; its cases take turns. A call that is short is
measured with the time that the host takes to launch it; the CUDA graph's is the device's, but for one launch. What fits
a cache is read from it: beside the rate of copies, bytes/s tell something for the large shapes only.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from gan_zoo_kernels import (
    Layout,
    PriorCode,
    PriorLayout,
    cross_entropy,
    gaussian_nll,
    implementation_for,
    q_head_nll,
    sample_latents,
)
from gan_zoo_kernels.fused.launches import count_launches
from torch import Tensor

from gan_zoo.bench.clock import in_turn, reason
from gan_zoo.bench.rates import DTYPES, copy_rate
from gan_zoo.bench.record import Cell, Report, Samples
from gan_zoo.training.environment import environment

Direction = Literal["forward", "backward", "both"]
DIRECTIONS: tuple[Direction, ...] = ("forward", "backward", "both")
PRECISIONS = ("fp32", "bf16")
REFERENCE, COMPILED, OURS, GRAPH = CASES = ("reference", "reference compiled", "ours", "ours, CUDA graph")

CELL_SECONDS, QUICK_SECONDS = 1.0, 0.1
COMPILING_SECONDS = 120.0
"""After so long no further reference is compiled: it takes seconds for each, as many as everything else together."""


class Work(NamedTuple):
    """A function of gan_zoo_kernels and what it is called with."""

    function: Callable[..., Any]  # of the inputs, and `implementation`
    inputs: tuple[Tensor, ...]
    learned: int  # inputs that get a gradient: the first so many
    written: int  # bytes of the outputs

    def floor(self, direction: Direction) -> int:
        """Bytes of a call that reads every input once and writes every output once.

        Backward reads the inputs and the gradient of the outputs, and writes the gradients of the inputs. Both together
        read the inputs once.
        """
        read, gradients = _bytes(self.inputs), _bytes(self.inputs[: self.learned])
        if direction == "forward":
            return read + self.written
        return read + gradients + self.written * (1 if direction == "backward" else 2)


class Problem(NamedTuple):
    """A function at a shape."""

    kernel: str
    shape: str
    make: Callable[[torch.device, torch.dtype], Work]
    large: bool = False  # for a GPU only

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Those that it has."""
        return DIRECTIONS[:1] if self.kernel == "sample_latents" else DIRECTIONS


def _q_head(batch: int, layout: Layout, prior: PriorLayout) -> Callable[[torch.device, torch.dtype], Work]:
    def make(device: torch.device, dtype: torch.dtype) -> Work:
        parameters = torch.randn(batch, layout.width, device=device, dtype=dtype, requires_grad=True)
        targets = sample_latents(prior, batch, seed=0, step=0, device=device, implementation="reference")[1]
        return Work(partial(q_head_nll, layout=layout), (parameters, targets), 1, 4 * len(layout.segments))

    return make


def _latents(batch: int, prior: PriorLayout) -> Callable[[torch.device, torch.dtype], Work]:
    def make(device: torch.device, dtype: torch.dtype) -> Work:
        def draw(step: Tensor, implementation: Literal["reference", "triton"]) -> tuple[Tensor, Tensor]:
            return sample_latents(
                prior, batch, seed=0, step=step, device=device, dtype=dtype, implementation=implementation
            )

        step = torch.zeros((), dtype=torch.int64, device=device)
        return Work(draw, (step,), 0, batch * (prior.width * dtype.itemsize + 4 * len(prior.codes)))

    return make


def _cross_entropy(rows: int, classes: int) -> Callable[[torch.device, torch.dtype], Work]:
    def make(device: torch.device, dtype: torch.dtype) -> Work:
        logits = torch.randn(rows, classes, device=device, dtype=dtype, requires_grad=True)
        return Work(cross_entropy, (logits, torch.randint(classes, (rows,), device=device)), 1, 4)

    return make


def _gaussian(rows: int, columns: int) -> Callable[[torch.device, torch.dtype], Work]:
    def make(device: torch.device, dtype: torch.dtype) -> Work:
        mean, log_var, target = (torch.randn(rows, columns, device=device, dtype=dtype) for _ in range(3))
        return Work(gaussian_nll, (mean.requires_grad_(), log_var.requires_grad_(), target), 2, 4)

    return make


# The codes of InfoGAN's experiments on MNIST and on CelebA (Chen et al. 2016, appendix C).
_CLASSES, _UNIFORM = PriorCode("categorical", size=10), PriorCode("uniform")
_MNIST = Layout.of(("categorical", 10), ("gaussian", 2)), PriorLayout(62, "normal", (_CLASSES, _UNIFORM, _UNIFORM))
_CELEBA = Layout.of(*[("categorical", 10)] * 10), PriorLayout(128, "normal", (_CLASSES,) * 10)

PROBLEMS = (
    Problem("q_head_nll", "128: 10 + 2 gaussian", _q_head(128, *_MNIST)),
    Problem("q_head_nll", "128: 10 x 10", _q_head(128, *_CELEBA)),
    Problem("q_head_nll", "8192: 10 x 10", _q_head(8192, *_CELEBA), large=True),
    Problem("cross_entropy", "128 x 10", _cross_entropy(128, 10)),
    Problem("cross_entropy", "8192 x 4096", _cross_entropy(8192, 4096), large=True),
    Problem("gaussian_nll", "128 x 2", _gaussian(128, 2)),
    Problem("gaussian_nll", "8192 x 4096", _gaussian(8192, 4096), large=True),
    Problem("sample_latents", "128: 62 + 10 + 2 uniform", _latents(128, _MNIST[1])),
    Problem("sample_latents", "128: 128 + 10 x 10", _latents(128, _CELEBA[1])),
    Problem("sample_latents", "8192: 128 + 10 x 10", _latents(8192, _CELEBA[1]), large=True),
)


def kernels(device: torch.device, *, quick: bool = False, say: Callable[[str], None] = lambda line: None) -> Report:
    """Measure every function on a device; what cannot be measured there is told in the report's notes and cells.

    Args:
        device: Where.
        quick: A tenth of the time a cell, and nothing compiled by torch: seconds instead of minutes.
        say: Takes a line before each function and shape.
    """
    seconds = QUICK_SECONDS if quick else CELL_SECONDS
    suite = _Suite(device, seconds, obstacles(device, quick=quick))
    rates: dict[str, float] = {}
    notes: list[str] = []
    cells: list[Cell] = []
    with torch.cuda.stream(torch.cuda.Stream(device)) if device.type == "cuda" else nullcontext():  # see `_captured`
        try:
            rates["copy"] = copy_rate(device, seconds=seconds / 2)
        except RuntimeError as error:
            notes.append(f"rate of copies: {reason(error)}")
        for problem in PROBLEMS:
            if problem.large and device.type != "cuda":
                continue
            say(f"{problem.kernel}, {problem.shape}")
            for precision in PRECISIONS:
                cells += suite.cells(problem, precision)
    if device.type != "cuda":
        notes.append("large shapes: left out, they are meant for a GPU")
    return Report(
        suite="kernels",
        environment=environment(device),
        settings={"quick": quick, "seconds a cell": seconds},
        rates=rates,
        cells=tuple(cells),
        notes=(*notes, *(f"{case}: {why}" for case, why in suite.obstacles.items())),
    )


def obstacles(device: torch.device, *, quick: bool) -> dict[str, str]:
    """Why a case cannot be measured on a device, by case."""
    found: dict[str, str] = {}
    compiler = os.environ.get("CXX", "g++")
    if quick:
        found[COMPILED] = "left out of a quick run, since compiling takes minutes"
    elif device.type == "cpu" and not shutil.which(compiler):
        found[COMPILED] = f"torch.compile needs a C++ compiler, and there is no {compiler}"
    if device.type == "cpu":
        found[OURS] = "the Triton kernels need a GPU; their interpreter is no measure of speed"
    elif (choice := implementation_for(device, "auto")).path != "triton":
        found[OURS] = choice.reason
    if OURS in found:
        found[GRAPH] = found[OURS]
    return found


@dataclass
class _Suite:
    """A run of the suite."""

    device: torch.device
    seconds: float  # a cell
    obstacles: dict[str, str]
    compiling: float = COMPILING_SECONDS  # left

    def cells(self, problem: Problem, precision: str) -> list[Cell]:
        """A function at one shape and precision: a cell for each direction."""
        named = {"kernel": problem.kernel, "shape": problem.shape, "precision": precision}
        keys: dict[Direction, dict[str, str | int]] = {d: {**named, "direction": d} for d in problem.directions}
        try:
            work = problem.make(self.device, DTYPES[precision])
        except RuntimeError as error:
            return [Cell(key=key, missing={"": reason(error)}) for key in keys.values()]
        torch.compiler.reset()  # else torch refuses to compile a function for the ninth time
        forwards = {case: _forward(case, work) for case in CASES}
        return [self.cell(key, direction, work, forwards) for direction, key in keys.items()]

    def cell(
        self,
        key: dict[str, str | int],
        direction: Direction,
        work: Work,
        forwards: dict[str, Callable[[], Any]],
    ) -> Cell:
        """The cases of one direction, each with the reason if it cannot be measured."""
        calls, missing = {}, dict(self.obstacles)
        for case, forward in forwards.items():
            if case not in self.obstacles:
                begun = time.perf_counter()
                try:
                    calls[case] = _ready(case, direction, forward, work.inputs[: work.learned])
                except Exception as error:  # what torch's and Triton's compilers raise has nothing else in common
                    missing[case] = reason(error)
                if case == COMPILED:
                    self._pay(time.perf_counter() - begun)
        if not calls:
            return Cell(key=key, missing=missing)
        try:
            taken = in_turn(calls, self.device, seconds=self.seconds)
        except RuntimeError as error:
            return Cell(key=key, missing={"": reason(error)})
        launches = {"launches": _launches(calls[OURS])} if OURS in calls else {}
        facts = {case: launches if case in (OURS, GRAPH) else {} for case in calls}
        cases = {
            case: Samples(seconds=tuple(times), facts={"bytes": work.floor(direction), **facts[case]})
            for case, times in taken.items()
        }
        return Cell(key=key, cases=cases, missing=missing)

    def _pay(self, seconds: float) -> None:
        """Take off what compiling took; nothing more is compiled when all is used up."""
        self.compiling -= seconds
        if self.compiling < 0:
            self.obstacles[COMPILED] = f"the {COMPILING_SECONDS:.0f} s for compiling were used up"


def _forward(case: str, work: Work) -> Callable[[], Any]:
    """The function as a case calls it."""
    function = partial(work.function, implementation="triton" if case in (OURS, GRAPH) else "reference")
    if case == COMPILED:
        return partial(torch.compile(function, fullgraph=True), *work.inputs)
    return partial(function, *work.inputs)


def _ready(
    case: str, direction: Direction, forward: Callable[[], Any], learned: Sequence[Tensor]
) -> Callable[[], object]:
    """The call that is timed; what happens at its first use has happened."""
    with torch._functorch.config.patch(donated_buffer=False):  # else torch may refuse to retain a compiled graph
        call = _call(direction, forward, learned)
        call()
    return _captured(call) if case == GRAPH else call


def _call(direction: Direction, forward: Callable[[], Any], learned: Sequence[Tensor]) -> Callable[[], object]:
    """One direction of a function; backward goes through one retained graph again and again."""

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


def _captured(call: Callable[[], object]) -> Callable[[], object]:
    """A call as a CUDA graph.

    It is captured on the current stream, which is not the default one: backward runs on the stream of its forward pass,
    and what lies on the default stream cannot be captured.
    """
    for _ in range(2):
        call()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
        call()

    def replay(holding: object = call) -> None:  # the graph reads what the call holds
        graph.replay()

    return replay


def _launches(call: Callable[[], object]) -> int:
    """How many kernels of gan_zoo_kernels a call launches."""
    with count_launches() as names:
        call()
    return len(names)


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
