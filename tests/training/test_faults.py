"""NaN and infinity: what stops a run and what is skipped; and the memory of long runs."""

from __future__ import annotations

import gc
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from gan_zoo_kernels import Layout, q_head_nll
from narrow import Game, around_steps, narrow_config, narrow_train, one_line, spoil_loss, weights
from soak import SOAK

from gan_zoo import api
from gan_zoo.data.dataset import open_dataset
from gan_zoo.errors import TrainingError
from gan_zoo.training.build import new_state
from gan_zoo.training.checkpoint import checkpoints, read_state
from gan_zoo.training.faults import MIN_LOSS_SCALE
from gan_zoo.training.iterations import Iterations
from gan_zoo.training.state import State

CPU = torch.device("cpu")
EVERYTHING: dict[str, dict[str, Any]] = {
    "gan": {"loss__gradient_penalty": 1.0, "loss__r1": 1.0, "loss__r2": 1.0},
    "acgan": {},
    "infogan": {
        "infogan__codes": "categorical:4, uniform:1",
        "infogan__prior": "learned",
        "infogan__consistency": 1.0,
        "data__warp": "shift:0.1",
        "infogan__variance": "learned",
    },
    "infogan-cr": {},
}


TERMS = {  # of the discriminator and of the generator
    "gan": ("adversarial gradient_penalty r1 r2", "adversarial"),
    "acgan": ("adversarial class", "adversarial class"),
    "infogan": ("adversarial consistency information", "adversarial information prior"),
    "infogan-cr": ("adversarial contrast information", "adversarial contrast information"),
}


def terms_of(model: str) -> list[str]:
    players = zip(("discriminator", "generator"), TERMS[model], strict=True)
    return [f"{player}/{term}" for player, terms in players for term in terms.split()]


@pytest.mark.parametrize("model", TERMS)
def test_these_are_all_terms(model: str) -> None:
    game = Game(model, **EVERYTHING[model])
    assert sorted({name for objective in game.step() for name in objective.terms}) == terms_of(model)


@pytest.mark.parametrize(
    ("model", "term", "value"),
    [
        (model, term, value)
        for model in TERMS
        for k, term in enumerate(terms_of(model))
        for value in ((math.nan, math.inf) if model == "gan" else (math.nan, math.inf)[k % 2 :][:1])
    ],
)
def test_a_term_that_is_not_finite_ends_the_run_by_name(
    model: str, term: str, value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoiling(play: Any, state: State) -> Any:
        objectives = play()
        for objective in objectives:
            if term in objective.terms and state.step == 2:
                objective.terms[term] = objective.terms[term].detach() * 0 + value
        return objectives

    around_steps(monkeypatch, spoiling)
    settings = {"training__steps": 5, "logging__checkpoint_every": 2, "logging__log_every": 50}
    with pytest.raises(TrainingError) as error:
        narrow_train(model, tmp_path, **settings, **EVERYTHING[model])
    good = tmp_path / "checkpoints/step-00000002"
    assert one_line(error) == f"{term} was not finite at step 3; the last good checkpoint is {good}"


class Spoiled:
    """Steps of a narrow model that leave faulty steps out; a fault can be put into each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        config = narrow_config("infogan", training__on_nan="skip", trunk__name="infogan-mnist", **settings)
        self.state = new_state(config, CPU)
        self.iterations = Iterations(self.state, open_dataset(config.data).train)
        self.monkeypatch = monkeypatch

    def everything(self) -> dict[str, torch.Tensor]:
        held = {**self.state.model.state_dict(), **self.state._moments()}
        return {name: value.clone() for name, value in held.items()}

    def step(self, player: str = "", fault: str = "") -> set[str]:
        """Make a step, with a fault in the loss or in the gradient of a player; returns what moved."""
        before = self.everything()
        with self.monkeypatch.context() as patch:
            if fault == "loss":
                spoil_loss(patch, player)
            if fault == "gradient":
                parameter = next(iter(self.state.optimizers[player].parameters.values()))
                parameter = self.iterations.half_weights.copies.get(parameter, parameter)  # where gradients arrive
                hook = parameter.register_hook(lambda gradient: gradient * math.inf)
            next(self.iterations)
            if fault == "gradient":
                hook.remove()
        after = self.everything()
        return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("fault", ["loss", "gradient"])
@pytest.mark.parametrize("player", ["discriminator", "generator"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_faulty_step_moves_neither_the_player_nor_the_statistics(
    fault: str, player: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Spoiled(monkeypatch, training__precision=precision)
    assert steps.step()
    assert steps.step()
    moved = steps.step(player, fault)
    other = {"discriminator": "generator", "generator": "discriminator"}[player]
    assert moved  # by the other player
    assert not [name for name in moved if "running" in name]
    assert not [name for name in moved if name.startswith(f"{player}/")]
    assert {name.split("/")[0] for name in moved if "/" in name} == {other}
    assert int(steps.state.skipped) == 1
    assert any("running" in name for name in steps.step())
    assert all(value.isfinite().all() for value in steps.everything().values())
    assert int(steps.state.skipped) == 1


@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_in_fp16_a_faulty_loss_is_left_out_by_the_scaler(player: str, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Spoiled(monkeypatch, training__precision="fp16")
    scaler = steps.state.precision.scaler
    for _ in range(20):  # after which the scale fits
        steps.step()
    assert int(steps.state.skipped) == 0
    scale = scaler.get_scale()
    assert f"{player}/" in {name[: len(player) + 1] for name in steps.step()}
    moved = steps.step(player, "loss")
    assert not [name for name in moved if "running" in name or name.startswith(f"{player}/")]
    assert int(steps.state.skipped) == 1
    assert scaler.get_scale() == scale  # the gradients were not too large
    assert all(value.isfinite().all() for value in steps.everything().values())


def test_a_step_without_a_fault_is_the_same_whether_faults_are_left_out_or_not(tmp_path: Path) -> None:
    stopping = narrow_train("infogan", tmp_path / "a", training__steps=5)
    skipping = narrow_train("infogan", tmp_path / "b", training__steps=5, training__on_nan="skip")
    a, b = (weights(run.load()) for run in (stopping, skipping))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert skipping.metrics()[-1]["skipped"] == 0
    assert {"gradient_norm/discriminator", "gradient_norm/generator"} <= skipping.metrics()[-1].keys()


def test_faulty_steps_are_left_out_told_and_counted_over_a_resumed_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil_loss(monkeypatch, steps={2, 3, 8})
    settings = {"training__on_nan": "skip", "logging__log_every": 5, "logging__checkpoint_every": 5}
    run = narrow_train("gan", tmp_path, training__steps=5, **settings)
    api.train(None, {}, out=tmp_path, resume=True, **{"training.steps": 12})
    assert "discriminator/adversarial was not finite at step 9; steps skipped so far: 3" in capsys.readouterr().out
    assert [(line["step"], line["skipped"]) for line in run.metrics()] == [(5, 2), (10, 3), (12, 3)]
    assert all(math.isfinite(value) for line in run.metrics() for value in line.values())
    assert [read_state(path)["skipped"] for path in checkpoints(run.checkpoints)] == [3, 3]


@pytest.mark.parametrize(("precision", "most"), [("fp32", 3), ("fp16", 50)])
def test_too_many_faulty_steps_end_the_run(
    precision: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_loss(monkeypatch, steps=range(3, 99))
    settings = {"training__on_nan": "skip", "training__max_skipped": most, "training__precision": precision}
    with pytest.raises(TrainingError) as error:
        narrow_train("gan", tmp_path, training__steps=90, **settings)
    assert one_line(error).startswith(f"{most + 1} steps were skipped, more than training.max_skipped = {most}; ")
    assert str(error.value).endswith(f"was not finite at step {most + 4}; there is no earlier checkpoint")


def test_moments_that_overflow_are_not_kept_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def large(play: Any, state: State) -> Any:
        parameter = next(iter(state.model.generator.parameters()))
        hook = parameter.register_hook(lambda gradient: gradient * 0 + 1e25)
        objectives = play()
        hook.remove()
        return objectives

    around_steps(monkeypatch, large)
    with pytest.raises(TrainingError, match=r"generator/generator\..*/exp_avg_sq was not finite at step 2"):
        narrow_train("gan", tmp_path, training__steps=2)


def test_fp16_recovers_from_a_scale_that_is_far_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exaggerated(play: Any, state: State) -> Any:
        if state.step == 1:
            state.precision.scaler.update(2.0**40)
        return play()

    around_steps(monkeypatch, exaggerated)
    run = narrow_train("infogan", tmp_path, training__steps=50, training__precision="fp16")
    scales = [line["loss_scale"] for line in run.metrics()]
    assert scales[1] > 2.0**35
    assert scales[-1] < 2.0**24
    assert scales[-1] == scales[-2]
    before = weights(api.create("infogan", {}, **{"data.name": "mnist-5k", "trunk.width": 4, "latent.noise": 6}))
    after = weights(run.load())
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_fp16_gradients_that_fit_no_scale_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hopeless(play: Any, state: State) -> Any:
        parameter = next(iter(state.model.generator.parameters()))
        hook = parameter.register_hook(lambda gradient: gradient * math.inf)
        objectives = play()
        hook.remove()
        return objectives

    around_steps(monkeypatch, hopeless)
    with pytest.raises(TrainingError, match="fp16: gradients are not finite even with a loss scale of") as error:
        narrow_train("gan", tmp_path, training__steps=60, training__precision="fp16")
    assert one_line(error)
    steps = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    assert steps == 16 - math.log2(MIN_LOSS_SCALE)


def test_the_gaussian_term_cannot_run_to_minus_infinity() -> None:
    """Means that are the targets, and a variance that is driven to zero: the bound on it holds the term."""
    layout = Layout("gaussian:2", log_var_min=-8.0, log_var_max=4.0)
    targets = torch.linspace(-1, 1, 64)[:, None]
    parameters = torch.cat([targets, torch.zeros(64, 1)], 1).requires_grad_()
    optimizer = torch.optim.Adam([parameters], lr=1.0)
    for _ in range(300):
        nll = q_head_nll(parameters, targets, layout).sum()
        optimizer.zero_grad()
        nll.backward()
        optimizer.step()
        assert parameters.grad is not None
        assert parameters.grad.isfinite().all()
    floor = 0.5 * (math.log(2 * math.pi) - 8.0)
    assert nll.item() == pytest.approx(floor, abs=1e-3)
    assert nll.item() >= floor - 1e-5


def test_a_run_that_is_driven_there_stays_within_the_bound(tmp_path: Path) -> None:
    run = narrow_train(
        "infogan",
        tmp_path,
        training__steps=60,
        infogan__codes="uniform:1",
        infogan__variance="learned",
        infogan__lambda_continuous=1000.0,
        optimizer__discriminator_lr=0.05,
        optimizer__generator_lr=0.05,
    )
    most = math.log(2.0) - 0.5 * (math.log(2 * math.pi) - 8.0)
    assert all(line["mi"] <= most + 1e-4 for line in run.metrics())
    assert all(math.isfinite(value) for line in run.metrics() for value in line.values())


def resident() -> float:
    """MiB of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc")
def test_a_long_run_holds_no_more_memory_than_a_short_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 1200 * SOAK if SOAK > 1 else 144
    held: list[tuple[float, int, int]] = []

    def watched(play: Any, state: State) -> Any:
        if state.step % (steps // 24) == 0:
            gc.collect()
            held.append((resident(), len(gc.get_objects()), len(os.listdir("/proc/self/fd"))))
        return play()

    around_steps(monkeypatch, watched)
    often = {"logging__log_every": 10, "logging__checkpoint_every": 60, "logging__sample_every": 100}
    small = {"trunk__width": 1, "training__batch_size": 2, "training__on_nan": "skip"}
    narrow_train("gan", tmp_path, training__steps=steps, **often, **small)
    memory, objects, files = zip(*held, strict=True)
    print(f"{steps} steps: {memory[6]:.1f} MiB after a quarter, {memory[-1]:.1f} at the end")
    assert max(memory[-6:]) - max(memory[6:12]) < 4
    assert objects[-1] - objects[6] < 1500  # the progress bar keeps the last thousand of its speeds
    assert files[-1] == files[6]
