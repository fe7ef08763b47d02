"""The loop: a run's files, what its result depends on, and how it fails."""

from __future__ import annotations

import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from narrow import Game, around_steps, narrow_config, narrow_train, one_line, weights
from PIL import Image
from torch.optim.optimizer import register_optimizer_step_pre_hook

from gan_zoo import api
from gan_zoo.errors import InputError, TrainingError
from gan_zoo.resolve import resolve
from gan_zoo.training import loop
from gan_zoo.training.run import Run
from gan_zoo.training.state import State

ALWAYS = {"step", "images_per_second"}


def told(run: Run) -> list[dict[str, float]]:
    return [{k: v for k, v in line.items() if k != "images_per_second"} for line in run.metrics()]


def test_a_run_folder_holds_what_it_promises(tmp_path: Path) -> None:
    run = narrow_train("infogan", tmp_path / "run", training__steps=4, logging__sample_every=2)
    assert run.folder == tmp_path / "run"
    assert {path.name for path in run.folder.iterdir()} == {
        "config.toml",
        "environment.json",
        "data.json",
        "metrics.jsonl",
        "checkpoints",
        "samples",
        ".lock",
    }
    assert {path.name for path in run.samples.iterdir()} == {"step-00000002.png", "step-00000004.png"}
    environment = json.loads((run.folder / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__
    assert {"python", "platform", "device", "git", "packages"} <= environment.keys()


def test_the_resolved_tree_is_written_down_and_trains_the_same_run_again(tmp_path: Path) -> None:
    first = narrow_train("infogan", tmp_path / "a", training__steps=3, infogan__codes="categorical:4, gaussian:1")
    tree = tomllib.loads((first.folder / "config.toml").read_text())
    assert tree["data"] | {"resolution": 28, "channels": 1, "classes": 10} == tree["data"]
    assert resolve(config=first.folder / "config.toml") == first.config
    again = api.train(config=first.folder / "config.toml", out=tmp_path / "b", quiet=True)
    assert told(again) == told(first)


@pytest.mark.parametrize("model", ["gan", "infovae"])  # the losses of all models are in their golden curves
def test_a_line_of_metrics_names_the_step_the_speed_and_each_loss(model: str, tmp_path: Path) -> None:
    run = narrow_train(model, tmp_path, training__steps=2, training__discriminator_steps=1, trunk__width=2)
    assert [line["step"] for line in run.metrics()] == [1, 2]
    for line in run.metrics():
        loss = "reconstruction" if model == "infovae" else "adversarial"
        assert line.keys() >= ALWAYS | {f"discriminator/{loss}", f"generator/{loss}"}
        assert line["images_per_second"] > 0
        assert all(isinstance(value, int | float) for value in line.values())


def test_infogan_s_lines_tell_the_bound_by_code_and_in_total_beside_the_entropy(tmp_path: Path) -> None:
    run = narrow_train("infogan", tmp_path, training__steps=3)
    for line in run.metrics():
        assert line.keys() == ALWAYS | {
            "discriminator/adversarial", "generator/adversarial", "discriminator/information", "generator/information",
            "mi", "mi/c1", "mi/c2", "mi/c3", "entropy/c1",
        }  # fmt: skip
        assert line["mi"] == pytest.approx(line["mi/c1"] + line["mi/c2"] + line["mi/c3"], abs=1e-5)
        assert line["entropy/c1"] == pytest.approx(math.log(10), rel=1e-6)
        assert line["mi/c1"] <= line["entropy/c1"]


def test_a_line_is_the_mean_since_the_line_before(tmp_path: Path) -> None:
    every = narrow_train("infogan", tmp_path / "every", training__steps=7)
    third = narrow_train("infogan", tmp_path / "third", training__steps=7, logging__log_every=3)
    single = told(every)
    assert [line["step"] for line in third.metrics()] == [3, 6, 7]
    for line, group in zip(told(third), (single[:3], single[3:6], single[6:]), strict=True):
        for name in line.keys() - {"step"}:
            assert line[name] == pytest.approx(sum(one[name] for one in group) / len(group), rel=1e-5, abs=1e-6)


def test_a_term_that_is_not_there_at_every_step_does_not_hide_the_steps_of_the_others(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"training__steps": 4, "loss__r1": 1.0, "loss__penalty_interval": 2}
    single = told(narrow_train("gan", tmp_path / "every", **settings))
    (line,) = told(narrow_train("gan", tmp_path / "once", logging__log_every=4, **settings))
    assert ["discriminator/r1" in one for one in single] == [True, False, True, False]
    expected = sum(one["discriminator/adversarial"] for one in single) / 4
    assert line["discriminator/adversarial"] == pytest.approx(expected, rel=1e-6)
    assert line["discriminator/r1"] == pytest.approx(
        (single[0]["discriminator/r1"] + single[2]["discriminator/r1"]) / 2
    )


def test_logging_checkpoints_and_pictures_leave_the_run_as_it_is(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"training__steps": 6, "data__augment": "shift, cutout"}
    bare = narrow_train("infogan", tmp_path / "a", logging__log_every=6, **settings)
    busy = narrow_train("infogan", tmp_path / "b", logging__sample_every=1, logging__checkpoint_every=1, **settings)
    last = "checkpoints/step-00000006/model.safetensors"
    assert (bare.folder / last).read_bytes() == (busy.folder / last).read_bytes()


@pytest.mark.parametrize("model", ["infogan", "wgan-gp"])
def test_the_same_seed_is_the_same_run_and_another_seed_another(model: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = told(narrow_train(model, tmp_path / "a", training__steps=4, data__augment="shift"))
    torch.manual_seed(2)
    again = told(narrow_train(model, tmp_path / "b", training__steps=4, data__augment="shift"))
    other = told(narrow_train(model, tmp_path / "c", training__steps=4, data__augment="shift", seed=1))
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_training_leaves_global_random_numbers_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    narrow_train("infogan", tmp_path, training__steps=2)
    assert torch.equal(torch.rand(2), expected)


def test_parts_of_a_batch_add_up_to_the_batch() -> None:
    norms = {"trunk__generator_norm": "none", "trunk__discriminator_norm": "none", "infogan__head_norm": "none"}
    drawing = {"data__augment": "flip, shift, brightness", "loss__gradient_penalty": 1.0}
    gradients: list[list[torch.Tensor]] = []
    after = []
    for parts in (1, 2, 4):
        game = Game("infogan", training__accumulate=parts, loss__r1=1.0, **drawing, **norms)
        kept: list[torch.Tensor] = []
        hook = register_optimizer_step_pre_hook(
            lambda optimizer, *_, kept=kept: kept.extend(
                p.grad.clone() for group in optimizer.param_groups for p in group["params"]
            )
        )
        game.step(0)
        hook.remove()
        gradients.append(kept)
        after.append(weights(game.model))
    for other_gradients, other_weights in zip(gradients[1:], after[1:], strict=True):
        assert len(other_gradients) == len(after[0])
        for a, b in zip(gradients[0], other_gradients, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-6)
        # Adam's first step has the size of the learning rate, 1e-3; tiny gradients lose digits to the sum's order.
        for name, value in after[0].items():
            difference = (value - other_weights[name]).abs()
            assert difference.max() <= 2e-4, name
            assert difference.mean() <= 2e-6, name


@pytest.mark.parametrize("accumulate", [3, 16])
def test_parts_that_do_not_divide_the_batch_are_refused(accumulate: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not divisible by") as error:
        narrow_train("gan", tmp_path / "run", training__accumulate=accumulate)
    assert f"training.accumulate = {accumulate}" in one_line(error)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("settings", [{"training__batch_size": 1}, {"training__accumulate": 8}])
def test_batch_norm_over_single_images_is_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="batch norm") as error:
        narrow_train("infogan", tmp_path / "run", training__steps=1, **settings)
    assert one_line(error)
    assert not (tmp_path / "run").exists()


def test_single_images_train_without_batch_norm(tmp_path: Path) -> None:
    run = narrow_train("r3gan", tmp_path, training__steps=1, training__batch_size=1)
    assert run.metrics()[-1]["step"] == 1


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("generator_lr", 0.0, "optimizer.generator_lr = 0.0"),
        ("generator_lr", -1e-3, "optimizer.generator_lr = -0.001"),
        ("discriminator_lr", math.nan, "optimizer.discriminator_lr = nan"),
        ("discriminator_lr", math.inf, "optimizer.discriminator_lr = inf"),
        ("generator_lr", "fast", "optimizer.generator_lr = 'fast'"),
        ("beta1", 1.0, "optimizer.beta1 = 1.0"),
        ("beta2", -0.1, "optimizer.beta2 = -0.1"),
        ("schedule", "step", "optimizer.schedule = 'step'"),
        ("warmup", -1, "optimizer.warmup = -1"),
        ("precision", "fp8", "training.precision = 'fp8'"),
        ("precision", "float16", "training.precision = 'float16'"),
        ("device", "gpu", "training.device = 'gpu'"),
        ("device", "", "training.device = ''"),
        ("device", "cuda:99", "training.device = 'cuda:99'"),
        ("device", "meta", "training.device = 'meta'"),
        ("device", "cpu:x", "training.device = 'cpu:x'"),
        ("steps", 0, "training.steps = 0"),
        ("batch_size", 0, "training.batch_size = 0"),
        ("batch_size", 2.5, "training.batch_size = 2.5"),
        ("accumulate", 0, "training.accumulate = 0"),
        ("discriminator_steps", 0, "training.discriminator_steps = 0"),
        ("ema", 1.0, "training.ema = 1.0"),
        ("seed", -1, "seed = -1"),
        ("seed", 2**63, "seed = "),
        ("log_every", 0, "logging.log_every = 0"),
        ("keep", 0, "logging.keep = 0"),
        ("r1", -1.0, "loss.r1 = -1.0"),
        ("penalty_interval", 0, "loss.penalty_interval = 0"),
        ("adversarial", "hing", "hing"),
        ("augment", "wobble", "wobble"),
    ],
)
def test_a_setting_out_of_range_is_refused_in_one_line_and_no_folder_is_made(
    key: str, value: object, told: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as error:
        api.train("gan", out=tmp_path / "run", quiet=True, **{"steps": 1, "device": "cpu", key: value})
    assert told in one_line(error)
    assert not (tmp_path / "run").exists()


def poison(step: int, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a NaN into a weight before `step`."""

    def poisoned(play: Any, state: State) -> Any:
        if state.step == step:
            parameter = next(p for n, p in state.model.named_parameters() if n.startswith(part))
            parameter.data.view(-1)[0] = math.nan
        return play()

    around_steps(monkeypatch, poisoned)


@pytest.mark.parametrize(
    ("part", "term"),
    [("generator", "discriminator/adversarial"), ("q.", "discriminator/information")],
)
@pytest.mark.parametrize("log_every", [1, 100])
def test_a_loss_that_is_not_finite_stops_the_run_by_name_step_and_last_good_checkpoint(
    part: str, term: str, log_every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(7, part, monkeypatch)
    with pytest.raises(TrainingError) as error:
        narrow_train("infogan", tmp_path, training__steps=12, logging__checkpoint_every=5, logging__log_every=log_every)
    good = tmp_path / "checkpoints/step-00000005"
    assert one_line(error) == f"{term} was not finite at step 8; the last good checkpoint is {good}"
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [good.name]
    assert all(value.isfinite().all() for value in weights(api.load(tmp_path)).values())


def test_without_a_checkpoint_before_it_the_message_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poison(1, "generator", monkeypatch)
    with pytest.raises(TrainingError, match=r"not finite at step 2; there is no earlier checkpoint"):
        narrow_train("gan", tmp_path, training__steps=3)


def test_a_weight_that_is_not_finite_never_reaches_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflowing(play: Any, state: State) -> Any:
        objectives = play()
        if state.step == 5:
            next(iter(state.model.generator.parameters())).data.view(-1)[0] = math.inf
        return objectives

    around_steps(monkeypatch, overflowing)
    with pytest.raises(TrainingError, match=r"generator\..*not finite.*step 6.*step-00000003") as error:
        narrow_train("gan", tmp_path, training__steps=9, logging__checkpoint_every=3)
    assert one_line(error)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000003"]


@pytest.mark.parametrize("penalty", ["gradient_penalty", "r1", "r2"])
def test_compiling_with_a_penalty_is_refused_before_a_folder_is_made(penalty: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"training\.compile does not support gradient penalties") as error:
        narrow_train("gan", tmp_path / "run", training__compile=True, **{f"loss__{penalty}": 1.0})
    assert one_line(error)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "order"),
    [
        ("gan", "alternating"),
        ("infogan", "alternating"),
        ("infogan", "simultaneous"),
        ("infogan-cr", "alternating"),
        ("projection-gan", "simultaneous"),
    ],
)
def test_compiled_networks_train_to_the_same_losses(model: str, order: str, tmp_path: Path) -> None:
    settings = {"training__steps": 4, "training__update": order, "trunk__name": "infogan-mnist"}
    settings["training__discriminator_steps"] = 1
    plain = told(narrow_train(model, tmp_path / "plain", **settings))
    compiled = told(narrow_train(model, tmp_path / "compiled", **settings, training__compile=True))
    for a, b in zip(plain, compiled, strict=True):
        assert b == pytest.approx(a, rel=1e-3, abs=1e-3)
    assert api.load(tmp_path / "compiled").sample(2).shape == (2, 1, 28, 28)


def test_channels_last_is_another_order_of_the_same_numbers_and_leaves_no_trace_in_a_checkpoint(tmp_path: Path) -> None:
    settings = {"training__steps": 3, "trunk__name": "dcgan", "data__resolution": 32}
    runs = [
        narrow_train("infogan", tmp_path / str(last), training__channels_last=last, **settings)
        for last in (False, True)
    ]
    for a, b in zip(*map(told, runs), strict=True):
        assert b == pytest.approx(a, rel=1e-3, abs=1e-3)
    assert all(p.is_contiguous() for p in runs[1].load().parameters())
    maps: list[bool] = []
    game = Game("infogan", training__channels_last=True, trunk__name="infogan-mnist")
    for layer in game.model.discriminator.trunk.modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.out_channels > 1:
            layer.register_forward_hook(lambda *io: maps.append(io[2].is_contiguous(memory_format=torch.channels_last)))
    game.step()
    assert maps and all(maps)


def test_pictures_show_the_average_s_images_with_the_first_code_across(tmp_path: Path) -> None:
    run = narrow_train("infogan", tmp_path, training__steps=2, infogan__codes="categorical:3, uniform:1")
    picture = Image.open(run.samples / "step-00000002.png")
    assert picture.size == (3 * 86 - 2, 8 * 86 - 2)  # three times 28 pixels, and a gap of two
    latents, columns = loop.preview_latents(run.load())
    assert columns == 3
    assert latents.codes[:, 0].tolist() == [0, 1, 2] * 8
    assert loop.preview_latents(Game("gan").model)[1] == 8


def test_the_seed_and_the_step_decide_a_run_s_latents() -> None:
    config = narrow_config("gan")
    assert torch.equal(Game("gan").latents(4).input, Game("gan").model.prior.sample(8, seed=config.seed, step=4).input)


def test_an_unnamed_run_takes_the_next_free_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {"trunk.width": 2, "batch_size": 4, "steps": 1, "precision": "fp32", "device": "cpu"}
    folders = [api.train("gan", quiet=True, **settings).folder for _ in range(2)]
    assert folders == [Path("runs/gan-mnist-5k-001"), Path("runs/gan-mnist-5k-002")]
    for number in range(4):
        Image.new("L", (16, 16), number).save(f"{number}.png")
    named = api.train("gan", quiet=True, data={"name": ".", "resolution": 16}, **settings).folder
    assert named == Path(f"runs/gan-{tmp_path.name}-001"), "after the folder's own name"


def test_a_quiet_training_prints_nothing_and_a_loud_one_tells_the_bound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    narrow_train("infogan", tmp_path / "quiet", training__steps=1)
    assert capsys.readouterr() == ("", "")
    config = narrow_config("infogan", training__steps=1)
    loop.train(config, out=tmp_path / "loud")
    out = capsys.readouterr().out
    assert "training infogan in" in out
    assert "step 1/1" in out
    assert re.search(r"L_I c1 -?\d\.\d\d/2\.30  c2 -?\d\.\d\d  c3 -?\d\.\d\d nats", out)
    assert "\x1b" not in out
