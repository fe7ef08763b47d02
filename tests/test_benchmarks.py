import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from gan_zoo.errors import InputError
from gan_zoo.models.gan.codes import Code
from gan_zoo.training.run import open_run

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import figure1
import q_accuracy
import runs

TINY = """
model = "infogan"
[trunk]
width = 4
[training]
steps = 2
batch_size = 8
ema = 0.0
"""


def test_accuracies_of_seeds_are_written_and_a_finished_run_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    out = tmp_path / "q.json"
    arguments = ["q", "--config", str(tmp_path / "tiny.toml"), "--seeds", "0", "1", "--runs", str(tmp_path / "runs")]
    monkeypatch.setattr(sys, "argv", [*arguments, "--out", str(out)])
    monkeypatch.setattr(q_accuracy, "METRICS", ("clustering", "information"))
    q_accuracy.main()
    first = json.loads(out.read_text())
    assert [row["seed"] for row in first["runs"]] == [0, 1]
    assert first["summary"]["test"]["worst"] <= first["summary"]["test"]["mean"]
    assert first["runs"][0]["L_I"].keys() == {"c1", "c2", "c3"}
    monkeypatch.setattr(runs.gan_zoo, "train", lambda *a, **k: pytest.fail("trained again"))
    q_accuracy.main()
    assert json.loads(out.read_text()) == first


def test_the_worst_of_a_distance_is_its_largest() -> None:
    rows = [{"test": 0.9, "frechet": 3.0, "recall": 0.5}, {"test": 0.8, "frechet": 2.0, "recall": 0.7}]
    summary = q_accuracy.summarise(rows)
    assert {name: of_name["worst"] for name, of_name in summary.items()} == {"test": 0.8, "frechet": 3.0, "recall": 0.5}
    assert summary["frechet"]["mean"] == 2.5


def test_figure_1_trains_each_seed_with_the_term_and_with_a_watching_head_and_draws_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.toml").write_text(
        TINY + "discriminator_steps = 2\n[infogan]\ncodes = 'uniform:1, categorical:3'\n"
    )
    picture, table = tmp_path / "new" / "figure.png", tmp_path / "figure.json"
    arguments = ["f", "--config", str(tmp_path / "tiny.toml"), "--seeds", "0", "1", "--runs", str(tmp_path / "runs")]
    arguments += ["--steps", "8", "--log-every", "2", "--out", str(picture), "--json", str(table)]
    monkeypatch.setattr(sys, "argv", arguments)
    figure1.main()
    told = json.loads(table.read_text())
    assert (told["code"], told["entropy"]) == ("c2", pytest.approx(1.0986, abs=1e-4))
    trees = [open_run(folder).config.model_dump() for folder in sorted((tmp_path / "runs").iterdir())]
    assert [(run["infogan"]["trains"], run["seed"]) for run in trees] == [
        ("q", 0), ("q", 1), ("generator+q+trunk", 0), ("generator+q+trunk", 1)
    ]  # fmt: skip
    for arm in told["arms"].values():
        assert arm["iterations"] == [1, 2, 3, 4], "of the generator, not of the discriminator"
        logged = [
            [line["mi/c2"] for line in open_run(tmp_path / "runs" / f"figure1-tiny-{name}-seed1").metrics()]
            for name in ("q", "trunk")
        ]
        assert arm["bound"]["1"] == pytest.approx(logged[arm["trains"] != "q"], abs=1e-4)
    with Image.open(picture) as drawn:
        assert drawn.format == "PNG"
        assert min(drawn.size) > 400

    monkeypatch.setattr(runs.gan_zoo, "train", lambda *a, **k: pytest.fail("trained again"))
    arguments[arguments.index("--steps") + 1] = "4"
    figure1.main()
    shorter = json.loads(table.read_text())["arms"]
    assert all(arm["iterations"] == [1, 2] for arm in shorter.values())


def test_figure_1_needs_a_categorical_code(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY + "[infogan]\ncodes = 'uniform:2'\n")
    with pytest.raises(InputError, match="no categorical code, only uniform, uniform"):
        figure1.first_categorical(str(tmp_path / "tiny.toml"))


def test_figure_1_s_band_spans_the_seeds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import matplotlib.axes

    bands, lines = [], []
    monkeypatch.setattr(
        matplotlib.axes.Axes, "fill_between", lambda _, x, low, high, **__: bands.append((x, low, high))
    )
    monkeypatch.setattr(matplotlib.axes.Axes, "plot", lambda _, x, y, **__: lines.append((x, y)))
    code, one, other = Code("c1", "categorical", 10), {1: 0.0, 2: 1.0}, {1: 0.5, 2: 3.0}
    figure1.draw({"a": [one, other], "b": [one, one]}, code, tmp_path / "two.png")
    assert lines == [([1, 2], [0.25, 2.0]), ([1, 2], [0.0, 1.0])]
    assert bands[0] == ([1, 2], [0.0, 1.0], [0.5, 3.0])
    bands.clear()
    figure1.draw({"a": [one], "b": [other]}, code, tmp_path / "one.png")
    assert not bands


def test_a_run_of_other_settings_is_not_taken_for_the_one_asked_for(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    folder = tmp_path / "run"
    runs.train_or_open(folder, str(tmp_path / "tiny.toml"), seed=0)
    with pytest.raises(InputError, match="seed: 0 → 1"):
        runs.train_or_open(folder, str(tmp_path / "tiny.toml"), seed=1)
