"""Merging results: which are kept, which are replaced, and that all readers agree."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from commandline import zoo
from hypothesis import given
from hypothesis import strategies as st
from measured import write_striped
from narrow import narrow_train

import gan_zoo
from gan_zoo.analysis.result_tables import number
from gan_zoo.analysis.results import (
    Measurement,
    comparable,
    fingerprint,
    measured,
    measured_at,
    merge,
    newest,
    read_measurements,
    save,
)
from gan_zoo.analysis.survey import standing
from gan_zoo.errors import InputError

MANY = Measurement("fidelity", {"frechet": 2.68}, step=3, weights="a", n=5000, seed=0, features="classifier")
FEW = replace(MANY, numbers={"frechet": 284.9}, n=10)
CLUSTERING = Measurement("clustering", {"accuracy": 0.9}, step=3, weights="a", n=None, seed=0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two checkpoints on a labelled set."""
    place = tmp_path_factory.mktemp("place")
    data = write_striped(place / "set.npz", test=40)
    settings = {"steps": 2, "trunk__name": "mlp", "trunk__discriminator_norm": "none", "logging__checkpoint_every": 1}
    narrow_train("infogan", place / "run", infogan__codes="categorical:3, uniform:1", data=str(data), **settings)
    return place / "run"


@pytest.fixture(autouse=True)
def _unmeasured(run: Path) -> None:
    for path in run.glob("evaluation*"):
        path.unlink()


def result(*measurements: Measurement, step: int = 3) -> dict[str, Any]:
    """A result of `evaluate`, reduced to what is saved."""
    own = [asdict(one) for one in measurements]
    facts = {"n": measurements[0].n or 1, "seed": 0, "skipped": {"fidelity": "not asked for"}}
    return {"step": step, "metrics": {}, "notes": {}, "measurements": own, **facts}


def test_of_two_the_one_of_more_samples_stays_and_a_line_says_so() -> None:
    kept, lines = merge([MANY, CLUSTERING], [FEW])
    assert kept == [CLUSTERING, MANY]
    assert lines == [
        "fidelity of 5,000 samples, classifier features, seed 0 kept: the new figures have only 10 samples"
    ]
    kept, lines = merge([FEW], [MANY])
    assert kept == [MANY]
    many, few = (f"{n} samples, classifier features, seed 0" for n in ("5,000", "10"))
    assert lines == [f"fidelity of {many} replaces that of {few}"]


def test_of_as_many_samples_the_fresh_one_stays() -> None:
    again = replace(MANY, numbers={"frechet": 2.7})
    assert merge([MANY], [again]) == ([again], [])
    other = replace(MANY, numbers={"frechet": 2.7}, seed=1)
    kept, (line,) = merge([MANY], [other])
    assert kept == [other]
    assert "seed 1 replaces that of 5,000 samples, classifier features, seed 0" in line


def test_other_features_and_other_steps_stand_beside_each_other() -> None:
    inception, later = replace(FEW, features="inception"), replace(FEW, step=4, weights="b")
    assert merge([MANY], [inception, later]) == ([MANY, inception, later], [])


def test_what_was_measured_of_other_weights_at_the_step_gives_way() -> None:
    kept, (line,) = merge([MANY], [replace(CLUSTERING, weights="b")])
    assert [one.metric for one in kept] == ["clustering"]
    assert line.startswith("fidelity (5,000 samples, classifier features, seed 0) replaced: other weights")


MEASUREMENTS = st.builds(
    Measurement,
    metric=st.sampled_from(["fidelity", "coverage"]),
    numbers=st.fixed_dictionaries({"x": st.floats(0, 1)}),
    step=st.integers(1, 2),
    weights=st.just("a"),
    n=st.integers(10, 13),
    seed=st.integers(0, 1),
    features=st.sampled_from(["classifier", "inception"]),
)


@given(st.lists(MEASUREMENTS, max_size=8))
def test_however_they_come_the_most_samples_of_each_stay(calls: list[Measurement]) -> None:
    kept: list[Measurement] = []
    for call in calls:
        kept, _ = merge(kept, [call])
    about = [(one.metric, one.step, one.features) for one in kept]
    assert len(set(about)) == len(about)
    for key, one in zip(about, kept, strict=True):
        rivals = [call for call in calls if (call.metric, call.step, call.features) == key]
        most = max(call.n or 0 for call in rivals)
        assert one == [call for call in rivals if call.n == most][-1]


def test_a_file_keeps_what_stood_there_with_what_each_is_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(result(MANY), tmp_path / "evaluation.json")
    save(result(CLUSTERING, replace(FEW, seed=7)), path)
    told = json.loads(path.read_text())
    assert told["metrics"] == {"clustering": {"accuracy": 0.9}, "fidelity": {"frechet": 2.68}}
    assert told["skipped"] == {}
    assert not {"n", "seed"} & told.keys(), "each measurement has its own"
    (fidelity,) = (one for one in told["measurements"] if one["metric"] == "fidelity")
    assert (fidelity["n"], fidelity["seed"], fidelity["step"], fidelity["features"]) == (5000, 0, 3, "classifier")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{path}: fidelity of 5,000 samples")
    later = replace(CLUSTERING, step=4, weights="b")
    save(result(later, step=4), path)
    assert json.loads(path.read_text())["metrics"] == {"clustering": {"accuracy": 0.9}}, "step 3 is not mixed in"
    assert read_measurements(path) == [CLUSTERING, MANY, later]


def test_a_file_that_is_no_evaluation_is_replaced_and_a_line_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text("[]")
    save(result(FEW), path)
    assert read_measurements(path) == [FEW]
    assert "is not an evaluation" in capsys.readouterr().err


SCALARS = st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=5)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))
COUNT = st.integers(0, 9) | JSON
ONE = st.fixed_dictionaries(
    {"metric": JSON, "numbers": st.dictionaries(st.text(max_size=3), JSON), "step": COUNT, "n": COUNT}
    | {"seed": COUNT, "weights": JSON, "features": JSON, "note": JSON}
)
TOLD = st.fixed_dictionaries({"measurements": JSON | st.lists(ONE, max_size=2)})


@given(told=TOLD | JSON, lone=st.booleans())
def test_whatever_a_file_holds_it_is_read_or_refused_in_a_line(
    tmp_path_factory: pytest.TempPathFactory, told: Any, lone: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "evaluation-any.json"
    path.write_text(json.dumps(told, ensure_ascii=True).replace("a", "\\ud800" if lone else "a"))
    refused = ""
    try:
        found = read_measurements(path)
    except InputError as error:
        refused = str(error)
    assert refused.isprintable()
    if refused:
        return
    save(result(FEW), path)
    assert FEW in read_measurements(path)
    assert len(read_measurements(path)) <= len(found) + 1


def test_only_figures_of_a_kind_are_compared_over_steps() -> None:
    early, late = replace(MANY, step=1), replace(MANY, step=2, numbers={"frechet": 3.0})
    small = replace(FEW, step=3)
    assert comparable([early, late, small]) == [early, late]
    inception = replace(MANY, step=3, features="inception")
    assert comparable([early, late, inception]) == [inception]
    assert newest([early, replace(CLUSTERING, step=1), late]) == [late, replace(CLUSTERING, step=1)]


def test_fewer_samples_replace_nothing_and_every_reader_agrees(run: Path, tmp_path: Path) -> None:
    assert zoo("evaluate", run, "--metrics", "fidelity,information", "-n", "40").code == 0
    before = json.loads((run / "evaluation.json").read_text())["metrics"]
    ended = zoo("evaluate", run, "--metrics", "fidelity,clustering", "-n", "10")
    assert ended.code == 0, ended.err
    told = json.loads((run / "evaluation.json").read_text())
    assert told["metrics"]["fidelity"] == before["fidelity"]
    assert told["metrics"]["information"] == before["information"]
    assert told["metrics"]["clustering"]["accuracy"] > 0
    assert number(before["fidelity"]["frechet"]) not in ended.out, "the table is of this call"
    assert "fidelity of 40 samples, classifier features, seed 0 kept: the new figures have only 10" in ended.err
    frechet = before["fidelity"]["frechet"]
    assert standing(run).best["fidelity/frechet"]["value"] == frechet
    assert zoo("report", run, "--out", tmp_path / "page.html").code == 0
    assert zoo("export", run, "--out", tmp_path / "export").code == 0
    for page in (tmp_path / "page.html", tmp_path / "export" / "README.md"):
        text = page.read_text()
        assert number(frechet) in text and "40 samples, classifier features, seed 0" in text
        assert "accuracy" in text and "entropy" in text


def test_a_card_has_the_figures_of_its_own_weights_alone(run: Path) -> None:
    weights = fingerprint(gan_zoo.load(run))
    own, others = replace(MANY, step=2, weights=weights), replace(CLUSTERING, step=2, weights="other")
    (run / "evaluation.json").write_text(json.dumps(result(own, others)))
    assert measured_at(run, "step-00000002", 2, weights) == [own]
    assert measured_at(run, "step-00000001", 1, weights) == []
    (run / "evaluation.json").write_text("{")
    with pytest.raises(InputError, match="is not an evaluation"):
        measured_at(run, "step-00000002", 2, weights)


def test_the_figures_of_a_named_checkpoint_and_of_the_run_are_one(run: Path) -> None:
    (run / "evaluation-step-00000003.json").write_text(json.dumps(result(MANY)))
    (run / "evaluation.json").write_text(json.dumps(result(FEW, CLUSTERING)))
    assert sorted(one.n or 0 for one in measured(run)) == [0, 5000]


def test_a_list_says_where_figures_cannot_be_compared(run: Path, tmp_path: Path) -> None:
    for name, one in (("many", MANY), ("few", FEW)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.toml").write_text((run / "config.toml").read_text())
        save(result(one), tmp_path / name / "evaluation.json")
    ended = zoo("runs", tmp_path)
    line = "Fréchet cannot be compared: few: 10 samples, classifier features; many: 5,000 samples, classifier features"
    assert line in ended.out.splitlines()
    save(result(MANY), tmp_path / "few" / "evaluation.json")
    assert "cannot be compared" not in zoo("runs", tmp_path).out
