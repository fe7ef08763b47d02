"""Evaluation while a model trains, and the checkpoint with the best one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from commandline import write_set, zoo
from narrow import narrow_config, narrow_train, one_line, same_bytes

from gan_zoo import api
from gan_zoo.analysis import monitor
from gan_zoo.analysis.fidelity import frechet
from gan_zoo.analysis.monitor import Monitor
from gan_zoo.analysis.mutual_information import information
from gan_zoo.analysis.random_features import random_network
from gan_zoo.config import Config
from gan_zoo.data.dataset import Dataset, open_dataset
from gan_zoo.errors import DamagedCheckpointWarning, InputError
from gan_zoo.images import to_uint8
from gan_zoo.models.gan.model import GAN
from gan_zoo.shapes import ImageShape
from gan_zoo.training import loop
from gan_zoo.training.best import Best, recorded_best
from gan_zoo.training.build import new_state
from gan_zoo.training.checkpoint import read_state
from gan_zoo.training.run import Run, find, find_step, open_run

EVALUATED: dict[str, Any] = {"logging__evaluate_every": 2, "logging__features": "random"}
STEPS = 6


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "SAMPLES", 40)


class Scripted:
    """Measures whose values by step are given."""

    def __init__(self, values: Mapping[int, float], *, lower: bool, name: str = "given") -> None:
        self.values, self.best, self.lower_is_better = values, name, lower
        self.notes: list[str] = []
        self.calls = 0

    def __call__(self, config: Config, dataset: Dataset, model: GAN) -> Scripted:
        self.config = config
        return self

    def prepare(self) -> None:
        pass

    def measure(self, model: GAN) -> dict[str, float]:
        self.calls += 1
        return {self.best: self.values[2 * self.calls]}


def scripted(out: Path, values: Mapping[int, float], *, resume: bool = False, **settings: Any) -> Run:
    """A narrow training whose evaluations, every second step, are given from its first one on."""
    measures = Scripted(values, lower=settings.pop("lower", True), name=settings.pop("name", "given"))
    config = narrow_config("gan", logging__evaluate_every=2, **settings)
    return loop.train(config, measures=measures, out=out, resume=resume, quiet=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that keeps its best checkpoint by Fréchet distance."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(monitor, "SAMPLES", 40)
        best = EVALUATED | {"logging__best": "frechet", "logging__keep": 1}
        return narrow_train("infogan", tmp_path_factory.mktemp("best") / "run", training__steps=STEPS, **best)


def test_evaluation_changes_no_byte_of_the_weights_and_no_other_value_of_the_log(tmp_path: Path) -> None:
    plain = narrow_train("infogan", tmp_path / "plain", training__steps=STEPS)
    before = torch.get_rng_state()
    watched = narrow_train("infogan", tmp_path / "watched", training__steps=STEPS, **EVALUATED)
    assert torch.equal(torch.get_rng_state(), before)
    assert same_bytes(plain.checkpoint(STEPS), watched.checkpoint(STEPS))
    with_best = narrow_train("infogan", tmp_path / "best", training__steps=STEPS, logging__best="mi/c1", **EVALUATED)
    for name in ("model", "ema", "optimizer"):
        file = f"{name}.safetensors"
        assert (with_best.checkpoint(STEPS) / file).read_bytes() == (plain.checkpoint(STEPS) / file).read_bytes()
    for ours, theirs in zip(watched.metrics(), plain.metrics(), strict=True):
        evaluated = {name for name in ours if name.startswith("evaluation/")}
        assert bool(evaluated) == (ours["step"] % 2 == 0)
        assert ours.keys() - evaluated == theirs.keys()
        assert all(ours[name] == theirs[name] for name in theirs.keys() - {"images_per_second"})


def test_what_is_logged_is_the_measure_of_the_checkpoint_as_it_is_loaded(run: Run) -> None:
    model, line = api.load(run.checkpoint(STEPS)), run.metrics()[-1]
    nats = information(model, n=40)
    codes = [code.name for code in model.codes]
    assert [line[f"evaluation/mi/{code}"] for code in codes] == [nats[code] for code in codes]
    assert line["evaluation/mi"] == sum(nats[code] for code in codes)
    train, network = open_dataset(run.config.data).train, random_network(model.image)
    chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:80]
    real = network.features(train.pixels(chosen))[:40]
    fake = network.features(to_uint8(model.sample(40)))
    assert line["evaluation/frechet/random"] == pytest.approx(frechet(real, fake), rel=1e-4)


def test_the_best_is_a_whole_checkpoint_beside_the_last(run: Run) -> None:
    lines = {line["step"]: line["evaluation/frechet/random"] for line in run.metrics() if line["step"] % 2 == 0}
    step = min(lines, key=lines.__getitem__)
    assert recorded_best(run.checkpoints) == Best("frechet/random", lines[step], step)
    assert {path.name for path in run.checkpoints.iterdir()} == {"best", f"step-{STEPS:08d}"}
    state = read_state(run.checkpoints / "best")
    assert (state["step"], state["best"]["step"]) == (step, step)


@pytest.mark.parametrize(
    ("values", "lower", "step"),
    [({2: 3.0, 4: 1.0, 6: 2.0}, True, 4), ({2: 3.0, 4: 1.0, 6: 2.0}, False, 2), ({2: 1.0, 4: 1.0, 6: 1.0}, True, 2),
     ({2: float("nan"), 4: 5.0, 6: float("inf")}, False, 4)],
)  # fmt: skip
def test_the_direction_is_the_measure_s_and_a_tie_or_a_value_that_is_not_finite_replaces_nothing(
    values: dict[int, float], lower: bool, step: int, tmp_path: Path
) -> None:
    run = scripted(tmp_path / "run", values, lower=lower, training__steps=STEPS)
    assert recorded_best(run.checkpoints) == Best("given", values[step], step)
    assert read_state(run.checkpoints / "best")["step"] == step
    logged = [line["evaluation/given"] for line in run.metrics() if "evaluation/given" in line]
    assert logged == [value for value in values.values() if value - value == 0]


def test_a_resumed_run_knows_the_best_so_far(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run = scripted(folder, {2: 5.0, 4: 1.0}, training__steps=4)
    best = {path.name: path.read_bytes() for path in (run.checkpoints / "best").iterdir()}
    scripted(folder, {2: 3.0, 4: 2.0}, resume=True, training__steps=8)
    assert recorded_best(run.checkpoints) == Best("given", 1.0, 4)
    assert {path.name: path.read_bytes() for path in (run.checkpoints / "best").iterdir()} == best
    scripted(folder, {2: 0.5, 4: 2.0}, resume=True, training__steps=12)
    assert recorded_best(run.checkpoints) == Best("given", 0.5, 10)
    scripted(folder, {2: 7.0, 4: 8.0}, resume=True, training__steps=16, name="another")
    assert recorded_best(run.checkpoints) == Best("another", 7.0, 14)  # of another measure, values do not compare


def test_a_best_checkpoint_that_was_not_copied_yet_is_copied_by_the_resumed_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run = scripted(folder, {2: 5.0, 4: 1.0}, training__steps=4)
    best = run.checkpoints / "best"
    whole = tmp_path / "whole"
    shutil.copytree(best, whole)
    for state in ("missing", "older", "damaged"):
        shutil.rmtree(best)
        if state == "older":
            shutil.copytree(run.checkpoint(4), best)
            facts = json.loads((best / "state.json").read_text())
            (best / "state.json").write_text(json.dumps(facts | {"step": 2, "best": None}))
        if state == "damaged":
            shutil.copytree(run.checkpoint(4), best)
            (best / "model.safetensors").write_bytes(b"")
        assert find(best)[1] == run.checkpoint(4), state  # until then, it is found where it is
        scripted(folder, {}, resume=True, training__steps=4)
        assert same_bytes(best, whole), state


def test_a_run_whose_newest_checkpoint_is_damaged_resumes_from_a_later_best(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run = scripted(folder, {2: 5.0, 4: 1.0}, training__steps=4)
    whole = scripted(tmp_path / "whole", {2: 5.0, 4: 1.0, 6: 2.0}, training__steps=6)
    (run.checkpoint(4) / "model.safetensors").write_bytes(b"")
    with pytest.warns(DamagedCheckpointWarning, match="step-00000004"):
        assert find(folder)[1] == run.checkpoints / "best"
    scripted(folder, {2: 2.0}, resume=True, training__steps=6)
    assert same_bytes(run.checkpoint(6), whole.checkpoint(6))
    assert same_bytes(run.checkpoints / "best", whole.checkpoints / "best")


def test_other_data_make_the_best_so_far_void(tmp_path: Path) -> None:
    data = {"data__name": str(write_set(tmp_path / "set.npz")), "logging__best": "mi", **EVALUATED}
    run = narrow_train("infogan", tmp_path / "run", training__steps=2, **data)
    other = str(write_set(tmp_path / "other.npz", images=30))
    narrow_train("infogan", run.folder, resume=True, new_data=True, training__steps=4, data__name=other)
    assert (recorded_best(run.checkpoints) or Best("", 0, 0)).step == 4


def test_every_command_takes_the_best_checkpoint(run: Run, tmp_path: Path) -> None:
    copy = Run(tmp_path / "copy", run.config)
    shutil.copytree(run.folder, copy.folder)
    best = copy.checkpoints / "best"
    assert find(best) == (open_run(copy.folder), best)
    assert find_step(best) == read_state(best)["step"]
    assert torch.equal(api.load(best).sample(2), api.load(copy.folder / "checkpoints/best").sample(2))
    picture = tmp_path / "best.png"
    for words in (
        ["sample", copy.folder, "-n", 4, "--out", picture],
        ["traverse", copy.folder, "--code", "c1", "--rows", 1, "--out", tmp_path / "c1.png"],
        ["encode", copy.folder, write_set(tmp_path / "set.npz"), "--out", tmp_path / "codes.csv"],
        ["cluster", copy.folder, "--k", 2, "--split", "test", "--json"],
        ["evaluate", copy.folder, "--metrics", "information", "-n", 10],
        ["export", copy.folder, "--out", tmp_path / "exported"],
    ):
        ended = zoo(*words, "--checkpoint", "best")
        assert ended.code == 0, ended.err
    assert json.loads((copy.folder / "evaluation-best.json").read_text())["step"] == find_step(best)
    assert json.loads((tmp_path / "exported/config.json").read_text())["step"] == find_step(best)
    assert zoo("sample", best, "-n", 4, "--out", tmp_path / "same.png").code == 0
    assert (tmp_path / "same.png").read_bytes() == picture.read_bytes()
    assert zoo("sample", copy.folder, "-n", 4, "--checkpoint", STEPS, "--out", tmp_path / "last.png").code == 0
    ended = zoo("centrality", copy.folder, copy.folder, "--checkpoint", "best")
    assert (ended.code, "named twice" in ended.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--checkpoint", "first"], "--checkpoint must be best, or the number of a step, not 'first'"),
        (["--checkpoint", "7"], "step-00000007"),
    ],
)
def test_a_checkpoint_that_is_none_is_refused(words: list[str], told: str, run: Run) -> None:
    ended = zoo("sample", run.folder, *words)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert told in ended.err


def test_only_a_run_folder_has_named_checkpoints(run: Run, tmp_path: Path) -> None:
    for source in (run.checkpoints / "best", run.checkpoint(STEPS), "hf://org/name"):
        ended = zoo("sample", source, "--checkpoint", "best")
        assert (ended.code, f"requires a run folder, not {source}\n" in ended.err) == (2, True), ended.err
    ended = zoo("export", run.folder, "--checkpoint", "best", "--push", "org/name")
    assert (ended.code, "--checkpoint require --out" in ended.err) == (2, True), ended.err


def test_a_run_without_a_best_checkpoint_says_how_to_keep_one(tmp_path: Path) -> None:
    run = narrow_train("gan", tmp_path / "run", training__steps=2, **EVALUATED)
    assert not (run.checkpoints / "best").exists()
    with pytest.raises(InputError) as refused:
        find(run.checkpoints / "best")
    assert "logging.best" in one_line(refused)


def test_a_best_checkpoint_that_is_damaged_and_alone_is_refused(tmp_path: Path) -> None:
    run = scripted(tmp_path / "run", {2: 1.0, 4: 2.0}, training__steps=4, logging__keep=1)
    (run.checkpoints / "best" / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError) as refused:
        find(run.checkpoints / "best")
    assert "model.safetensors has changed" in one_line(refused)
    shutil.rmtree(run.checkpoints / "best")
    shutil.copytree(run.checkpoint(4), run.checkpoints / "best")
    with pytest.raises(InputError) as refused:
        find(run.checkpoints / "best")
    assert "not of step 2" in one_line(refused)


@pytest.mark.parametrize(
    "best",
    [{"measure": 1, "value": 1.0, "step": 1}, {"measure": "mi", "value": "1", "step": 1}, ["mi"], {"measure": "mi"},
     {"measure": "mi", "value": float("inf"), "step": 1}, {"measure": "mi", "value": 1.0, "step": 10**6}],
)  # fmt: skip
def test_a_record_of_the_best_that_no_run_writes_is_damage(best: object, run: Run, tmp_path: Path) -> None:
    checkpoint = tmp_path / "step-00000006"
    shutil.copytree(run.checkpoint(STEPS), checkpoint)
    facts = json.loads((checkpoint / "state.json").read_text())
    (checkpoint / "state.json").write_text(json.dumps(facts | {"best": best}))
    assert recorded_best(tmp_path) is None


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"logging__best": "mi"}, "logging.best = 'mi' requires logging.evaluate_every"),
        (EVALUATED | {"logging__best": "fid"}, "unknown measure 'fid'. Known: frechet, mi, mi/c1, mi/c2, mi/c3"),
        (EVALUATED | {"logging__best": "mi/c9"}, "did you mean 'mi/c"),
        (EVALUATED | {"logging__features": "nowhere"}, "logging.features must be auto, classifier, inception, random"),
        (EVALUATED | {"logging__features": "classifier", "data__classes": 0}, "has no labels"),
        (EVALUATED | {"logging__features": "inception"}, "Inception's weights are not downloaded"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_a_folder_is_made(
    settings: dict[str, Any], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAN_ZOO_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError) as refused:
        narrow_train("infogan", tmp_path / "run", **settings)
    assert told in one_line(refused)
    assert not (tmp_path / "run").exists()


def test_a_dry_run_refuses_the_same_and_names_the_features(tmp_path: Path) -> None:
    flags = ("--logging.evaluate-every", "2", "--trunk.width", "2", "--dry-run")
    ended = zoo("train", "infogan", *flags, "--logging.best", "fid")
    assert (ended.code, "unknown measure 'fid'" in ended.err) == (2, True)
    assert 'features = "random"' in zoo("train", "infogan", *flags, "--logging.best", "frechet").out


def test_a_model_without_codes_and_a_few_images_have_nothing_to_measure(tmp_path: Path) -> None:
    few = str(write_set(tmp_path / "few.npz", images=5))
    with pytest.raises(InputError) as refused:
        narrow_train("gan", tmp_path / "run", data__name=few, **EVALUATED)
    assert "there is nothing to measure" in one_line(refused)
    run = narrow_train("infogan", tmp_path / "run", data__name=few, training__steps=2, **EVALUATED)
    assert not any("frechet" in name for name in run.metrics()[-1])
    assert "evaluation/mi" in run.metrics()[-1]


def test_the_loop_alone_has_no_measures(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        loop.train(narrow_config("gan", **EVALUATED), out=tmp_path / "run")
    assert "requires measures" in one_line(refused)


def monitored(model: str, **settings: Any) -> Monitor:
    config = narrow_config(model, logging__evaluate_every=2, **settings)
    return Monitor(config, open_dataset(config.data), new_state(config, torch.device("cpu")).model)


def test_labels_choose_no_checkpoint_unless_the_classifier_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAN_ZOO_CACHE", str(tmp_path))
    assert monitored("infogan").names["frechet"] == "frechet/classifier"
    assert monitored("infogan", logging__best="mi").names["frechet"] == "frechet/classifier"
    assert monitored("gan", data__classes=0).names["frechet"] == "frechet/random"
    chosen = monitored("infogan", logging__best="frechet")
    assert (chosen.best, chosen.lower_is_better, chosen.config.logging.features) == ("frechet/random", True, "random")
    named = monitored("infogan", logging__best="frechet", logging__features="classifier")
    assert named.best == "frechet/classifier"
    assert any("labels have a part" in note for note in named.notes)
    assert not any("labels" in note for note in chosen.notes)


def test_inception_is_at_hand_if_its_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAN_ZOO_CACHE", str(tmp_path))
    monkeypatch.setattr("gan_zoo.analysis.subject.Reals.check", lambda self: None)
    (tmp_path / "inception-2015-12-05.safetensors").write_bytes(b"")
    assert monitored("infogan", logging__best="frechet").best == "frechet/inception"
    (tmp_path / "other.safetensors").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    named = monitored("infogan", logging__features="other.safetensors")
    assert named.names["frechet"] == "frechet/inception"
    assert named.config.logging.features == str(tmp_path / "other.safetensors")  # a run is resumed from any folder


def test_the_run_records_the_features_that_it_takes(run: Run, tmp_path: Path) -> None:
    auto = narrow_train(
        "infogan", tmp_path / "run", training__steps=2, logging__evaluate_every=2, logging__best="frechet"
    )
    assert open_run(auto.folder).config.logging.features == "random"
    assert "evaluation/frechet/random" in auto.metrics()[-1]


def test_the_random_network_is_the_same_whatever_torch_s_seed_is() -> None:
    images = torch.randint(0, 256, (3, 1, 28, 28), dtype=torch.uint8)
    torch.manual_seed(1)
    first = random_network(ImageShape(1, 28)).features(images)
    torch.manual_seed(2)
    assert torch.equal(first, random_network(ImageShape(1, 28)).features(images))
    assert first.std() > 0.01


def test_the_run_s_best_is_listed_reported_and_printed(run: Run, tmp_path: Path) -> None:
    step = find_step(run.checkpoints / "best")
    listed = zoo("runs", run.folder)
    assert f"step {step}, frechet/random" in " ".join(listed.out.split())
    (record,) = json.loads(zoo("runs", run.folder, "--json").out)
    assert record["kept"]["step"] == step
    page = tmp_path / "report.html"
    assert zoo("report", run.folder, "--out", page).code == 0
    for text in (
        f"best checkpoint: step {step}, frechet/random",
        "<h2>Evaluation</h2>",
        "L_I, evaluated",
    ):
        assert text in page.read_text(encoding="utf-8")


def test_random_features_are_named_where_images_are_measured(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "measured.json"
    words = ("--metrics", "fidelity", "-n", "12", "--features", "random", "--out", out)
    assert zoo("evaluate", run.folder, *words).code == 0
    assert "features: a random network's" in json.loads(out.read_text())["notes"]["fidelity"]
