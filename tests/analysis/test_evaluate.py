"""`gan-zoo evaluate`: metrics by name, metrics that are skipped, summaries of several runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commandline import zoo
from measured import write_striped
from narrow import narrow_train, one_line

from gan_zoo.analysis import metrics as module
from gan_zoo.analysis.clustering import scores
from gan_zoo.analysis.evaluate import evaluate, summary
from gan_zoo.analysis.metrics import METRICS, Metric, Outcome
from gan_zoo.analysis.result_tables import evaluation_table, remarks
from gan_zoo.errors import InputError
from gan_zoo.training.run import find, load

EVERY = {"clustering", "information", "fidelity", "coverage"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of several models and seeds on a labelled set, and one on a set without labels."""
    place = tmp_path_factory.mktemp("place")
    data, bare = write_striped(place / "set.npz", test=40), write_striped(place / "bare.npz", labels=False, test=0)
    settings = {"steps": 2, "trunk__name": "mlp", "trunk__discriminator_norm": "none", "logging__checkpoint_every": 1}
    for name, codes in (("run", "categorical:3, uniform:1"), ("more", "categorical:2, categorical:4, categorical:3")):
        narrow_train("infogan", place / name, infogan__codes=codes, data=str(data), **settings)
    narrow_train("infogan", place / "other", infogan__codes="categorical:3", data=str(data), seed=1, **settings)
    narrow_train("gan", place / "plain", data=str(data), **settings)
    narrow_train("infogan", place / "bare", infogan__codes="categorical:3", data=str(bare), **settings)
    return place


def test_a_run_is_measured_by_everything(place: Path) -> None:
    (told,) = evaluate([place / "run"], n=50)
    assert told["metrics"].keys() >= EVERY
    assert not told["skipped"].keys() & EVERY
    assert told["metrics"]["information"]["c1/entropy"] == pytest.approx(1.0986, abs=1e-4)
    assert told["metrics"]["coverage"]["classes"] == 3
    assert told["metrics"]["fidelity"]["frechet"] > told["metrics"]["fidelity"]["frechet/floor"] > 0
    assert 0 < told["metrics"]["clustering"]["accuracy"] <= 1
    assert (told["model"], told["step"], told["checkpoint"]) == ("infogan", 2, "step-00000002")
    assert (told["run"], told["n"], told["seed"]) == (str(place / "run"), 50, 0)
    assert told["images"] == {"train": 60, "test": 40}
    assert told["config"]["data"]["name"] == str(place / "set.npz")
    assert told["environment"]["packages"]["torch"]
    for name in told["metrics"]:
        if name in EVERY:
            assert told["notes"][name]
    json.dumps(told, allow_nan=False)


def test_data_that_no_metric_needs_are_not_opened(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_zoo.analysis.evaluate.open_training_data", lambda run: pytest.fail("opened"))
    (result,) = evaluate([place / "run"], ["information"], n=20)
    assert result["metrics"].keys() == {"information"}
    assert result["images"] == {}


def test_the_same_seed_gives_the_same_numbers_and_another_others(place: Path) -> None:
    names = ["information", "fidelity"]
    first, again, other = (evaluate([place / "run"], names, n=20, seed=s)[0]["metrics"] for s in (0, 0, 1))
    assert first == again
    assert first["information"]["c1"] != other["information"]["c1"]
    assert first["fidelity"]["frechet"] != other["fidelity"]["frechet"]


def test_the_assignment_of_clustering_is_fitted_on_the_training_split(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(module, "scores", lambda *args: (asked.append(args), scores(*args))[1])
    (told,) = evaluate([place / "run"], ["clustering"])
    assert {(len(fitted.groups), len(found.groups)) for fitted, found, *_ in asked} == {(60, 40), (60, 60)}
    assert "training split" in told["notes"]["clustering"]
    assert "test split" in told["notes"]["clustering"]


def test_codes_of_enough_values_are_told_and_the_best_named(place: Path) -> None:
    (told,) = evaluate([place / "more"], ["clustering"])
    numbers, note = told["metrics"]["clustering"], told["notes"]["clustering"]
    assert {name for name in numbers if name.endswith("/accuracy")} == {"c2/accuracy", "c3/accuracy"}
    best = note.partition(",")[0]
    assert numbers["accuracy"] == numbers[f"{best}/accuracy"]
    assert ("count as wrong" in note) == (best == "c2")


@pytest.mark.parametrize(
    ("n", "split", "images", "floor"), [(40, "test", 40, 20), (41, "train", 41, 30), (100, "train", 60, 30)]
)
def test_the_reference_is_the_test_split_if_it_is_large_enough(
    place: Path, n: int, split: str, images: int, floor: int
) -> None:
    (told,) = evaluate([place / "plain"], ["fidelity"], n=n)
    assert told["measurements"][0]["n"] == images  # what was drawn
    note = told["notes"]["fidelity"]
    assert f"{images} samples and {images} images of the {split} split" in note
    assert f"{floor} real images and {floor} others" in note


def test_what_cannot_be_measured_is_left_out_with_its_reason(place: Path) -> None:
    plain, bare = evaluate([place / "plain", place / "bare"], n=20)
    assert {"fidelity", "coverage"} <= plain["metrics"].keys()
    assert "no codes" in plain["skipped"]["clustering"]
    assert "no information term" in plain["skipped"]["information"]
    assert "information" in bare["metrics"]
    assert "no labels" in bare["skipped"]["clustering"]
    assert "no labels" in bare["skipped"]["coverage"]
    assert "Inception's weights are not at" in bare["skipped"]["fidelity"]


def test_a_named_metric_that_a_model_does_not_have_does_not_end_the_others(place: Path) -> None:
    ended = zoo("evaluate", place / "plain", "--metrics", "clustering,coverage", "-n", "20", "--json")
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    assert told["metrics"].keys() == {"coverage"}
    assert "no codes" in told["skipped"]["clustering"]
    ended = zoo("evaluate", place / "plain", "--metrics", "clustering,coverage", "-n", "20")
    assert "clustering (skipped): model gan has no codes" in ended.out
    (place / "plain" / "evaluation.json").unlink()


def test_a_metric_that_fails_does_not_end_the_others(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(subject: object) -> Outcome:
        raise InputError("image 7 cannot be read")

    monkeypatch.setitem(METRICS, "odd", Metric(fail, lambda subject: None))
    (told,) = evaluate([place / "run"], ["odd", "clustering"])
    assert told["metrics"].keys() == {"clustering"}
    assert told["skipped"]["odd"] == "image 7 cannot be read"
    ended = zoo("evaluate", place / "run", "--metrics", "odd", "-n", "20")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.splitlines()[-1] == "gan-zoo: metric odd: image 7 cannot be read"
    assert not (place / "run" / "evaluation.json").exists()


def test_a_run_is_kept_before_the_next_one_is_measured(place: Path, tmp_path: Path) -> None:
    runs = [shutil.copytree(place / name, tmp_path / name) for name in ("run", "other")]
    measure = METRICS["information"].measure
    with pytest.MonkeyPatch.context() as patch:
        broken = Metric(lambda s: 1 / 0 if s.run.folder == runs[1] else measure(s), lambda subject: None)  # type: ignore[arg-type, return-value]
        patch.setitem(METRICS, "information", broken)
        with pytest.raises(ZeroDivisionError):
            zoo("evaluate", *runs, "--metrics", "information", "-n", "20")
    assert (runs[0] / "evaluation.json").is_file()


def test_numbers_of_other_features_are_not_averaged() -> None:
    def told(features: str) -> dict[str, object]:
        numbers = {"fidelity": {"frechet": 1.0}, "clustering": {"nmi": 0.5}}
        found = [{"metric": "fidelity", "features": features}, {"metric": "clustering", "features": None}]
        return {"run": features, "metrics": numbers, "measurements": found, "skipped": {}, "notes": {}}

    alike, apart = [told("classifier")] * 2, [told("classifier"), told("inception")]
    assert summary(alike).keys() == {"fidelity/frechet", "clustering/nmi"}
    assert summary(apart).keys() == {"clustering/nmi"}
    assert remarks(apart) == ["fidelity (not averaged): the runs use different features: classifier, inception"]


@pytest.mark.parametrize(
    ("run", "metric", "word"),
    [
        ("plain", "clustering", "model gan has no codes"),
        ("plain", "information", "no information term"),
        ("bare", "coverage", "no labels"),
        ("bare", "fidelity", "Inception's weights"),
    ],
)
def test_what_is_named_and_cannot_be_measured_is_an_error(place: Path, run: str, metric: str, word: str) -> None:
    with pytest.raises(InputError) as error:
        evaluate([place / run], [metric])
    assert one_line(error).startswith(f"metric {metric}: ")
    assert word in one_line(error)


def test_a_run_that_lacks_what_is_named_does_not_end_the_others(place: Path) -> None:
    lacks, has = evaluate([place / "plain", place / "run"], ["information"])
    assert "no information term" in lacks["skipped"]["information"]
    assert (lacks["metrics"], [*has["metrics"]]) == ({}, ["information"])


def test_a_number_that_is_not_finite_is_told_as_skipped(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = Metric(lambda subject: Outcome({"a": float("inf"), "b": 2.0}, ""), lambda subject: None)
    monkeypatch.setitem(METRICS, "odd", odd)
    (told,) = evaluate([place / "plain"], ["odd"])
    assert told["metrics"] == {"odd": {"b": 2.0}}
    assert told["skipped"]["odd/a"] == "is inf"
    assert told["skipped"]["clustering"] == "not asked for"


def test_a_checkpoint_is_measured_as_it_is(place: Path) -> None:
    run = place / "run"
    (told,) = evaluate([run / "checkpoints" / "step-00000001"], ["information"], n=20)
    (last,) = evaluate([run], ["information"], n=20)
    assert (told["step"], last["step"]) == (1, 2)
    assert told["metrics"] != last["metrics"]
    assert find(run)[1].name == "step-00000002"
    assert load(run).config.model == "infogan"


def test_runs_are_summed_up_by_mean_deviation_and_worst() -> None:
    def told(accuracy: float, frechet: float, **more: float) -> dict[str, dict[str, dict[str, float]]]:
        return {"metrics": {"clustering": {"accuracy": accuracy, **more}, "fidelity": {"frechet": frechet}}}

    found = summary([told(0.5, 3), told(0.7, 1, nmi=0.5), told(0.9, 5)])
    assert found.keys() == {"clustering/accuracy", "fidelity/frechet"}
    assert found["clustering/accuracy"] == {
        "mean": pytest.approx(0.7), "deviation": pytest.approx(0.2), "worst": 0.5, "values": [0.5, 0.7, 0.9],
    }  # fmt: skip
    assert (found["fidelity/frechet"]["worst"], found["fidelity/frechet"]["deviation"]) == (5, pytest.approx(2))


def test_the_command_prints_a_table_and_writes_into_the_run(place: Path, tmp_path: Path) -> None:
    run = shutil.copytree(place / "run", tmp_path / "run")
    ended = zoo("evaluate", run, "--metrics", "clustering,information", "-n", "20")
    assert ended.code == 0, ended.err
    told = json.loads((run / "evaluation.json").read_text())
    assert told["metrics"].keys() == {"clustering", "information"}
    assert ended.out.splitlines()[-1] == str(run / "evaluation.json")
    for word in ("clustering", "accuracy", f"{told['metrics']['clustering']['accuracy']:.4f}", "nats", "c1/entropy"):
        assert word in ended.out
    assert "not asked for" not in ended.out
    assert {path.name for path in run.iterdir()} == {
        *(path.name for path in (place / "run").iterdir()), "evaluation.json", ".evaluation.lock"
    }  # fmt: skip


def test_one_run_is_written_elsewhere_if_asked(place: Path, tmp_path: Path) -> None:
    ended = zoo("evaluate", place / "plain", "--metrics", "coverage", "--n", "20", "--out", tmp_path / "e.json")
    assert ended.code == 0, ended.err
    told = json.loads((tmp_path / "e.json").read_text())
    assert told["metrics"].keys() == {"coverage"}
    again = zoo(
        "evaluate", place / "plain", "--metrics", "coverage", "--n", "20", "--out", tmp_path / "f.json", "--json"
    )
    assert json.loads(again.out) == told
    assert not (place / "plain" / "evaluation.json").exists()


def test_several_runs_are_each_written_and_summed_up(place: Path, tmp_path: Path) -> None:
    runs = [shutil.copytree(place / name, tmp_path / name) for name in ("run", "other", "plain")]
    ended = zoo("evaluate", *runs, "--n", "20", "--out", tmp_path / "e.json")
    assert ended.code == 0, ended.err
    assert all((run / "evaluation.json").is_file() for run in runs)
    told = json.loads((tmp_path / "e.json").read_text())
    assert [run["model"] for run in told["runs"]] == ["infogan", "infogan", "gan"]
    assert "fidelity/frechet" in told["summary"]
    assert not any(name.startswith("clustering") for name in told["summary"])
    for word in ("mean ± deviation", "worst", "plain", "plain: clustering (skipped): model gan has no codes"):
        assert word in ended.out


def test_two_checkpoints_of_one_run_are_told_apart(place: Path, tmp_path: Path) -> None:
    run = shutil.copytree(place / "run", tmp_path / "run")
    checkpoints = sorted((run / "checkpoints").iterdir())
    assert zoo("evaluate", *checkpoints, "--metrics", "information", "--n", "20").code == 0
    assert sorted(path.name for path in run.glob("evaluation*")) == [
        "evaluation-step-00000001.json", "evaluation-step-00000002.json",
    ]  # fmt: skip


def test_many_runs_are_shown_summed_up_alone(place: Path) -> None:
    (told,) = evaluate([place / "run"], ["information"], n=20)
    assert "run" in [column.header for column in evaluation_table([told] * 5).columns]
    headers = [column.header for column in evaluation_table([told] * 6).columns]
    assert headers == ["metric", "", "mean ± deviation", "worst"]


def test_help_names_every_metric() -> None:
    told = zoo("evaluate", "--help").out
    assert all(name in told for name in METRICS)
