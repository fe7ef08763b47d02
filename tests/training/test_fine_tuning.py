"""A new run that starts at another model's weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commandline import write_set, zoo
from narrow import NARROW, around_steps, narrow_train, one_line, same_bytes
from safetensors.torch import load_file
from torch import Tensor

import gan_zoo
from gan_zoo.errors import InputError
from gan_zoo.resolve import trace
from gan_zoo.training.build import new_state
from gan_zoo.training.fine_tuning import CODES_OVER_NOISE, open_source, start_at
from gan_zoo.training.origin import read_origin
from gan_zoo.training.run import Run, open_run
from gan_zoo.training.state import State

BUDGET = {key: value for key, value in NARROW.items() if not key.startswith(("trunk", "latent"))}
FACTS = {"data.resolution": 28, "data.channels": 1, "data.classes": 10}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A GAN on the paper's networks."""
    folder = tmp_path_factory.mktemp("plain") / "gan"
    settings = {"trunk__name": "infogan-mnist", "trunk__discriminator_norm": "batch", "latent__distribution": "uniform"}
    return narrow_train("gan", folder, training__steps=3, **settings)


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An InfoGAN on the paper's networks."""
    folder = tmp_path_factory.mktemp("coded") / "infogan"
    codes = {"infogan__codes": "categorical:4, uniform:2", "infogan__head_width": 8}
    return narrow_train("infogan", folder, training__steps=3, trunk__name="infogan-mnist", **codes)


def tuned(model: str | None, source: Run | Path, out: Path, *, steps: int = 1, **settings: Any) -> Run:
    """A run that starts at a source's weights, with the preset of the bundled digits."""
    given = BUDGET | {key.replace("__", "."): value for key, value in settings.items()}
    folder = source.folder if isinstance(source, Run) else source
    return gan_zoo.train(model, out=out, from_=folder, quiet=True, steps=steps, **given)


def started(model: str, source: Run, **settings: Any) -> tuple[State, list[str]]:
    """The state of such a run at step 0, and the notes on it."""
    opened = open_source(source.folder, None)
    given = FACTS | {key.replace("__", "."): value for key, value in settings.items()}
    state = new_state(trace(model, None, BUDGET | given, opened.networks).config, torch.device("cpu"))
    return state, start_at(state, opened)


def stored(run: Run, step: int, file: str = "model") -> dict[str, Tensor]:
    return load_file(run.checkpoint(step) / f"{file}.safetensors")


def random(state: State) -> dict[str, Tensor]:
    """The weights that the state's model would have without a source."""
    return new_state(state.model.config, torch.device("cpu")).model.state_dict()


def test_codes_are_added_to_a_trained_gan(plain: Run, tmp_path: Path) -> None:
    run = tuned("infogan", plain, tmp_path / "run")
    config = run.config
    assert (config.trunk, config.latent) == (plain.config.trunk, plain.config.latent)  # not the preset's
    assert run.config.data.warp  # the preset's
    first, theirs, average = stored(run, 0), stored(plain, 3), stored(plain, 3, "ema")
    theirs |= {f"generator.{name}": value for name, value in average.items()}
    columns = first.pop("generator.0.weight")
    assert torch.equal(columns[:, :6], theirs.pop("generator.0.weight"))
    assert columns.shape[1] == 6 + 12
    parameters = {name for name, _ in run.load().named_parameters()} - {"generator.0.weight"}
    new = {name for name in parameters if name.startswith("q.")}
    assert parameters - new == parameters & theirs.keys()
    for name in parameters - new:
        assert torch.equal(first[name], theirs[name]), name
    assert first["q.0.weight"].std() > 0


def test_generator_and_average_start_at_the_source_s_average(plain: Run, tmp_path: Path) -> None:
    raw, average = stored(plain, 3), stored(plain, 3, "ema")
    assert not torch.equal(raw["generator.3.weight"], average["3.weight"])
    run = tuned("gan", plain, tmp_path / "run")
    assert torch.equal(stored(run, 0)["generator.3.weight"], average["3.weight"])
    assert torch.equal(stored(run, 0, "ema")["3.weight"], average["3.weight"])
    without = tuned("gan", plain, tmp_path / "without", training__ema=0.0)
    assert torch.equal(stored(without, 0)["generator.3.weight"], average["3.weight"])


def test_columns_of_new_codes_are_fresh_ones_on_the_scale_of_the_noise(plain: Run) -> None:
    state, _ = started("infogan", plain)
    columns, fresh = (weights["generator.0.weight"] for weights in (state.model.state_dict(), random(state)))
    ratio = columns[:, 6:] / fresh[:, 6:]
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio))
    torch.testing.assert_close(columns[:, 6:].std(), CODES_OVER_NOISE * columns[:, :6].std())


def test_without_noise_new_codes_start_as_in_any_run(coded: Run) -> None:
    state, _ = started("infogan", coded, latent__noise=0, infogan__codes="categorical:4, uniform:3")
    columns, fresh = (weights["generator.0.weight"] for weights in (state.model.state_dict(), random(state)))
    assert torch.equal(columns[:, :6], coded.load().state_dict()["generator.0.weight"][:, 6:])
    assert torch.equal(columns[:, 6], fresh[:, 6])


def test_all_of_an_equal_model_is_taken(coded: Run) -> None:
    state, notes = started("infogan", coded)
    source = coded.load().state_dict()
    assert state.model.state_dict().keys() == source.keys()
    assert all(torch.equal(value, source[name]) for name, value in state.model.state_dict().items())
    total = sum(p.numel() for p in state.model.parameters())
    assert notes == [
        f"starting at {coded.folder} (infogan, step 3): {total:,} of {total:,} parameters are taken; optimizers and "
        "schedules begin anew"
    ]
    assert state.step == 0


def test_codes_keep_their_columns_and_rows(coded: Run) -> None:
    state, notes = started("infogan", coded, infogan__codes="uniform:1, uniform:1, categorical:4, uniform:1@0.5")
    model, source = state.model.state_dict(), coded.load().state_dict()
    fresh = random(state)
    columns, theirs = model["generator.0.weight"], source["generator.0.weight"]
    assert torch.equal(columns[:, :6], theirs[:, :6])
    assert torch.equal(columns[:, 7], theirs[:, 6 + 4])  # c2, uniform in both
    assert not torch.equal(columns[:, 6], theirs[:, 6])
    for name in ("q.3.weight", "q.3.bias"):
        assert torch.equal(model[name][1], source[name][4]), name
        assert torch.equal(model[name][2:], fresh[name][2:]), name
    assert torch.equal(
        model["q.variances"],
        torch.stack([*fresh["q.variances"][:1], source["q.variances"][1], *fresh["q.variances"][2:]]),
    )
    assert torch.equal(model["q.0.weight"], source["q.0.weight"])
    assert notes[1:] == [
        "generator.0.weight: taken for noise, c2, new for c1 (there categorical:4), c3 (there uniform:1), c4",
        "q.variances, q.3.weight, q.3.bias: taken for c2, new for c1 (there categorical:4), c3 (there uniform:1), c4",
    ]


def test_a_gan_takes_an_infogan_s_networks_without_its_codes(coded: Run) -> None:
    state, notes = started("gan", coded)
    source = coded.load().state_dict()
    assert torch.equal(state.model.state_dict()["generator.0.weight"], source["generator.0.weight"][:, :6])
    assert notes[1:] == [
        "generator.0.weight: taken for noise, without the source's c1, c2, c3",
        "not used of the source: q (9 tensors)",
    ]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"data__channels": 3},
            "new, since they do not fit: generator.10 (2 tensors), "
            "discriminator.trunk.to_map.0.weight [4, 3, 4, 4] (there [4, 1, 4, 4])",
        ),
        (
            {"infogan__head_width": 9},
            "new, since they do not fit: q.0.weight [9, 64] (there [8, 64]), q.1.weight [9] (there [8]), ",
        ),
        ({"infogan__codes": "uniform:4"}, "q.variances, q.3.weight, q.3.bias: "),
        ({"trunk__discriminator_norm": "layer"}, "not used of the source: discriminator.trunk.to_map.3.running_mean"),
        ({"trunk__spectral_norm": True}, "new, since the source has none: discriminator"),
    ],
    ids=["channels", "head", "codes", "norm", "spectral norm"],
)
def test_what_does_not_fit_is_named(coded: Run, settings: dict[str, Any], expected: str) -> None:
    state, notes = started("infogan", coded, **settings)
    print(*notes, sep="\n")
    assert any(note.startswith(expected) for note in notes), notes
    assert len(notes) <= 5
    fresh = random(state)
    if "data__channels" in settings:
        for name in ("generator.10.weight", "discriminator.trunk.to_map.0.weight"):
            assert torch.equal(state.model.state_dict()[name], fresh[name])


def test_noise_of_another_width_is_taken_as_far_as_it_goes(plain: Run) -> None:
    source = plain.load().state_dict()["generator.0.weight"]
    narrow, _ = started("gan", plain, latent__noise=4)
    assert torch.equal(narrow.model.state_dict()["generator.0.weight"], source[:, :4])
    wide, notes = started("gan", plain, latent__noise=9)
    columns = wide.model.state_dict()["generator.0.weight"]
    assert torch.equal(columns[:, :6], source)
    assert torch.equal(columns[:, 6:], random(wide)["generator.0.weight"][:, 6:])
    assert notes[1:] == ["generator.0.weight: taken for 6 of 9 columns of noise"]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"trunk__width": 8}, "trunk.width = 8 (there 4); leave these settings to the source"),
        ({"trunk__name": "mlp"}, "trunk.name = 'mlp' (there 'infogan-mnist'); leave these settings to the source"),
    ],
)
def test_a_source_of_which_nothing_fits_is_refused(
    plain: Run, tmp_path: Path, settings: dict[str, Any], why: str
) -> None:
    with pytest.raises(InputError) as refused:
        tuned("infogan", plain, tmp_path / "run", **settings)
    assert one_line(refused) == f"nothing of {plain.folder} fits this run's networks: {why}, or train without --from"
    assert not (tmp_path / "run").exists()


def test_what_the_user_states_wins_over_the_source_and_the_source_over_a_preset(plain: Run, tmp_path: Path) -> None:
    networks = open_source(plain.folder, None).networks
    preset = trace("infogan", "celeba-64", {}, networks)
    assert (preset.config.trunk.name, preset.config.trunk.width) == ("infogan-mnist", 4)
    assert preset.config.data.resolution == 28
    assert preset.origins["trunk.width"] == f"from {plain.folder}"
    assert preset.origins["infogan.codes"] == "preset celeba-64"
    assert "trunk.width = 4 (not 64)" in preset.notes[0]
    (tmp_path / "mine.toml").write_text('preset = "mnist-5k"\n[trunk]\nwidth = 6\n')
    file = trace(None, tmp_path / "mine.toml", {"latent.noise": 9}, networks)
    assert (file.config.trunk.name, file.config.trunk.width, file.config.latent.noise) == ("infogan-mnist", 6, 9)
    assert file.notes[-1] == f"unlike {plain.folder}: latent.noise = 9 (there 6), trunk.width = 6 (there 4)"


def test_an_extension_takes_the_codes_of_its_base(coded: Run) -> None:
    resolved = trace("infogan-cr", None, {}, open_source(coded.folder, None).networks)
    table = resolved.config.model_dump()["infogan_cr"]
    assert (table["codes"], table["head_width"], table["contrast"]) == ("categorical:4, uniform:2", 8, 2.0)
    assert "infogan_cr.codes = 'categorical:4, uniform:2' (not 'categorical:10, uniform:2')" in resolved.notes[0]


def test_resuming_needs_no_source(plain: Run, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(plain.folder, source)
    settings = {"steps": 4, "training__batch_size": 4, "infogan__consistency": 0.0}
    whole = tuned("infogan", source, tmp_path / "whole", **settings)
    with pytest.MonkeyPatch.context() as patch:
        around_steps(patch, crash)
        with pytest.raises(RuntimeError, match="power"):
            tuned("infogan", source, tmp_path / "run", **settings)
    shutil.rmtree(source)
    resumed = narrow_train(None, tmp_path / "run", resume=True)
    assert same_bytes(resumed.checkpoint(4), whole.checkpoint(4))
    assert resumed.origin == whole.origin is not None


def crash(play: Callable[[], Any], state: State) -> Any:
    if state.step == 2:
        raise RuntimeError("power")
    return play()


def test_a_run_without_its_first_checkpoint_does_not_resume_at_random_weights(plain: Run, tmp_path: Path) -> None:
    run = tuned("gan", plain, tmp_path / "run")
    shutil.rmtree(run.checkpoints)
    with pytest.raises(InputError) as refused:
        narrow_train(None, run.folder, resume=True)
    assert "ended before it saved the weights of --from; delete it and start it again" in one_line(refused)


def test_a_folder_that_a_killed_start_left_is_free(tmp_path: Path, plain: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(run: Run, data: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "keep", killed)
        with pytest.raises(KeyboardInterrupt):
            tuned("gan", plain, tmp_path / "run")
    assert (tmp_path / "run" / "origin.json").exists()
    assert tuned("gan", plain, tmp_path / "run").metrics()


def test_the_source_is_recorded_and_shown(plain: Run, tmp_path: Path) -> None:
    checkpoint = plain.checkpoint(3)
    run = tuned("infogan", checkpoint, tmp_path / "run")
    record = json.loads((run.folder / "origin.json").read_text())
    sums = dict(reversed(line.split("  ")) for line in (checkpoint / "SHA256SUMS").read_text().splitlines())
    assert record == {
        "source": str(checkpoint),
        "model": "gan",
        "step": 3,
        "sha256": sums["model.safetensors"],
    }
    line = f"{checkpoint} (gan, step 3, SHA-256 {record['sha256'][:12]}…)"
    assert str(run.origin) == line
    assert f"started at {line}".split() == zoo("runs", tmp_path).out.split()[-8:]
    zoo("report", run.folder)
    assert f"<p>started at {line}</p>" in (run.folder / "report.html").read_text()
    assert zoo("export", run.folder, "--out", tmp_path / "export").code == 0
    assert zoo("export", tmp_path / "export", "--out", tmp_path / "again").code == 0
    for folder in ("export", "again"):
        card = (tmp_path / folder / "README.md").read_text()
        assert "| started at | gan/checkpoints/step-00000003 (gan, step 3, SHA-256 " in card
        assert "--from gan/checkpoints/step-00000003\n" in card
        assert str(plain.folder.parent) not in card


@pytest.mark.parametrize(
    "text", ["", "null", "[1]", '{"source": 1, "model": "", "step": 1, "sha256": ""}', "{" * 10**5]
)
def test_a_damaged_record_of_the_source_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / "origin.json").write_text(text)
    assert read_origin(tmp_path / "origin.json") is None


def test_the_command_line_names_a_checkpoint_of_the_source(plain: Run, tmp_path: Path) -> None:
    words = ["train", "gan", "--from", plain.folder, "--batch-size", "4", "--steps", "1", "--out", tmp_path / "run"]
    ended = zoo(*words, "--checkpoint", "3")
    assert ended.code == 0, ended.err
    assert f"starting at {plain.checkpoint(3)} (gan, step 3): " in ended.out
    assert open_run(tmp_path / "run").origin.source == str(plain.checkpoint(3))
    shutil.rmtree(tmp_path / "run")
    for checkpoint, told in (("best", "checkpoints/best does not exist"), ("last", "--checkpoint must be best")):
        ended = zoo(*words, "--checkpoint", checkpoint)
        assert (ended.code, told in ended.err) == (2, True), ended.err
    ended = zoo("train", "gan", "--checkpoint", "best", "--out", tmp_path / "run")
    assert (ended.code, ended.err.startswith("gan-zoo: --checkpoint requires --from")) == (2, True), ended.err
    assert not (tmp_path / "run").exists()


def test_an_export_is_a_source(plain: Run, tmp_path: Path) -> None:
    assert zoo("export", plain.folder, "--out", tmp_path / "export").code == 0
    ended = zoo("train", "--from", tmp_path / "export", "--out", tmp_path / "export")
    assert ended.err.endswith("name another folder with --out\n"), "an export cannot be resumed"
    runs = [tuned("gan", source, tmp_path / f"run-{k}") for k, source in enumerate((plain.folder, tmp_path / "export"))]
    first, second = (stored(run, 0) for run in runs)
    parameters = {name for name, _ in runs[0].load().named_parameters()}
    assert all(torch.equal(first[name], second[name]) for name in parameters)


def test_from_is_not_resume(plain: Run, tmp_path: Path) -> None:
    message = (
        f"--from {plain.folder} starts a new run at the weights of another, and --resume continues the run in --out "
        "with its own; give one of them"
    )
    ended = zoo("train", "infogan", "--from", plain.folder, "--resume", "--out", tmp_path / "run")
    assert (ended.code, ended.err) == (2, f"gan-zoo: {message}\n")
    with pytest.raises(InputError) as refused:
        gan_zoo.train("infogan", out=tmp_path / "run", from_=plain.folder, resume=True)
    assert one_line(refused) == message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("inside", [".", "new", "checkpoints/new"])
def test_a_run_in_the_folder_of_its_source_is_refused(plain: Run, inside: str) -> None:
    out = plain.folder / inside
    ended = zoo("train", "--from", plain.folder, "--out", out)
    assert ended.code == 2
    place = "the folder" if inside == "." else "in the folder"
    assert ended.err.startswith(f"gan-zoo: {out} is {place} of the model of --from, which starts a new run: ")
    assert ended.err.endswith(f"continue that run: gan-zoo train --resume --out {plain.folder}\n")
    assert inside == "." or not out.exists()


def test_without_out_the_new_folder_is_checked_too(plain: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(plain.folder)
    ended = zoo("train", "--from", ".")
    assert (ended.code, ended.err.startswith("gan-zoo: runs is in the folder of the model of --from,")) == (2, True)
    assert not (plain.folder / "runs").exists()


def test_a_source_that_is_none_is_refused(tmp_path: Path) -> None:
    ended = zoo("train", "gan", "--from", tmp_path / "none", "--out", tmp_path / "run")
    assert (ended.code, ended.err) == (2, f"gan-zoo: {tmp_path / 'none'} is not a run folder: it does not exist\n")
    assert not (tmp_path / "run").exists()


def test_the_command_line_continues_a_model_on_another_set(coded: Run, tmp_path: Path) -> None:
    """Without a model, the source's; on other data, with the source's codes and resolution."""
    data, out = write_set(tmp_path / "set.npz", resolution=20), tmp_path / "run"
    words = ["--batch-size", "4", "--steps", "2", "--precision", "fp32", "--device", "cpu"]
    planned = zoo("train", "--from", coded.folder, "--data", data, *words, "--dry-run")
    assert planned.code == 0, planned.err
    assert f"# starting at {coded.folder} (infogan, step 3): " in planned.out
    assert f"resolution = 28  # from {coded.folder}" in planned.out
    ended = zoo("train", "--from", coded.folder, "--data", data, *words, "--out", out)
    assert ended.code == 0, ended.err
    config = open_run(out).config
    assert (config.model, config.data.resolution, config.trunk.width) == ("infogan", 28, 4)
    assert config.model_dump()["infogan"]["codes"] == "categorical:4, uniform:2"


def test_frozen_layers_stay_those_of_the_source(plain: Run, tmp_path: Path) -> None:
    run = tuned("infogan", plain, tmp_path / "run", steps=2, trunk__freeze_d=2)
    first, last = stored(run, 0), stored(run, 2)
    for name in ("to_map.0.weight", "to_map.2.weight"):
        assert torch.equal(last[f"discriminator.trunk.{name}"], first[f"discriminator.trunk.{name}"])
    name = "discriminator.trunk.to_features.1.weight"
    assert not torch.equal(last[name], first[name])


def test_frozen_random_layers_are_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gan_zoo.train("gan", {}, out=tmp_path / "run", steps=1, freeze_d=1, **NARROW)
    assert "trunk.freeze_d = 1: without --from, these layers stay random" in capsys.readouterr().out


def test_a_gan_is_conditioned_on_labels(plain: Run, tmp_path: Path) -> None:
    run = tuned("projection-gan", plain, tmp_path / "run", trunk__spectral_norm=False)
    first, average, theirs = stored(run, 0), stored(plain, 3, "ema"), stored(plain, 3)
    for name in ("0.weight", "3.weight", "10.weight"):
        assert torch.equal(first[f"generator.network.{name}"], average[name]), name
    assert torch.equal(first["discriminator.trunk.to_map.2.weight"], theirs["discriminator.trunk.to_map.2.weight"])


def test_a_conditioned_gan_gets_codes(tmp_path: Path) -> None:
    source = narrow_train("projection-gan", tmp_path / "source", training__steps=1, trunk__name="infogan-mnist")
    state, notes = started("infogan", source, infogan__conditional=True, infogan__codes="uniform:2")
    columns = state.model.state_dict()["generator.network.0.weight"]
    assert torch.equal(columns[:, :6], source.load().state_dict()["generator.network.0.weight"])
    assert columns.shape[1] == 8
    assert notes[1] == "generator.0.weight: taken for noise, new for c1, c2"


def test_weights_by_name_are_a_source_wherever_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = open_source("mnist-5k", Path("mnist-5k"))  # which is no folder here, so that the run may have its name
    assert source.origin.source == "mnist-5k"
    assert (source.origin.model, source.origin.step) == ("infogan", 2200)
    assert trace(None, None, {}, source.networks).config.trunk.width == 32
