"""The list of runs: each state, the best figures, and folders that are no runs."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from commandline import zoo
from narrow import narrow_train, spoil_loss

from gan_zoo.analysis.results import Measurement
from gan_zoo.analysis.survey import standing, survey
from gan_zoo.errors import TrainingError, quoted
from gan_zoo.training import checkpoint
from gan_zoo.training.lock import LOCK, is_locked, locked


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return narrow_train("infogan", tmp_path_factory.mktemp("trained") / "run", training__steps=3).folder


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    """Runs in every state that a process leaves behind."""
    for name in ("done", "interrupted", "failed", "no-tree", "no-weights"):
        shutil.copytree(trained, tmp_path / name)
    tree = tmp_path / "interrupted" / "config.toml"
    tree.write_text(tree.read_text().replace("steps = 3\n", "steps = 7\n"))
    shutil.rmtree(tmp_path / "failed" / "checkpoints")
    (tmp_path / "no-tree" / "config.toml").write_text("model = [")
    (tmp_path / "no-weights" / "checkpoints" / "step-00000003" / "model.safetensors").write_bytes(b"")
    (tmp_path / "no-run").mkdir()
    (tmp_path / "notes.txt").write_text("")
    return tmp_path


def test_every_state_is_told(runs: Path) -> None:
    found = {Path(one.run).name: one for one in survey([runs])}
    assert {name: one.state for name, one in found.items()} == {
        "done": "done",
        "interrupted": "interrupted",
        "failed": "failed",
        "no-tree": "damaged",
        "no-weights": "damaged",
    }
    assert (found["interrupted"].step, found["interrupted"].steps) == (3, 7)
    assert "not readable as TOML" in found["no-tree"].why
    assert "model.safetensors" in found["no-weights"].why


def test_listing_reads_no_weights_and_tells_what_their_lengths_tell(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = checkpoint.digest

    def digest(path: Path) -> str:
        read.append(path.name)
        return real(path)

    monkeypatch.setattr(checkpoint, "digest", digest)
    weights = runs / "interrupted/checkpoints/step-00000003/optimizer.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    weights = runs / "done/checkpoints/step-00000003/ema.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    found = {Path(one.run).name: one for one in survey([runs])}
    assert set(read) == {"state.json"}
    assert found["interrupted"].state == "interrupted"
    assert (found["done"].state, "ema.safetensors has changed since it was written" in found["done"].why) == (
        "damaged",
        True,
    )


def test_an_error_that_ended_a_run_is_told_until_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"training__steps": 4, "logging__checkpoint_every": 2}
    with monkeypatch.context() as patch:
        spoil_loss(patch, steps=[3])
        with pytest.raises(TrainingError) as error:
            narrow_train("gan", tmp_path / "run", **settings)
    found = standing(tmp_path / "run")
    assert (found.state, found.step) == ("failed", 2)
    assert found.why == quoted(error.value, 300)
    narrow_train("gan", tmp_path / "run", resume=True, **settings)
    assert (standing(tmp_path / "run").state, standing(tmp_path / "run").why) == ("done", "")


def test_a_run_whose_lock_is_locked_is_running_and_asking_leaves_it_alone(runs: Path) -> None:
    folder = runs / "interrupted"
    assert not is_locked(folder)
    with locked(folder):
        assert is_locked(folder)
        assert standing(folder).state == "running"
        assert is_locked(folder)
    assert standing(folder).state == "interrupted"
    with locked(folder):
        pass


def test_asking_follows_no_link_and_makes_no_file(runs: Path) -> None:
    folder, other = runs / "done", runs / "notes.txt"
    other.write_text("kept")
    (folder / LOCK).unlink(missing_ok=True)
    assert not is_locked(folder)
    assert not (folder / LOCK).exists()
    (folder / LOCK).symlink_to(other)
    assert not is_locked(folder)
    assert other.read_text() == "kept"


def _measured(step: int, **metrics: Any) -> str:
    measurements = [Measurement(name, numbers, step, "a", n=10, seed=0) for name, numbers in metrics.items()]
    return json.dumps({"measurements": [asdict(one) for one in measurements]})


def test_the_best_figures_of_several_evaluations_are_told(runs: Path) -> None:
    folder = runs / "done"
    first = _measured(1, clustering={"accuracy": 0.9}, fidelity={"frechet": 5.0})
    (folder / "evaluation-step-00000001.json").write_text(first)
    (folder / "evaluation.json").write_text(_measured(3, clustering={"accuracy": 0.8}, fidelity={"frechet": 4.0}))
    (folder / "evaluation-damaged.json").write_text(_measured(2, clustering={"accuracy": math.nan}))
    best = standing(folder).best
    assert best["clustering/accuracy"] == {"value": 0.9, "step": 1}
    assert best["fidelity/frechet"] == {"value": 4.0, "step": 3}
    logged = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert best["log/mi"]["value"] == max(record["mi/c1"] for record in logged)


@pytest.mark.parametrize("bound", ["NaN", "Infinity", "1e999", "true"])
def test_a_bound_that_is_no_number_is_passed_over(bound: str, runs: Path) -> None:
    with (runs / "done" / "metrics.jsonl").open("a") as file:
        file.write(f'{{"step": 4, "mi": {bound}}}\n')
    assert math.isfinite(standing(runs / "done").best["log/mi"]["value"])
    assert zoo("runs", runs).code == 0
    assert json.loads(zoo("runs", runs, "--json").out)


def test_the_command_prints_a_table_or_json(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = zoo("runs", runs, "--json")
    assert ended.code == 0
    told = {Path(one["run"]).name: one for one in json.loads(ended.out)}
    assert told["done"]["state"] == "done"
    assert told["done"]["model"] == "infogan"
    shutil.move(runs, runs.with_name("runs"))
    monkeypatch.chdir(runs.parent)
    ended = zoo("runs")
    assert ended.code == 0, ended.err
    assert ended.out == zoo("runs", "runs").out
    for word in ("interrupted", "failed", "damaged", "L_I", "runs/no-tree: ", "not readable as TOML"):
        assert word in ended.out
    assert "no-run" not in ended.out
    (runs.parent / "empty").mkdir()
    assert zoo("runs", "empty").out == "no runs in empty\n"
