"""A model swapped into a configuration, the preset where none is named, and where each value comes from."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from gan_zoo.config import Latent
from gan_zoo.config_text import to_toml
from gan_zoo.registry import models, presets
from gan_zoo.resolve import resolve, trace
from gan_zoo.trees import flat


@pytest.mark.parametrize("swapped", ["infogan", "infogan-cr"])
@pytest.mark.parametrize("model", ["wgan-gp", "sngan", "r3gan", "dcgan"])
def test_a_model_s_name_as_preset_brings_its_networks_loss_and_optimizer(model: str, swapped: str) -> None:
    before = resolve(model, {})
    for after in (resolve(swapped, model), resolve(config={"preset": model, "model": swapped})):
        assert after.model == swapped
        for table in ("trunk", "loss", "optimizer", "training"):
            assert getattr(after, table) == getattr(before, table)
    assert resolve(config=model) == resolve(config={"preset": model}) == before


@pytest.mark.parametrize("model", models.entries)
@pytest.mark.parametrize("written_for", ["wgan-gp", "dcgan", "infogan"])
def test_the_word_in_the_file_and_on_the_command_line_are_the_same(
    written_for: str, model: str, tmp_path: Path
) -> None:
    theirs, changed = tmp_path / "theirs.toml", tmp_path / "changed.toml"
    rest = "[trunk]\nwidth = 8\n[training]\nsteps = 7\n"
    theirs.write_text(f'model = "{written_for}"\n{rest}')
    changed.write_text(f'model = "{model}"\n{rest}')
    assert resolve(model, theirs) == resolve(config=changed)


@pytest.mark.parametrize("model", models.entries)
@pytest.mark.parametrize("preset", presets())
def test_a_preset_is_swapped_by_its_word_or_on_the_command_line_alike(preset: str, model: str, tmp_path: Path) -> None:
    text = presets()[preset].read_text(encoding="utf-8")
    word = f'model = "{resolve(config=preset).model}"'
    assert text.count(word) == 1
    assert resolve(model, preset) == resolve(config=tomllib.loads(text.replace(word, f'model = "{model}"')))
    written = tmp_path / "config.toml"
    written.write_text(text := to_toml(resolve(config=preset)))
    assert resolve(model, written) == resolve(config=tomllib.loads(text.replace(word, f'model = "{model}"')))


@pytest.mark.parametrize("preset", presets())
def test_infogan_trains_on_a_preset_s_networks_with_its_loss_and_optimizer(preset: str) -> None:
    theirs = resolve(config=preset)
    for model in ("infogan", "infogan-cr"):
        mine = resolve(model, preset)
        for table in ("data", "latent", "trunk", "loss", "optimizer", "training", "logging"):
            assert getattr(mine, table) == getattr(theirs, table)


@pytest.mark.parametrize("preset", presets())
def test_a_preset_states_all_that_its_model_s_defaults_set(preset: str) -> None:
    tree = tomllib.loads(presets()[preset].read_text(encoding="utf-8"))
    assert flat(models.get(tree["model"]).defaults).keys() <= flat(tree).keys()


def test_a_choice_of_networks_brings_its_own_where_the_configuration_is_silent() -> None:
    swapped = resolve("lsgan", {"model": "wgan-gp", "trunk": {"width": 8}})
    assert (swapped.loss.adversarial, swapped.loss.gradient_penalty) == ("least-squares", 0.0)
    assert swapped.trunk.width == 8


def test_what_a_swapped_configuration_leaves_open_is_told(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.toml"
    theirs.write_text('model = "wgan-gp"\n[optimizer]\nbeta1 = 0.1\n')
    (note,) = trace("infogan", theirs, {"generator_lr": 1e-4}).notes
    for words in ("theirs.toml", "loss.gradient_penalty = 0.0", "loss.gradient_penalty = 10.0", 'preset = "wgan-gp"'):
        assert words in note
    for stated in ("beta1", "generator_lr"):
        assert stated not in note
    for nothing_open in (trace("wgan-gp", theirs), trace("infogan", "wgan-gp"), trace("sngan", "mnist-5k")):
        assert nothing_open.notes == ()


def test_a_loss_that_is_not_the_model_s_own_is_told() -> None:
    (note,) = trace("lsgan", "cifar10").notes
    assert "loss.adversarial = 'hinge'" in note
    assert "lsgan's loss.adversarial = 'least-squares'" in note


def test_the_preset_that_is_used_where_none_is_named_gives_data_and_budget_only() -> None:
    tree = resolve("sngan")
    assert (tree.data.name, tree.trunk.name, tree.trunk.spectral_norm) == ("mnist-5k", "resnet", True)
    assert tree.training.steps == resolve("infogan").training.steps
    assert (tree.latent, tree.optimizer.schedule) == (Latent(), "constant")
    assert resolve("infogan").trunk.name == "infogan-mnist"
    assert trace("sngan").notes == trace("infogan").notes == ()


@pytest.mark.parametrize("model", ["infogan-cr", "infovae"])
def test_a_model_that_extends_another_gets_its_preset(model: str) -> None:
    assert resolve(model) == resolve(model, "mnist-5k")
    assert trace(model, None, {"data": "faces"}).config.trunk == resolve("infogan", "folder-64").trunk


@pytest.mark.parametrize(
    ("data", "preset"),
    [("fashion-mnist",) * 2, ("cifar10",) * 2, ("svhn",) * 2, ("mnist",) * 2, ("sprites", "sprites-32")],
)
def test_a_named_set_has_its_preset(data: str, preset: str) -> None:
    found = trace("infogan", None, {"data": data})
    assert found.config == resolve("infogan", preset)
    assert found.notes == (f"no --config given: using preset {preset}",)


@pytest.mark.parametrize(
    "data", [{"data": "faces"}, {"data": {"name": "folder", "path": "mnist-5k"}}, {"data.name": "celeba-64"}]
)
def test_a_set_of_one_s_own_does_not_get_the_recipe_for_digits(data: dict[str, object]) -> None:
    found = trace("infogan", None, data)
    own, preset = found.config.model_dump(), resolve("infogan", "folder-64").model_dump()
    assert own | {"data": preset["data"]} == preset
    assert (own["data"]["warp"], own["data"]["augment"], own["data"]["resolution"]) == ("", "", None)
    assert found.notes == ("no --config given: using preset folder-64 without its [data]",)
    assert trace("infogan", None, {**data, "data.resolution": 32}).config.data.resolution == 32


def test_a_set_of_one_s_own_leaves_another_model_its_networks() -> None:
    found = trace("sngan", None, {"data": "faces"})
    assert (found.config.trunk, found.config.loss) == (resolve("sngan", {}).trunk, resolve("sngan", {}).loss)
    assert found.config.training.steps == resolve("dcgan", "folder-64").training.steps
    assert "folder-64, only its [training] and [logging]" in found.notes[0]


def test_every_value_says_where_it_came_from(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('preset = "mnist-5k"\n[trunk]\nwidth = 8\n[infogan]\nspread = 1.0\n')
    found = trace("wgan-gp", file, {"steps": 3})
    text = to_toml(found.config, found.origins)
    assert resolve(config=tomllib.loads(text)) == found.config
    for line in (
        "steps = 3  # flag",
        'name = "mnist-5k"  # preset mnist-5k',
        f"width = 8  # file {file}",
        "gradient_penalty = 10.0  # model wgan-gp",
        "seed = 0  # default",
    ):
        assert line in text.splitlines()
    swapped = trace("infogan-cr", file)
    assert swapped.origins["infogan_cr.spread"] == f"file {file}"
    assert swapped.origins["infogan_cr.codes"] == "preset mnist-5k"
    listed = trace("infogan", "mnist-5k-imbalanced")
    assert resolve(config=tomllib.loads(to_toml(listed.config, listed.origins))) == listed.config


def test_a_file_of_any_name_stays_a_comment(tmp_path: Path) -> None:
    file = tmp_path / "two\nlines\udce9.toml"
    file.write_text('model = "gan"\nseed = 3\n')
    found = trace(None, file)
    assert resolve(config=tomllib.loads(to_toml(found.config, found.origins))) == found.config
