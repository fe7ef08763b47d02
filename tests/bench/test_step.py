"""The suite of steps: its grid, its cells, and cases that fail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from narrow import one_line

from gan_zoo.bench import rates, workloads
from gan_zoo.bench import step as suite
from gan_zoo.bench.record import Cell, Report, Samples
from gan_zoo.bench.step import Running, step
from gan_zoo.bench.workloads import CASES, COLOUR, MODES, PAPER, RECIPE, VARIANTS, Workload, grid
from gan_zoo.errors import InputError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
NARROW = {"trunk.width": 2}


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small networks, and rates without measurement."""
    for name in ("CASES", "VARIANTS"):
        cases = getattr(suite, name)
        monkeypatch.setattr(suite, name, {k: (model, {**own, **NARROW}) for k, (model, own) in cases.items()})
    monkeypatch.setattr(rates, "matmul_rate", lambda *_: 1e9)
    monkeypatch.setattr(rates, "copy_rate", lambda *_: 1e9)
    return iter(())


def test_the_grid_is_trunk_by_resolution_by_precision_by_mode() -> None:
    full = grid(CUDA, quick=False)
    assert len(full) == len(set(full))
    assert {(p.trunk, p.resolution) for p in full} >= {("infogan-mnist", 28), ("dcgan", 32), ("dcgan", 64)}
    assert {p.mode for p in full} == set(MODES)
    assert {p.precision for p in full} >= {"fp32", "fp16"}
    assert {p.mode for p in grid(CPU, quick=False)} == {"eager", "compiled"}
    assert {p.trunk for p in grid(CPU, quick=True)} == {PAPER.trunk}
    assert PAPER in grid(CPU, quick=True)


def test_a_quick_grid_on_a_gpu_is_two_networks_as_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workloads, "pick_precision", lambda *_: "bf16")
    quick = grid(CUDA, quick=True)
    assert quick == [
        replace(workload, precision="bf16", mode=mode)
        for mode in ("graph", "graph, compiled")
        for workload in (PAPER, COLOUR)
    ]
    assert list(suite._cases(quick[0], quick=True, on_gpu=True)) == ["gan", "infogan", RECIPE]
    assert list(suite._cases(quick[1], quick=True, on_gpu=True)) == ["gan", "infogan"]
    assert list(suite._cases(PAPER, quick=True, on_gpu=False)) == ["gan", "infogan"]


@pytest.mark.parametrize(
    ("mode", "graph", "compiled"),
    [
        ("eager", "off", False),
        ("compiled", "off", True),
        ("graph", "on", False),
        ("graph, compiled", "on", True),
    ],
)
def test_a_mode_is_whether_a_step_is_captured_and_compiled(mode: str, graph: str, compiled: bool) -> None:
    training = replace(PAPER, mode=mode).config("infogan", {}, CPU).training
    assert (training.cuda_graph, training.compile) == (graph, compiled)


@pytest.mark.parametrize("workload", [PAPER, Workload("dcgan", 64, 8, "fp32")])
def test_both_cases_have_the_same_generator_trunk_and_optimizer(workload: Workload) -> None:
    plain, info = (workload.config(model, {**own, **NARROW}, CPU) for model, own in CASES.values())
    for part in ("trunk", "loss", "optimizer", "training", "data"):
        assert getattr(plain, part) == getattr(info, part)
    sizes = [
        {n: p.shape for n, p in Running(config).iterations.state.model.named_parameters() if not n.startswith("q.")}
        for config in (plain, info)
    ]
    assert sizes[0] == sizes[1]
    assert info.infogan.consistency == 0


@pytest.mark.usefixtures("narrow")
def test_a_quick_report_holds_paired_samples_of_both_and_their_facts(capsys: pytest.CaptureFixture[str]) -> None:
    report = step(CPU, quick=True, chosen={"precision": ("fp32",)}, batches=(4,), seconds=0.01)
    assert capsys.readouterr().err == "infogan-mnist · 28 · 4 · fp32 · eager\n"
    (cell,) = report.cells
    assert cell.key == {"trunk": "infogan-mnist", "resolution": 28, "batch": 4, "precision": "fp32", "mode": "eager"}
    assert list(cell.cases) == ["gan", "infogan"]
    plain, info = cell.cases.values()
    assert len(plain.seconds) == len(info.seconds) >= 5
    assert plain.facts["images"] == info.facts["images"] == 4
    assert 1 < info.facts["flops"] / plain.facts["flops"] < 1.5  # the head is large beside so narrow a trunk
    assert 0 <= plain.facts["waiting"] < 1
    assert not {"kernels", "busy", "host_seconds"} & plain.facts.keys()
    assert report.rates == {"matmul/fp32": 1e9, "copy": 1e9}
    assert any("No CUDA device" in note for note in report.notes)
    assert Report.model_validate_json(report.model_dump_json()) == report


@pytest.mark.usefixtures("narrow")
def test_the_full_grid_adds_the_variants_to_the_paper_s_network_and_doubles_the_batch_while_that_gains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[tuple[int, list[str]]] = []
    rate = {128: 100.0, 256: 150.0, 512: 151.0}

    def cell(workload: Workload, cases: workloads.Cases, *_: object, **__: object) -> Cell:
        taken.append((workload.batch, list(cases)))
        return Cell(key=workload.key, cases={"gan": Samples(seconds=(workload.batch / rate[workload.batch],))})

    monkeypatch.setattr(suite, "cell", cell)
    step(CPU, chosen={"trunk": ("infogan-mnist",), "precision": ("fp32",), "mode": ("eager",)})
    assert [batch for batch, _ in taken] == [128, 256, 512]
    assert taken[0][1] == [*CASES, *VARIANTS]
    assert taken[1][1] == taken[2][1] == list(CASES)


@pytest.mark.usefixtures("narrow")
def test_when_the_time_is_used_up_no_cell_is_begun_and_each_report_on_the_way_is_handed_over() -> None:
    kept: list[Report] = []
    chosen = {"trunk": ("dcgan",), "precision": ("fp32",), "mode": ("eager",)}
    report = step(CPU, chosen=chosen, minutes=0.0, keep=kept.append)
    assert report.cells == ()
    both = "dcgan · 32 · 64 · fp32 · eager; dcgan · 64 · 32 · fp32 · eager"
    assert report.notes[-1] == f"Not begun within 0 minutes: {both}."
    assert kept == [report]


@pytest.mark.usefixtures("narrow")
def test_a_graph_that_could_not_be_captured_is_not_told_as_one() -> None:
    found = suite.cell(Workload("dcgan", 32, 4, "fp32", "graph"), {"gan": suite.CASES["gan"]}, CPU, seconds=0.0)
    assert found.cases == {}
    assert found.missing == {"gan": "no CUDA graph: the device is cpu"}


@pytest.mark.usefixtures("narrow")
def test_consistency_of_a_third_of_the_batch_costs_a_third_of_the_whole_batch_s() -> None:
    names = ("infogan", "infogan, consistency", "infogan, consistency of a third")
    none, whole, third = (
        Running(replace(PAPER, batch=12).config(*VARIANTS.get(n, CASES["infogan"]), CPU)).flops for n in names
    )
    assert 1.2 < whole / none < 1.4
    assert third - none == pytest.approx((whole - none) * 5 / 12, rel=0.02)  # 5 of 12 images


@pytest.mark.usefixtures("narrow")
def test_short_steps_are_timed_several_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Running(replace(PAPER, batch=2).config(*suite.CASES["gan"], CPU))
    monkeypatch.setattr(suite, "BLOCK", 1e-9)
    before = case.iterations.state.step
    one = suite.timed({"a": case}, CPU, seconds=0.0)["a"]
    single, before = case.iterations.state.step - before, case.iterations.state.step
    monkeypatch.setattr(suite, "BLOCK", 20 * one.time.median)
    several = suite.timed({"a": case}, CPU, seconds=0.0)["a"]
    assert len(one.seconds) == len(several.seconds) == 6
    assert single == 7  # one to see how long it takes
    assert case.iterations.state.step - before > 5 * single
    assert several.time.median < 5 * one.time.median  # per step


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory"),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling"), "out of memory"),
        (MemoryError(), "out of memory"),
        (RuntimeError("a bug"), "RuntimeError: a bug"),
    ],
)
def test_a_cell_without_room_is_told_and_the_rest_goes_on(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = suite.timed

    def timed(running: dict[str, Running], *args: object, **keywords: object) -> object:
        if running["gan"].iterations.config.training.batch_size == 8:
            raise error
        return real(running, *args, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(suite, "timed", timed)
    report = step(CPU, quick=True, chosen={"precision": ("fp32",)}, batches=(8, 4), seconds=0.01)
    assert [cell.missing for cell in report.cells] == [{"": told}, {}]
    assert report.cells[1].cases


@pytest.mark.usefixtures("narrow")
def test_a_case_that_fails_is_told_and_the_others_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Running.steps

    def steps(self: Running, count: int) -> None:
        if self.iterations.config.model == "infogan":
            raise RuntimeError("no compiler found\nand more")
        real(self, count)

    monkeypatch.setattr(Running, "steps", steps)
    (cell,) = step(CPU, quick=True, chosen={"precision": ("fp32",)}, batches=(4,), seconds=0.01).cells
    assert list(cell.cases) == ["gan"]
    assert cell.missing == {"infogan": "RuntimeError: no compiler found"}


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"chosen": {"trunk": ("resnett",)}}, "unknown trunk of this grid 'resnett'"),
        ({"chosen": {"mode": ("graph",)}}, "unknown mode of this grid 'graph'"),
        ({"batches": (1,)}, "at least 2"),
        ({"seconds": 0.0}, "greater than 0"),
    ],
)
def test_a_choice_that_leaves_nothing_is_refused(choice: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as error:
        step(CPU, **choice)  # type: ignore[arg-type]
    assert words in one_line(error)


@pytest.mark.gpu
@pytest.mark.usefixtures("narrow")
def test_on_a_gpu_peak_memory_is_told_and_every_mode_runs() -> None:
    report = step(
        CUDA, chosen={"trunk": ("dcgan",), "resolution": ("32",), "precision": ("bf16",)}, batches=(8,), seconds=0.1
    )
    assert {cell.key["mode"] for cell in report.cells} == set(MODES)
    for cell in report.cells:
        for samples in cell.cases.values():
            assert samples.facts.get("peak_bytes", 0) > 0 or "graph" in str(cell.key["mode"])
            assert samples.facts["kernels"] > 50
            assert 0 < samples.facts["busy"] <= 1
            assert 0 < samples.facts["host_seconds"] < 1
        if cell.key["mode"] == "graph":
            counts = {cell.cases[name].facts["kernels"] for name in ("gan", "infogan")}
            assert len(counts) == 2
    assert not any(cell.missing for cell in report.cells)
