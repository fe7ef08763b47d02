"""Layers of the configuration, its overrides, its round trip through TOML, and what it refuses."""

from __future__ import annotations

import codecs
import math
import re
from pathlib import Path

import pytest
from commandline import TINY, write_set, zoo
from hypothesis import given, settings
from hypothesis import strategies as st

import gan_zoo
from gan_zoo.config import Config
from gan_zoo.config_text import to_toml
from gan_zoo.errors import InputError
from gan_zoo.registry import loggers, losses, models, presets, trunks
from gan_zoo.resolve import config_type, resolve
from gan_zoo.trees import leaves


def refusal(*args: object, **keywords: object) -> str:
    """The one line in which a configuration is refused."""
    with pytest.raises(InputError) as refused:
        resolve(*args, **keywords)  # type: ignore[arg-type]
    line = str(refused.value)
    assert "\n" not in line
    return line


def test_each_layer_wins_over_the_one_before(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('preset = "mnist-5k"\n[trunk]\nname = "dcgan"\n')
    flags = {"trunk.name": "resnet"}

    default = Config(model="gan").trunk.name
    model = resolve("gan", {}).trunk.name
    preset = resolve("gan", "mnist-5k").trunk.name
    from_file = resolve("gan", file).trunk.name
    flag = resolve("gan", file, flags).trunk.name

    assert [default, model, preset, from_file, flag] == ["dcgan", "mlp", "infogan-mnist", "dcgan", "resnet"]


def test_a_misspelt_key_in_another_model_s_table_is_refused() -> None:
    assert "infogan.coeds" in refusal("dcgan", {"infogan": {"coeds": "uniform:1"}})


@pytest.mark.parametrize("wrong", [3, "infogn"])
def test_a_wrong_model_in_a_configuration_is_refused_though_another_is_named(wrong: object) -> None:
    assert repr(wrong) in refusal("infogan", {"model": wrong})


def test_a_model_s_own_default_wins_over_the_default_and_loses_to_a_preset() -> None:
    assert Config(model="sngan").training.discriminator_steps == 1
    assert resolve("sngan", {}).training.discriminator_steps == 5
    assert resolve("sngan", {"training": {"discriminator_steps": 2}}).training.discriminator_steps == 2
    assert resolve("sngan", {}).optimizer.discriminator_lr == Config(model="sngan").optimizer.discriminator_lr
    assert resolve("wgan-gp", {}).optimizer.discriminator_lr == 1e-4
    assert resolve("wgan-gp", "mnist-5k", {"discriminator_lr": 3e-4}).optimizer.discriminator_lr == 3e-4


def test_a_file_keeps_what_it_does_not_say_from_its_preset(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('preset = "celeba-64"\n[training]\nsteps = 7\n[infogan]\nlambda_discrete = 2.0\n')
    mine, preset = resolve(config=file), resolve(config="celeba-64")
    assert mine.model == "infogan"
    assert mine.training == preset.training.model_copy(update={"steps": 7})
    assert (mine.data, mine.latent, mine.trunk) == (preset.data, preset.latent, preset.trunk)
    assert mine.model_dump()["infogan"] == preset.model_dump()["infogan"] | {"lambda_discrete": 2.0}


def test_without_a_config_the_preset_mnist_5k_is_the_ground() -> None:
    assert resolve("infogan") == resolve("infogan", "mnist-5k")
    assert resolve("infogan") != resolve("infogan", "mnist")
    assert resolve().model == "infogan"


def test_the_model_given_wins_over_the_model_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('model = "dcgan"\n')
    assert resolve(config=file).model == "dcgan"
    assert resolve("infogan", file).model == "infogan"


@pytest.mark.parametrize("preset", presets())
@pytest.mark.parametrize("model", models.entries)
def test_the_resolved_tree_of_every_preset_and_model_comes_back(model: str, preset: str, tmp_path: Path) -> None:
    tree = resolve(model, preset)
    file = tmp_path / "config.toml"
    file.write_text(to_toml(tree))
    assert resolve(config=file) == tree
    assert resolve(model, file) == tree


def test_the_tree_that_a_run_saves_is_the_tree_that_it_gives_again(tmp_path: Path) -> None:
    data = write_set(tmp_path / "set.npz")
    run = gan_zoo.train(
        "infogan", out=tmp_path / "run", quiet=True, data=data, steps=1, batch_size=4, width=2, device="cpu",
        codes="uniform:3, bernoulli(0.25):1", generator_lr=3e-4,
    )  # fmt: skip
    again = resolve(config=tmp_path / "run" / "config.toml")
    assert again == run.config
    assert again.data.name == str(data)
    assert (again.data.resolution, again.data.channels, again.data.classes) == (28, 1, 10)
    assert to_toml(again) == (tmp_path / "run" / "config.toml").read_text()
    second = zoo("train", "--config", tmp_path / "run" / "config.toml", "--out", tmp_path / "second")
    assert second.code == 0, second.err
    assert (tmp_path / "second" / "config.toml").read_text() == to_toml(again)


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
positive = st.integers(1, 2**40)
rate = st.floats(0, 10, exclude_min=True)
weight = st.floats(0, 1e9)
fraction = st.floats(0, 1, exclude_max=True)
norm = st.sampled_from(["batch", "layer", "none"])
VALUES = {
    "seed": st.integers(0, 2**63 - 1),
    "data.name": text,
    "data.path": text,
    "data.resolution": st.integers(4, 1024),
    "data.channels": st.sampled_from([1, 3]),
    "data.classes": st.integers(0, 100),
    "data.augment_fakes": st.booleans(),
    "data.memory": weight,
    "latent.noise": st.integers(0, 999),
    "latent.distribution": st.sampled_from(["normal", "uniform"]),
    "trunk.name": st.sampled_from(list(trunks.entries)),
    "trunk.width": positive,
    "trunk.widths": st.lists(positive, max_size=3).map(tuple),
    "trunk.generator_norm": norm,
    "trunk.spectral_norm": st.booleans(),
    "loss.adversarial": st.sampled_from(list(losses.entries)),
    "loss.gradient_penalty": weight,
    "loss.r1": weight,
    "loss.penalty_interval": positive,
    "optimizer.generator_lr": rate,
    "optimizer.beta1": fraction,
    "optimizer.schedule": st.sampled_from(["constant", "linear", "cosine"]),
    "training.steps": positive,
    "training.precision": st.sampled_from(["fp32", "bf16", "fp16"]),
    "training.device": text,
    "training.ema": fraction,
    "logging.trackers": st.lists(st.sampled_from(list(loggers.entries)), max_size=2).map(tuple),
    "infogan.codes": st.sampled_from(["categorical:10x4, uniform:2", "gaussian:1", "bernoulli(0.3):2"]),
    "infogan.lambda_continuous": weight,
    "infogan.log_variance_min": st.floats(-20, 3),
    "infogan.trains": st.sampled_from(["generator+q+trunk", "generator+q", "q"]),
}


def test_every_key_of_the_random_trees_exists() -> None:
    assert set(VALUES) <= set(leaves(config_type("infogan")))


@given(st.fixed_dictionaries({}, optional=VALUES), st.sampled_from(sorted(presets())))
@settings(max_examples=100, deadline=None)
def test_a_random_tree_comes_back_from_its_toml(
    tmp_path_factory: pytest.TempPathFactory, overrides: dict[str, object], preset: str
) -> None:
    if "categorical" not in overrides.get("infogan.codes", "categorical"):
        overrides = overrides | {"infogan.prior": "uniform"}  # a learned one is refused there, and a preset has it
    tree = resolve("infogan", preset, overrides)
    file = tmp_path_factory.mktemp("tree") / "config.toml"
    file.write_text(to_toml(tree), encoding="utf-8")
    assert resolve(config=file) == tree
    dumped = tree.model_dump()
    for key, value in overrides.items():
        held = dumped
        for part in key.split("."):
            held = held[part]
        assert held == value


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[trainin]\nsteps = 3", ["table", "'trainin'", "'training'"]),
        ("[training]\nstep = 3", ["key", "'training.step'", "'training.steps'"]),
        ("sede = 3", ["key", "'sede'", "'seed'"]),
        ("[infogn]\ncodes = 'uniform:1'", ["table", "'infogn'", "'infogan'"]),
        ("[infogan]\ncode = 'uniform:1'", ["key", "'infogan.code'", "'infogan.codes'"]),
        ('preset = "mnist5k"', ["preset", "'mnist5k'", "'mnist-5k'"]),
        ('model = "infogen"', ["model", "'infogen'", "'infogan'"]),
        ('[trunk]\nname = "dcgann"', ["trunk.name", "'dcgann'", "'dcgan'"]),
        ('[loss]\nadversarial = "hing"', ["loss.adversarial", "'hing'", "'hinge'"]),
    ],
)
def test_an_unknown_name_in_a_file_is_refused_with_the_file_and_the_nearest_known(
    content: str, words: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(content if "model" in content else f'model = "infogan"\n{content}')
    line = refusal(config=file)
    for word in words:
        assert word in line
    if not content.startswith("model"):
        assert str(file) in line
    assert "did you mean" in line


@pytest.mark.parametrize(
    ("flag", "meant"),
    [("--training.step", "--training.steps"), ("--infogan.code", "--infogan.codes"), ("--sede", "--seed")],
)
def test_an_unknown_flag_is_refused_with_the_nearest_known(flag: str, meant: str) -> None:
    ended = zoo("train", "infogan", flag, "3")
    assert ended.code == 2
    assert flag in ended.err
    assert meant in ended.err.replace(flag, "", 1)


@pytest.mark.parametrize(
    ("keyword", "meant"),
    [("step", "'steps'"), ("training.step", "'training.steps'"), ("trainin.steps", "'training'")],
)
def test_an_unknown_keyword_is_refused_with_the_nearest_known(keyword: str, meant: str) -> None:
    with pytest.raises(InputError, match="did you mean") as refused:
        gan_zoo.create("infogan", **{keyword: 3})
    assert meant in str(refused.value)


def test_an_unknown_key_in_a_keyword_s_table_is_refused_with_the_nearest_known() -> None:
    assert "did you mean 'trunk.width'" in refusal("infogan", overrides={"trunk": {"widht": 3}})


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"training": {"steps": "many"}}, ["training.steps", "'many'", "integer"]),
        ({"training": {"steps": "5"}}, ["training.steps", "'5'", "integer"]),
        ({"training": {"steps": True}}, ["training.steps", "True", "integer"]),
        ({"training": {"steps": 2.5}}, ["training.steps", "2.5", "integer"]),
        ({"training": {"steps": 0}}, ["training.steps", "0", "greater than or equal to 1"]),
        ({"training": {"steps": {"a": 1}}}, ["training.steps", "integer"]),
        ({"training": {"compile": "yes"}}, ["training.compile", "'yes'", "boolean"]),
        ({"training": {"precision": "fp8"}}, ["training.precision", "'fp8'", "'fp32', 'bf16' or 'fp16'"]),
        ({"training": {"ema": 1.0}}, ["training.ema", "1.0", "less than 1"]),
        ({"training": {"ema": math.nan}}, ["training.ema", "nan"]),
        ({"training": {"device": 0}}, ["training.device", "0", "string"]),
        ({"optimizer": {"generator_lr": 0}}, ["optimizer.generator_lr", "0", "greater than 0"]),
        ({"optimizer": {"generator_lr": math.inf}}, ["optimizer.generator_lr", "inf", "finite"]),
        ({"optimizer": {"generator_lr": math.nan}}, ["optimizer.generator_lr", "nan"]),
        ({"loss": {"r1": -1}}, ["loss.r1", "-1", "greater than or equal to 0"]),
        ({"loss": {"r1": math.nan}}, ["loss.r1", "nan"]),
        ({"data": {"channels": 2}}, ["data.channels", "2", "1 or 3"]),
        ({"data": {"resolution": 3}}, ["data.resolution", "3", "greater than or equal to 4"]),
        ({"data": {"name": 3}}, ["data.name", "3", "string"]),
        ({"data": 3}, ["data", "table", "3"]),
        ({"seed": -1}, ["seed", "-1", "greater than or equal to 0"]),
        ({"seed": 2**63}, ["seed", str(2**63), "less than"]),
        ({"infogan": {"codes": "x:3"}}, ["infogan.codes", "'x:3'", "categorical:K"]),
        ({"infogan": {"log_variance_min": 5.0}}, ["log_variance_min", "5", "below log_variance_max", "4"]),
        ({"infogan": {"log_variance_min": math.nan}}, ["log_variance_min", "nan"]),
        ({"dcgan": 3}, ["dcgan", "table of model dcgan", "3"]),
    ],
)
def test_a_wrong_value_is_told_with_its_key_and_what_is_accepted(tree: dict[str, object], words: list[str]) -> None:
    line = refusal("infogan", tree)
    for word in ["config", *words]:
        assert word in line


def test_a_wrong_value_is_laid_to_the_layer_that_brought_it() -> None:
    assert "mnist" not in refusal("infogan", "mnist-5k", {"steps": -1})
    assert refusal("infogan", {"training": {"steps": -1}}, {"batch_size": 2}).startswith("config: ")


def test_several_wrong_values_are_told_together() -> None:
    line = refusal("infogan", {"seed": -1, "training": {"steps": 0}})
    assert "seed = -1" in line
    assert "training.steps = 0" in line


def test_a_table_of_another_registered_model_is_dropped() -> None:
    tree = {"infogan": {"codes": "uniform:1"}, "acgan": {"class_weight": 2.0}}
    assert resolve("dcgan", tree) == resolve("dcgan", {})
    assert resolve("infogan", tree) == resolve("infogan", {"infogan": {"codes": "uniform:1"}})


CODES = {"codes": "uniform:5", "head_width": 64}


def own(*args: object) -> dict[str, object]:
    """The own table of the model that is named first."""
    tree = resolve(*args).model_dump()  # type: ignore[arg-type]
    table: dict[str, object] = tree[tree["model"].replace("-", "_")]
    return table


def test_a_model_takes_over_the_table_of_the_model_that_it_extends() -> None:
    table = own("infogan-cr", {"model": "infogan", "infogan": CODES})
    assert table.items() >= CODES.items()
    assert table["contrast"] == own("infogan-cr", {})["contrast"]
    assert "infogan" not in resolve("infogan-cr", {"infogan": CODES}).model_dump()
    assert own("infogan-cr")["codes"] == own("infogan")["codes"]


def test_a_model_takes_over_what_the_table_of_its_extension_says_of_its_keys() -> None:
    table = own("infogan", {"model": "infogan-cr", "infogan_cr": CODES | {"contrast": 3.0}})
    assert table == own("infogan", {"infogan": CODES})


@pytest.mark.parametrize(("model", "wins"), [("infogan", "uniform:2"), ("infogan-cr", "uniform:3")])
def test_a_model_s_own_table_wins_over_a_relative_s(model: str, wins: str) -> None:
    tree = {"infogan_cr": {"codes": "uniform:3"}, "infogan": {"codes": "uniform:2", "head_width": 64}}
    assert (own(model, tree)["codes"], own(model, tree)["head_width"]) == (wins, 64)
    assert own(model, tree) == own(model, dict(reversed(tree.items())))


def test_flags_win_over_a_relative_s_table() -> None:
    assert resolve("infogan-cr", {"infogan": CODES}, {"codes": "gaussian:2"}).model_dump()["infogan_cr"]["codes"] == (
        "gaussian:2"
    )


def test_a_model_that_extends_nothing_takes_over_no_table() -> None:
    assert resolve("acgan", {"infogan": CODES, "infogan_cr": CODES}) == resolve("acgan", {})


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"infogan": {"coeds": "uniform:1"}}, ["'infogan.coeds'", "'infogan.codes'"]),
        ({"infogan": {"codes": "x:3"}}, ["infogan_cr.codes", "'x:3'"]),
        ({"infogan": CODES, "infogan_cr": 3}, ["infogan_cr must be a table", "3"]),
        ({"infogan": CODES, "infogan_cr": {"contrasts": 3}}, ["'infogan_cr.contrasts'", "'infogan_cr.contrast'"]),
    ],
)
def test_a_relative_s_table_is_checked_as_it_stands(tree: dict[str, object], words: list[str]) -> None:
    line = refusal("infogan-cr", tree)
    assert all(word in line for word in words)


def test_a_table_that_the_model_itself_does_not_have_is_refused() -> None:
    assert "unknown table 'dcgan'" in refusal("dcgan", {"dcgan": {"width": 3}})
    assert "unknown table 'infogn'" in refusal("dcgan", {"infogn": {}})


def test_overrides_name_leaves_dotted_keys_and_tables() -> None:
    tree = resolve(
        "infogan",
        overrides={
            "steps": 3,
            "training.batch_size": 5,
            "trunk": {"width": 7, "spectral_norm": True},
            "codes": "gaussian:2",
            "infogan.lambda_continuous": 0.5,
            "seed": 9,
        },
    )
    assert (tree.training.steps, tree.training.batch_size, tree.seed) == (3, 5, 9)
    assert (tree.trunk.width, tree.trunk.spectral_norm, tree.trunk.name) == (7, True, "infogan-mnist")
    own = tree.model_dump()["infogan"]
    assert (own["codes"], own["lambda_continuous"]) == ("gaussian:2", 0.5)


def test_data_and_trunk_are_given_by_name() -> None:
    tree = resolve("infogan", overrides={"data": Path("some") / "set.npz", "trunk": "mlp"})
    assert (tree.data.name, tree.trunk.name) == (str(Path("some") / "set.npz"), "mlp")


def test_a_leaf_of_several_tables_has_to_be_named_in_full() -> None:
    line = refusal("infogan", overrides={"name": "mlp"})
    assert "data.name" in line
    assert "trunk.name" in line
    assert resolve("infogan", overrides={"trunk.name": "mlp"}).trunk.name == "mlp"


def test_no_line_of_pydantic_s_is_told_as_it_is() -> None:
    for tree in ({"seed": "x"}, {"data": {"name": 1}}, {"training": {"compile": 3}}, {"logging": {"trackers": 3}}):
        assert not re.search(r"[Ii]nput should|validation error|type=", refusal("gan", tree))


def test_trees_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        resolve("infogan").training.steps = 3  # type: ignore[misc]


@pytest.mark.parametrize("content", [b"[data\n", b"steps = ", b"\xff\xfe", b"a = 1\na = 2", b"x = " + b"[" * 9999])
def test_a_damaged_file_is_told_in_one_line(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "damaged.toml"
    file.write_bytes(content)
    line = refusal("infogan", file)
    assert str(file) in line
    assert "TOML" in line


def test_a_byte_order_mark_is_passed_over_and_utf_16_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(codecs.BOM_UTF8 + b'model = "gan"\nseed = 3\n')
    assert resolve(config=file).seed == 3
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        file.write_bytes('model = "gan"\n'.encode(encoding))
        line = refusal(config=file)
        assert "UTF-16" in line
        assert "save it as UTF-8" in line


def test_a_file_without_a_model_asks_for_one(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("seed = 3\n")
    assert "names no model" in refusal(config=file)
    assert resolve("gan", file).seed == 3


def test_flags_win_over_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('preset = "mnist-5k"\nseed = 3\n[training]\nsteps = 50\n[logging]\nlog_every = 9\n')
    data = write_set(tmp_path / "set.npz")
    ended = zoo("train", "infogan", "--config", file, "--data", data, *TINY, "--out", tmp_path / "run")
    assert ended.code == 0, ended.err
    tree = resolve(config=tmp_path / "run" / "config.toml")
    assert (tree.training.steps, tree.logging.log_every, tree.seed) == (2, 9, 3)


@pytest.mark.parametrize("flags", [{"contrast": 3.0}, {"infogan_cr": {"contrast": 3.0}}, {"infogan_cr.contrast": 3.0}])
def test_a_flag_leaves_the_other_values_of_a_preset_s_table(flags: dict[str, object]) -> None:
    preset = resolve("infogan-cr", "sprites-32").model_dump()["infogan_cr"]
    assert resolve("infogan-cr", "sprites-32", flags).model_dump()["infogan_cr"] == preset | {"contrast": 3.0}


@pytest.mark.parametrize("table", ["infogan_cr", "infogan-cr"])
def test_a_table_is_spelt_either_way(table: str) -> None:
    tree = {"model": "infogan-cr", "preset": "sprites-32", table: {"contrast": 3.0}}
    found = resolve(None, tree, {"head_width": 33}).model_dump()["infogan_cr"]
    preset = resolve("infogan-cr", "sprites-32").model_dump()["infogan_cr"]
    assert found == preset | {"contrast": 3.0, "head_width": 33}


def test_a_table_under_both_spellings_is_refused() -> None:
    assert "has two tables infogan-cr and infogan_cr" in refusal(
        "infogan-cr", {"infogan_cr": {"codes": "uniform:5"}, "infogan-cr": {"codes": "uniform:6"}}
    )
