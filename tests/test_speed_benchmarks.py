"""The ways of playing a step that others have, the page of reports, and the ablation: small."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parent / "bench"))
import ablation
import baselines
import naive
import q_accuracy
import render
import targets
import whole_run
from made import kernel_report, samples, step_report
from waits import Waits

from gan_zoo.bench.record import Cell
from gan_zoo.bench.step import PAPER, Running

CPU = torch.device("cpu")


def work(order: Any = None, **settings: Any) -> Running:
    return Running(replace(PAPER, batch=4).config("infogan", settings, CPU), order=order)


def test_a_third_pass_is_most_of_a_step_more() -> None:
    ours, third = work(), work(baselines.ThreePasses)
    assert third.flops / ours.flops == pytest.approx(63.55 / 36.85, abs=0.02)


@pytest.mark.parametrize("order", [baselines.ThreePasses, lambda state: baselines.ThrownAway()])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_way_of_playing_a_step_trains_every_weight_and_its_copy(order: Any, precision: str) -> None:
    case = work(order, **{"training.precision": precision})
    model, copies = case.iterations.state.model, case.iterations.half_weights.copies
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    case.steps(1)
    assert {n for n, p in model.named_parameters() if not torch.equal(p, before[n])} == before.keys()
    assert bool(copies) == (precision == "bf16")
    assert all(torch.equal(copy, weight.bfloat16()) and copy.grad is None for weight, copy in copies.items())


def test_gradients_that_are_thrown_away_are_computed_and_leave_the_step_as_it_is() -> None:
    ours, thrown = work(), work(lambda state: baselines.ThrownAway())
    assert thrown.flops > 1.08 * ours.flops
    for case in (ours, thrown):
        case.steps(1)
    for a, b in zip(ours.iterations.state.model.parameters(), thrown.iterations.state.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_the_step_that_waits_reads_numbers_and_draws_latents_as_the_prior_does() -> None:
    case = work(lambda state: baselines.Waiting())
    with Waits() as waits:
        case.steps(1)
    assert len(waits.found) >= 5
    prior = case.iterations.state.model.prior
    drawn = baselines.Waiting().draw(case.iterations.state, prior.sample(500, seed=0))
    assert drawn.input.shape == (500, prior.width)
    assert drawn.codes[:, 0].unique().tolist() == list(range(10))
    assert drawn.codes[:, 1:].abs().max() <= 1


def test_the_naive_loop_trains_all_three_networks_on_the_same_images() -> None:
    config = replace(PAPER, batch=4).config("infogan", {}, CPU)
    case = naive.Naive(config)
    ours = Running(config).iterations.state.model
    assert [p.shape for p in case.model.parameters()] == [p.shape for p in ours.parameters()]
    assert case.flops > 1.5 * work().flops  # three passes
    before = {n: p.detach().clone() for n, p in case.model.named_parameters()}
    made = len(case.losses)
    case.steps(2)
    assert len(case.losses) == made + 2
    assert not [n for n, p in case.model.named_parameters() if torch.equal(p, before[n])]
    latents, classes, continuous = case.latents()
    assert torch.equal(latents[:, 62:72].argmax(1), classes) and torch.equal(latents[:, 72:], continuous)


def test_all_cases_take_turns_at_one_place() -> None:
    cell = baselines.measure(replace(PAPER, batch=2), CPU, seconds=0)
    others = ["three passes", "gradients thrown away", "waiting at every step", "naive"]
    assert list(cell.cases) == ["gan", "infogan", *others]
    assert len({len(samples.seconds) for samples in cell.cases.values()}) == 1


def test_the_page_holds_a_section_for_each_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results").mkdir()
    template = [f"<!-- {kind} -->\n" for kind in render.KINDS]
    (tmp_path / "README.template.md").write_text("\n".join(["# Page\n", *template]))
    shares = {"fp32": {"aten::mm": 0.75, "all others": 0.25}, "bf16": {"aten::copy_": 0.5, "all others": 0.5}}
    profile = {"shares": shares, "environment": {"device": "a card"}}
    (tmp_path / "results" / "profile-card.json").write_text(json.dumps(profile))
    step_report().write(tmp_path / "results" / "step-card.json")
    kernel_report().write(tmp_path / "results" / "kernels-card.json")
    (tmp_path / "results" / "kernels-compiled.json").write_text("{}")
    monkeypatch.setattr(render, "HERE", tmp_path)
    monkeypatch.setattr(render, "RESULTS", tmp_path / "results")
    render.main()
    page = (tmp_path / "README.md").read_text()
    assert page.count("### a card") == 3
    assert "| `aten::mm` | 75.0% |  |" in page
    assert "<!--" not in page
    assert (tmp_path / "results" / "step.png").exists()


def test_targets_say_what_is_missed() -> None:
    key: dict[str, str | int] = {
        "trunk": "infogan-mnist",
        "resolution": 28,
        "batch": 128,
        "precision": "fp32",
        "mode": "eager",
    }
    lazy = "infogan, consistency of a third"
    cases = {
        "gan": samples(1.0, flops=4e9),
        "infogan": samples(1.02, flops=4.1e9),
        "infogan, simultaneous": samples(0.9),
        lazy: samples(1.2),
    }
    step = step_report(cells=(Cell(key=key, cases=cases),), rates={"matmul/fp32": 4.5e9, "copy": 1.0})
    others = step_report(cells=(Cell(key=key, cases={"infogan": samples(1.0), "three passes": samples(1.5)}),))
    run = {
        "steps": 500,
        "share outside steps": 0.03,
        "seconds to the first step": 5.0,
        "seconds from the first step on": 400.0,
    }
    told = {row[0]: row[3:] for row in targets.rows(step, others, run)}
    assert told["images/s, InfoGAN ÷ GAN"] == ("0.980 [0.980, 0.980]", "reached")
    assert told["FLOPs, InfoGAN ÷ GAN"] == ("1.025", "reached")
    assert told["of the matrix-product rate"] == ("0.893 [0.893, 0.893]", "reached")
    assert told["time, with ÷ without consistency of a third"][1] == "**missed**"
    assert told["images/s, simultaneous ÷ alternating"] == ("1.13 [1.13, 1.13]", "")
    assert told["images/s, InfoGAN ÷ three passes"] == ("1.50 [1.50, 1.50]", "**missed**")
    assert told["logging, pictures, checkpoints"] == ("3.00%", "**missed**")
    assert told["from the command to the first step"] == ("5.0 s", "reached")
    assert told["the whole run"] == ("6.8 min", "**missed**")


def test_the_page_that_is_kept_is_the_one_that_its_reports_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = render.HERE / "README.md"
    if not kept.exists():
        pytest.skip("nothing was measured yet")
    assert kept.read_text() == render.page()


def test_the_schema_that_is_kept_is_the_report_s() -> None:
    assert (render.HERE / "report.schema.json").read_text() == render.schema()


def test_an_ablation_tells_each_lever_s_difference_seed_by_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.json"
    monkeypatch.setattr(ablation, "SHARED", {"trunk.width": 4, "training.batch_size": 8, "training.steps": 1})
    monkeypatch.setattr(q_accuracy, "METRICS", ("clustering", "information"))
    arguments = ["a", "--levers", "base", "no elastic warps", "--seeds", "0", "--runs", str(tmp_path / "runs")]
    monkeypatch.setattr(sys, "argv", [*arguments, "--out", str(out)])
    ablation.main()
    told = json.loads(out.read_text())
    assert list(told["summary"]) == ["base", "no elastic warps"]
    assert told["summary"]["base"]["to base"] == 0
    assert told["summary"]["base"]["test"]["worst"] == told["runs"]["base"][0]["test"]
    base = [{"seed": 0, "test": 0.9}, {"seed": 1, "test": 0.5}]
    assert ablation.difference([{"seed": 1, "test": 0.7}, {"seed": 2, "test": 0}], base) == pytest.approx(0.2)


def test_the_time_of_steps_is_read_from_the_metrics() -> None:
    lines = [{"step": 50, "images_per_second": 100.0}, {"step": 75, "images_per_second": 500.0}]
    assert whole_run.seconds_of_steps(lines, 10) == [5.0, 0.5]


@pytest.mark.slow
def test_a_whole_run_is_timed_and_measured(tmp_path: Path) -> None:
    settings = ["--steps", "6", "--log-every", "2", "--trunk.width", "4", "--batch-size", "8"]
    report = whole_run.timed(tmp_path / "run", "cpu", settings)
    assert "Q names" not in render.run(report)  # what is kept where time ends before accuracy is measured
    report["accuracy"] = whole_run.accuracy(tmp_path / "run", "cpu")["accuracy"]
    assert report["steps"] == 6 and 0 <= report["accuracy"] <= 1
    assert (
        0
        < report["seconds of steps"]
        < report["seconds from the first step on"]
        < report["seconds from command to end"]
    )
    assert report["images/s"] == pytest.approx(48 / report["seconds of steps"])
    assert f"{report['accuracy']:.1%} of the held-back digits" in render.run(report)
