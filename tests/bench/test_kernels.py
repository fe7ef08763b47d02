"""The suite of kernels: what a machine can measure, and the reasons for what it cannot."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from gan_zoo_kernels.fused.launches import launch
from torch import Tensor

from gan_zoo.bench import kernels as suite
from gan_zoo.bench.cold import Cold
from gan_zoo.bench.kernels import COMPILED, EMPTY, OURS, REFERENCE, TORCH, UNCAPTURED, kernels, obstacles
from gan_zoo.bench.problems import PROBLEMS, Direction, Problem, Work
from gan_zoo.bench.rates import copy_rate
from gan_zoo.bench.record import Report, read

CPU = torch.device("cpu")
GPU = torch.cuda.is_available()
ALONE = {"adam_step", "sample_latents"}
"""Functions without a backward pass."""
FUNCTIONS = {"gaussian_nll", "cross_entropy", "q_head_nll"} | ALONE


def no_copies(device: torch.device, *, seconds: float) -> float:
    return 1e9


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip measuring the rate of copies."""
    monkeypatch.setattr(suite, "copy_rate", no_copies)


def test_a_quick_run_on_a_cpu_measures_plain_torch_and_tells_what_is_missing(
    copies: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = kernels(CPU, quick=True)
    assert (
        report.suite == "kernels"
        and "wall clock" in report.settings["method"]
        and report.rates == {"copy": 1e9}
        and report.settings["quick"] is True
    )
    assert {str(cell.key["kernel"]) for cell in report.cells} == FUNCTIONS
    assert {str(cell.key["precision"]) for cell in report.cells} == {"fp32", "bf16"}
    found: dict[str, set[object]] = {}
    for cell in report.cells:
        found.setdefault(str(cell.key["kernel"]), set()).add(cell.key["direction"])
    assert all(found.pop(name) == {"forward"} for name in ALONE)
    assert all(directions == {"forward", "backward", "both"} for directions in found.values())
    for cell in report.cells:
        own = set() if cell.key["kernel"] == "q_head_nll" else {TORCH}
        assert set(cell.cases) == {REFERENCE} | own and set(cell.missing) == {COMPILED, OURS}
        assert set(cell.cases[REFERENCE].facts) == {"bytes"}
    told = " | ".join(report.notes)
    assert (
        "by the wall clock" in told
        and "need a GPU" in told
        and "interpreter does not measure speed" in told
        and "large shapes: left out" in told
    )
    assert "reference compiled: left out of a quick run" in told
    assert "\nq_head_nll, 128: 10 x 10" in capsys.readouterr().err
    assert read(report.write(tmp_path / "kernels.json")) == report


def test_the_large_shapes_and_all_functions_are_in_the_suite() -> None:
    assert {problem.kernel for problem in PROBLEMS if problem.large} == FUNCTIONS
    assert {problem.kernel for problem in PROBLEMS if not problem.large} == FUNCTIONS


# By hand: a Q head of 10 classes and 2 Gaussians has 10 + 2 · 2 parameters, 3 targets and 3 means in fp32.
PARAMETERS, TARGETS, MEANS = 128 * 14, 128 * 3 * 4, 3 * 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_floor_in_bytes_reads_and_writes_everything_once(dtype: torch.dtype) -> None:
    (problem,) = (p for p in PROBLEMS if (p.kernel, p.shape) == ("q_head_nll", "128: 10 + 2 gaussian"))
    work = problem.make(CPU, dtype)
    parameters = PARAMETERS * dtype.itemsize
    assert work.floor("forward") == parameters + TARGETS + MEANS
    assert work.floor("backward") == parameters + TARGETS + MEANS + parameters
    assert work.floor("both") == parameters + TARGETS + MEANS + parameters + MEANS


@pytest.mark.parametrize("problem", [p for p in PROBLEMS if not p.large], ids=lambda p: f"{p.kernel} {p.shape}")
def test_what_is_said_to_be_written_is(problem: Problem) -> None:
    work = problem.make(CPU, torch.bfloat16)
    outputs = work.function(*work.inputs, implementation="reference")
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    assert work.written == sum(output.numel() * output.element_size() for output in outputs)
    assert [x.requires_grad for x in work.inputs] == [k < work.learned for k in range(len(work.inputs))]


class Fake:
    """A kernel that is counted when it is launched, and does nothing."""

    __name__ = "fake"
    fn, arg_names = None, ()

    def __getitem__(self, grid: tuple[int]) -> Callable[..., None]:
        return lambda *arguments, **options: None


def doubled(x: Tensor, *, implementation: str) -> Tensor:
    """A function of which `ours` makes three launches."""
    for _ in range(3 if implementation == "triton" else 0):
        launch(Fake(), 1, x)
    return 2 * x


def a_problem(function: Callable[..., Any] = doubled, kernel: str = "doubled") -> Problem:
    return Problem(kernel, "4", lambda device, dtype: Work(function, (torch.ones(4, requires_grad=True),), 1, 16))


def measured(
    monkeypatch: pytest.MonkeyPatch,
    *problems: Problem,
    can: tuple[str, ...] = (REFERENCE, OURS),
    quick: bool = True,
) -> Report:
    """A report of these problems, from a machine that can measure these cases."""
    monkeypatch.setattr(suite, "PROBLEMS", problems)
    monkeypatch.setattr(
        suite, "obstacles", lambda device, quick: {c: "cannot" for c in (OURS, COMPILED, REFERENCE) if c not in can}
    )
    return kernels(CPU, quick=quick)


def test_our_launches_are_counted(copies: None, monkeypatch: pytest.MonkeyPatch) -> None:
    forward, backward, both = measured(monkeypatch, a_problem()).cells[:3]
    assert forward.cases[OURS].facts == {"bytes": 32, "launches": 3}
    assert backward.cases[OURS].facts == {"bytes": 48, "launches": 0}
    assert both.cases[OURS].facts == {"bytes": 64, "launches": 3}
    assert both.cases[REFERENCE].facts == {"bytes": 64}
    assert len(both.cases[OURS].seconds) == len(both.cases[REFERENCE].seconds)


def raising(error: Exception, on: str = "triton", after: int = 0) -> Callable[..., Tensor]:
    """`doubled`, which fails at the call after the first `after` of an implementation."""
    left = iter(range(after))

    def function(x: Tensor, *, implementation: str) -> Tensor:
        if implementation == on and next(left, None) is None:
            raise error
        return doubled(x, implementation=implementation)

    return function


FAILURES = [
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory"),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried …"), "out of memory"),
    (ValueError("at 3:5: no such thing\nand more lines"), "ValueError: at 3:5: no such thing"),
    (NotImplementedError(), "NotImplementedError"),
]


@pytest.mark.parametrize(("error", "words"), FAILURES)
def test_a_case_that_fails_is_recorded_and_others_go_on(
    error: Exception, words: str, copies: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = measured(monkeypatch, a_problem(raising(error)), a_problem(kernel="next"))
    assert len(report.cells) == 12
    for cell in report.cells:
        if cell.key["kernel"] == "next":
            assert set(cell.cases) == {REFERENCE, OURS}
        else:
            assert set(cell.cases) == {REFERENCE} and cell.missing[OURS] == words


@pytest.mark.parametrize("error", [error for error, words in FAILURES if words == "out of memory"])
def test_a_cell_that_runs_out_of_memory_is_recorded_and_others_go_on(
    error: Exception, copies: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(device: torch.device, dtype: torch.dtype) -> Work:
        raise error

    while_timed = a_problem(raising(error, on="reference", after=2))
    report = measured(monkeypatch, Problem("inputs", "4", too_large), while_timed, a_problem(kernel="next"))
    cells = {(c.key["kernel"], c.key["precision"], c.key["direction"]): c for c in report.cells}
    assert len(cells) == 18
    for (kernel, _, _), cell in cells.items():
        if kernel == "inputs":
            assert cell.cases == {} and cell.missing == {"": "out of memory"}
        elif kernel == "next":
            assert set(cell.cases) == {REFERENCE, OURS}
    timed = cells["doubled", "bf16", "forward"]
    assert timed.cases == {} and timed.missing == {"": "out of memory"}


def test_a_machine_without_memory_for_copies_has_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(device: torch.device, *, seconds: float) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(suite, "copy_rate", failing)
    report = measured(monkeypatch, a_problem())
    assert report.rates == {} and "rate of copies: out of memory" in report.notes and len(report.cells) == 6


def test_compiling_ends_when_its_time_is_used_up(copies: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, fullgraph: function)
    monkeypatch.setattr(suite, "CELL_SECONDS", 0.01)
    compiled = a_problem()._replace(representative=True)
    report = measured(monkeypatch, compiled, can=(REFERENCE, COMPILED))
    others = [cell for cell in report.cells if cell.key["precision"] == "fp32"]
    assert all("compiles a few shapes" in cell.missing[COMPILED] for cell in others)
    report = measured(monkeypatch, compiled, can=(REFERENCE, COMPILED), quick=False)
    assert all(set(cell.cases) == {REFERENCE, COMPILED} for cell in report.cells)
    monkeypatch.setattr(suite, "QUICK_COMPILING_SECONDS", 0.0)
    report = measured(monkeypatch, compiled, can=(REFERENCE, COMPILED))
    first, *others = report.cells
    assert set(first.cases) == {REFERENCE, COMPILED}
    assert all(set(c.cases) == {REFERENCE} and "used up" in c.missing[COMPILED] for c in others)
    assert any(note.startswith("reference compiled: ") and "used up" in note for note in report.notes)


def test_a_cpu_without_a_compiler_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "there is no no-such-compiler" in obstacles(CPU, quick=False)[COMPILED]
    monkeypatch.setenv("CXX", "sh")
    assert set(obstacles(CPU, quick=False)) == {OURS}


@pytest.mark.slow
def test_the_reference_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [p for p in PROBLEMS if p.shape in ("128: 10 + 2 gaussian", "128 x 10", "128 x 2")]
    monkeypatch.setattr(suite, "CELL_SECONDS", 0.01)
    report = measured(monkeypatch, *chosen, can=(REFERENCE, COMPILED), quick=False)
    assert len(report.cells) == 18
    assert [cell.missing for cell in report.cells if COMPILED not in cell.cases] == []


def test_copies_of_the_inputs_are_equal_and_elsewhere() -> None:
    work = a_problem().make(CPU, torch.float32)
    sets = work.copies(3)
    assert sets[0] is work.inputs and len({x.data_ptr() for (x,) in sets}) == 3
    assert all(torch.equal(x, work.inputs[0]) and x.requires_grad and x.is_leaf for (x,) in sets)


def test_torch_s_own_functions_compute_what_ours_do() -> None:
    for name in ("adam_step", "cross_entropy", "gaussian_nll"):
        (problem, *_) = (p for p in PROBLEMS if p.kernel == name and not p.large)
        work = problem.make(CPU, torch.float32)
        ours, torchs = work.copies(2)  # a step changes its inputs
        assert work.torch is not None
        found = work.function(*ours, implementation="reference")
        torch.testing.assert_close(work.torch(*torchs), found[-1] if isinstance(found, tuple) else found)


class Stand(Cold):
    """`Cold` without a device: the flushes' graph takes 5 s, a graph of N calls 5 + 2 N, give or take."""

    def __init__(self) -> None:
        self.device, self.flushes, self.cache = CPU, lambda: None, 50
        self.noise = itertools.cycle([0.0, 0.5, -0.5])

    def measure(self, call: Callable[[], object], device: torch.device) -> float:
        return 5.0 + (8.0 if call() else 0.0) + next(self.noise)


def test_the_flushes_time_is_subtracted_and_the_rest_shared_among_the_calls() -> None:
    taken = Stand().times({"a": lambda: True, "nothing": lambda: False}, 4, seconds=0.0)
    assert set(taken) == {"a", "nothing"}
    assert taken["a"] == pytest.approx([2.0] * 6, abs=0.25)
    assert all(0 < t <= 0.25 for t in taken["nothing"])  # noise makes no time negative


class Waiting(Stand):
    """`Cold` on a CPU, for which torch's own function waits for the device; it keeps what the calls returned."""

    method = "a stand-in"

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.buffer, self.returned = torch.zeros(1), []

    def count(self, moved: int) -> int:
        return 3

    def ready(self, calls: Sequence[Callable[[], object]]) -> tuple[Callable[[], object], str | None]:
        self.returned.append(self.around(calls))
        return (lambda: self.around(calls)), "it waits" if len(self.returned) % 2 == 0 else None


def test_every_call_of_a_graph_has_inputs_and_outputs_of_its_own(copies: None, monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[Waiting] = []

    def plain(device: torch.device) -> Waiting:
        timers.append(Waiting(device))
        return timers[0]

    monkeypatch.setattr(suite, "Plain", plain)
    (problem,) = (p for p in PROBLEMS if p.shape == "128 x 10")
    report = measured(monkeypatch, problem, can=(REFERENCE,))
    assert [cell.key["direction"] for cell in report.cells] == ["forward", "backward", "both"] * 2
    for cell in report.cells:
        assert set(cell.cases) == {REFERENCE, TORCH + UNCAPTURED} and cell.missing[TORCH] == "it waits"
        assert cell.cases[REFERENCE].time.median == pytest.approx(8 / 3, abs=0.5)
    reference, own = timers[0].returned[2:4]
    gradients = [gradient for (gradient,) in reference]  # type: ignore[misc]
    assert len({gradient.data_ptr() for gradient in gradients}) == 3
    torch.testing.assert_close(reference, own, rtol=0.05, atol=1e-3)


@pytest.mark.parametrize(("moved", "count"), [(1, 64), (10, 40), (100, 4), (1000, 2), (0, 64)])
def test_there_are_as_many_calls_as_exceed_the_cache(moved: int, count: int) -> None:
    assert Stand().count(moved) == count


@pytest.mark.gpu
@pytest.mark.skipif(not GPU, reason="needs a CUDA device")
def test_a_quick_run_on_a_gpu_measures_everything_in_graphs_but_what_waits(
    copies: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "PROBLEMS", [p for p in PROBLEMS if p.shape.startswith("128")])
    report = kernels(torch.device("cuda"), quick=True)
    assert {str(cell.key["kernel"]) for cell in report.cells} == FUNCTIONS
    for cell in report.cells:
        assert {REFERENCE, OURS, EMPTY} <= set(cell.cases), (cell.name, cell.missing)
        waits = cell.key["kernel"] == "gaussian_nll" and cell.key["direction"] != "backward"  # torch's checks variances
        assert (TORCH + UNCAPTURED in cell.cases) == waits, cell.name
        assert set(cell.missing) <= {COMPILED, TORCH}, (cell.name, cell.missing)
        assert 1e-7 < cell.cases[EMPTY].time.median < 1e-5
        assert all(1e-7 < samples.facts["host_seconds"] < 0.1 for samples in cell.cases.values())
        assert cell.cases[OURS].facts["launches"] >= 1


@pytest.mark.gpu
@pytest.mark.skipif(not GPU, reason="needs a CUDA device")
def test_a_copy_in_a_graph_is_as_fast_as_a_copy_of_far_more_than_the_cache() -> None:
    device = torch.device("cuda")
    with torch.cuda.stream(torch.cuda.Stream()):
        cold = Cold(device)
        for size in (cold.cache // 8, cold.cache):
            count = cold.count(2 * size)
            sources = [torch.zeros(size // 4, device=device) for _ in range(count)]
            run, why = cold.ready([source.clone for source in sources])
            (taken,) = cold.times({"": run}, count, seconds=0.2).values()
            assert why is None
            assert 2 * size / sorted(taken)[len(taken) // 2] < 1.1 * copy_rate(device)  # not from the cache


@pytest.mark.gpu
@pytest.mark.skipif(not GPU, reason="needs a CUDA device")
@pytest.mark.parametrize("direction", ["backward", "both"])
def test_a_graph_computes_what_it_was_captured_from(direction: Direction) -> None:
    (problem,) = (p for p in PROBLEMS if (p.kernel, p.shape) == ("q_head_nll", "128: 10 x 10"))
    kept: list[Tensor] = []
    with torch.cuda.stream(torch.cuda.Stream()):
        work = problem.make(torch.device("cuda"), torch.float32)
        parameters = work.inputs[0]
        call = suite._call(direction, partial(suite._functions(work)[OURS], *work.inputs), [parameters])
        replay, why = Cold(torch.device("cuda")).ready([lambda: kept.append(call()[0])])  # type: ignore[index]
        assert why is None
        with torch.no_grad():
            parameters.normal_()
        replay()
        nll = work.function(*work.inputs, implementation="reference")
        (expected,) = torch.autograd.grad(nll.sum(), parameters)
        torch.testing.assert_close(kept[-1], expected)
