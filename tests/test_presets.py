"""Every preset trains, as it is and with another model, on a synthetic set of its own shape."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import torch
from commandline import write_set, zoo

import gan_zoo
from gan_zoo.errors import InputError
from gan_zoo.models.infogan.model import InfoGAN
from gan_zoo.models.stylegan2.model import StyleGAN2
from gan_zoo.registry import models, presets
from gan_zoo.resolve import resolve
from gan_zoo.training.precision import pick_precision
from gan_zoo.training.run import Run

SMALL = {"training.batch_size": 4, "training.device": "cpu"}
FLAGS = ("--trunk.width", "2", "--batch-size", "4", "--device", "cpu")
LONG = [name for name in presets() if name.endswith("-256") or name == "ffhq-64"]
"""The presets of which a step takes long on a CPU."""
OF_INFOGAN = [name for name in presets() if resolve(config=name).model == "infogan" and name not in LONG]
OTHERS = [
    name
    for name in models.entries
    if not issubclass(models.get(name), InfoGAN) and not issubclass(models.get(name), StyleGAN2)
]
"""The models that train on any preset's trunk; StyleGAN2 requires a mapping network."""
CROSS = [(model, preset) for preset in OF_INFOGAN for model in OTHERS]
COVER = [(model, OF_INFOGAN[k % len(OF_INFOGAN)]) for k, model in enumerate(OTHERS)]
COVER += [(OTHERS[k % len(OTHERS)], preset) for k, preset in enumerate(OF_INFOGAN) if k >= len(OTHERS)]
TIMED = [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in presets()]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A set of the shape of each preset's own."""
    place = tmp_path_factory.mktemp("sets")
    made = {}
    for name in presets():
        data = resolve(config=name).data
        made[name] = write_set(place / f"{name}.npz", resolution=data.resolution or 28, channels=data.channels or 1)
    return made


def steps_of(model: str | None, preset: str) -> int:
    """Steps after which both players have been updated."""
    return max(2, resolve(model, preset).training.discriminator_steps)


def train(model: str | None, preset: str, data: Path, out: Path) -> Run:
    narrow = {"trunk.widths": (2,)} if resolve(config=preset).trunk.widths else {"trunk.width": 2}
    return gan_zoo.train(
        model, preset, out=out, quiet=True, data=data, **SMALL, **narrow, **{"training.steps": steps_of(model, preset)}
    )


def test_the_presets_of_the_paper_and_of_other_sets_are_there() -> None:
    assert set(presets()) >= {
        "mnist-5k", "mnist", "fashion-mnist", "svhn", "celeba-64", "chairs-64", "faces-32", "cifar10", "folder-64",
        "faces-stylegan2-256",
    }  # fmt: skip
    assert {resolve(config=name).model for name in presets()} >= {"infogan", "dcgan", "sngan", "wgan-gp"}


@pytest.mark.parametrize(
    ("preset", "codes"),
    [
        ("mnist", "categorical:10, uniform:2"),
        ("chairs-64", "categorical:20x3, uniform:1@10"),
        ("faces-32", "uniform:5"),
        ("svhn", "categorical:10x4, uniform:4"),
        ("celeba-64", "categorical:10x10"),
    ],
)
def test_presets_have_the_codes_of_the_paper_s_appendix(preset: str, codes: str) -> None:
    assert resolve("infogan", preset).model_dump()["infogan"]["codes"] == codes


@pytest.mark.parametrize("preset", presets())
def test_a_preset_begins_with_what_it_is_for(preset: str) -> None:
    first = presets()[preset].read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert len(first) > 20


@pytest.mark.parametrize("preset", TIMED)
def test_a_preset_trains_as_it_is(preset: str, sets: dict[str, Path], tmp_path: Path) -> None:
    run = train(None, preset, sets[preset], tmp_path / "run")
    own = tomllib.loads(presets()[preset].read_text(encoding="utf-8"))
    assert run.config.model == own["model"]
    native = pick_precision("auto", torch.device("cpu"))
    assert run.config.training.precision == {"auto": native}.get(own["training"].get("precision"), "fp32")
    (metrics,) = run.metrics()
    assert metrics["step"] == steps_of(None, preset)
    assert {"discriminator/adversarial", "generator/adversarial"} <= metrics.keys()
    shape = resolve(config=preset).data
    assert (run.config.data.resolution, run.config.data.channels) == (shape.resolution or 28, shape.channels or 1)
    if own["model"] == "infogan":
        assert {"mi", "generator/information", "discriminator/information"} <= metrics.keys()


@pytest.mark.parametrize("preset", [name for name in TIMED if name.values[0] not in OF_INFOGAN])
def test_a_preset_of_another_model_trains_infogan(preset: str, sets: dict[str, Path], tmp_path: Path) -> None:
    run = train("infogan", preset, sets[preset], tmp_path / "run")
    assert run.config.model == "infogan"
    (metrics,) = run.metrics()
    assert {"mi", "generator/information", "discriminator/information"} <= metrics.keys()


@pytest.mark.parametrize("preset", ["faces-32", "cifar10"])
def test_the_command_line_trains_infogan_on_a_preset(preset: str, sets: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "run"
    ended = zoo(
        *("train", "infogan", "--config", preset, "--data", sets[preset], *FLAGS, "--out", out),
        *("--steps", steps_of("infogan", preset)),
    )
    assert ended.code == 0, ended.err
    assert tomllib.loads((out / "config.toml").read_text())["model"] == "infogan"
    assert (out / "samples" / "traversal.png").is_file()


@pytest.mark.parametrize(("model", "preset"), COVER)
def test_a_preset_of_infogan_trains_another_model(
    model: str, preset: str, sets: dict[str, Path], tmp_path: Path
) -> None:
    run = train(model, preset, sets[preset], tmp_path / "run")
    assert run.config.model == model
    (metrics,) = run.metrics()
    assert {"discriminator/adversarial", "generator/adversarial"} <= metrics.keys()
    assert "mi" not in metrics
    assert "infogan" not in (run.folder / "config.toml").read_text().replace("infogan-mnist", "")


@pytest.mark.parametrize("preset", ["mnist-5k", "faces-32"])
def test_a_preset_of_infogan_trains_its_extension_on_its_codes(
    preset: str, sets: dict[str, Path], tmp_path: Path
) -> None:
    run = train("infogan-cr", preset, sets[preset], tmp_path / "run")
    own = run.config.model_dump()["infogan_cr"]
    assert own.items() >= resolve("infogan", preset).model_dump()["infogan"].items()
    (metrics,) = run.metrics()
    assert {"mi", "generator/contrast", "discriminator/contrast", "contrast_accuracy"} <= metrics.keys()


@pytest.mark.slow
@pytest.mark.parametrize(("model", "preset"), [pair for pair in CROSS if pair not in COVER])
def test_every_preset_of_infogan_trains_every_other_model(
    model: str, preset: str, sets: dict[str, Path], tmp_path: Path
) -> None:
    test_a_preset_of_infogan_trains_another_model(model, preset, sets, tmp_path)


def test_the_quick_pairs_cover_every_model_and_every_preset() -> None:
    assert {model for model, _ in COVER} == set(OTHERS)
    assert {preset for _, preset in COVER} == set(OF_INFOGAN)


@pytest.mark.slow
def test_stylegan2_trains_on_the_preset_of_its_trunk_alone(sets: dict[str, Path], tmp_path: Path) -> None:
    preset = "faces-stylegan2-256"
    assert "generator/path_length" in train("stylegan2", preset, sets[preset], tmp_path / "run").metrics()[0]
    with pytest.raises(InputError, match="trunk dcgan has no mapping network"):
        train("stylegan2", "celeba-64", sets["celeba-64"], tmp_path / "other")


@pytest.mark.parametrize("model", ["r3gan", "stylegan2"])
def test_a_model_in_stages_trains_on_the_bundled_digits_as_it_is(model: str, tmp_path: Path) -> None:
    ended = zoo("train", model, "--steps", 1, "--batch-size", 2, "--trunk.widths", 1, "--out", tmp_path / "run")
    assert ended.code == 0, ended.err
    assert f"no --config given: using preset mnist-5k-{model}" in ended.out + ended.err
    assert gan_zoo.load(tmp_path / "run").config.data.resolution == 32


def test_other_sets_and_models_have_presets_as_before() -> None:
    assert resolve("stylegan2", None, {"data": "faces.npz"}).trunk.widths == ()
    assert resolve("stylegan2-ada").trunk.widths == ()
    assert resolve("wgan-gp").training.steps == resolve(config="mnist-5k").training.steps


def test_a_file_turns_from_dcgan_to_infogan_by_its_one_word(tmp_path: Path) -> None:
    data = write_set(tmp_path / "set.npz")
    file = tmp_path / "mine.toml"
    common = f"[data]\nname = '{data}'\n[trunk]\nname = 'dcgan'\nwidth = 2\n[training]\nsteps = 2\nbatch_size = 4\n"
    for model in ("dcgan", "infogan"):
        file.write_text(f'model = "{model}"\n{common}')
        ended = zoo("train", "--config", file, "--out", tmp_path / model)
        assert ended.code == 0, ended.err
        assert gan_zoo.load(tmp_path / model).config.model == model


def test_the_bundled_preset_needs_no_data(tmp_path: Path) -> None:
    run = gan_zoo.train("infogan", out=tmp_path / "run", quiet=True, steps=1, **{"trunk.width": 2, "device": "cpu"})
    assert run.config.data.name == "mnist-5k"
    assert (run.config.data.resolution, run.config.data.classes) == (28, 10)


def test_the_preset_of_sprites_needs_no_data(tmp_path: Path) -> None:
    run = gan_zoo.train(None, "sprites-32", out=tmp_path / "run", quiet=True, steps=1, **SMALL)
    assert run.config.data.name == "sprites"
    assert (run.config.data.resolution, run.config.data.classes) == (32, 3)
    assert run.config.model_dump()["infogan"]["codes"] == "uniform:5"
