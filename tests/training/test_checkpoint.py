"""Checkpoints: whole or not at all, checked when read, and the older one stays until the newer is whole."""

from __future__ import annotations

import errno
import json
import re
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from narrow import Game, narrow_train, one_line, same_bytes
from safetensors.torch import load_file

from gan_zoo import api
from gan_zoo.errors import DamagedCheckpointWarning, InputError, TrainingError
from gan_zoo.training import checkpoint as checkpoint_module
from gan_zoo.training import loop
from gan_zoo.training.checkpoint import checkpoints, newest_whole, read_state
from gan_zoo.training.run import Run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "run"
    return narrow_train("infogan", folder, training__steps=6, logging__checkpoint_every=3)


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    shutil.copytree(trained.folder, tmp_path / "run")
    return Run(tmp_path / "run", trained.config)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def newest(run: Run) -> Path:
    return checkpoints(run.checkpoints)[-1]


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def rewrite_state(checkpoint: Path, **changes: Any) -> None:
    """Another state.json, with the sums that belong to it."""
    file, sums = checkpoint / "state.json", checkpoint / "SHA256SUMS"
    before = sha256(file.read_bytes()).hexdigest()
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    sums.write_text(sums.read_text().replace(before, sha256(file.read_bytes()).hexdigest()))


def edit_state(**changes: Any) -> Callable[[Path], None]:
    return lambda checkpoint: rewrite_state(checkpoint, **changes)


def edit_sums(old: str, new: str) -> Callable[[Path], None]:
    def edit(checkpoint: Path) -> None:
        file = checkpoint / "SHA256SUMS"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))

    return edit


def borrow(checkpoint: Path) -> None:
    """The weights of another step."""
    other = checkpoint.parent / "step-00000003/model.safetensors"
    (checkpoint / "model.safetensors").write_bytes(other.read_bytes())


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a bit of the weights": (
        lambda c: flip_a_bit(c / "model.safetensors"),
        "model.safetensors has changed since it was written",
    ),
    "a bit of the average": (
        lambda c: flip_a_bit(c / "ema.safetensors"),
        "ema.safetensors has changed since it was written",
    ),
    "moments cut off": (
        lambda c: cut(c / "optimizer.safetensors"),
        "optimizer.safetensors has changed since it was written",
    ),
    "weights of another step": (borrow, "model.safetensors has changed"),
    "weights gone": (lambda c: (c / "model.safetensors").unlink(), "model.safetensors is missing"),
    "average gone": (lambda c: (c / "ema.safetensors").unlink(), "ema.safetensors is missing"),
    "state gone": (lambda c: (c / "state.json").unlink(), "state.json is missing"),
    "state cut off": (lambda c: cut(c / "state.json"), "state.json has changed"),
    "state empty": (lambda c: (c / "state.json").write_text(""), "state.json has changed"),
    "sums gone": (lambda c: (c / "SHA256SUMS").unlink(), "SHA256SUMS is missing"),
    "sums empty": (lambda c: (c / "SHA256SUMS").write_text(""), "SHA256SUMS has changed"),
    "sums no text": (
        lambda c: (c / "SHA256SUMS").write_bytes(b"\xff\xfe\x00"),
        "SHA256SUMS has changed since it was written",
    ),
    "sums without end": (
        lambda c: (c / "SHA256SUMS").write_bytes(bytes(2**21)),
        "SHA256SUMS has changed since it was written",
    ),
    "a file elsewhere": (edit_sums("  model", "  ../../model"), "SHA256SUMS has changed"),
    "a file unnamed": (edit_sums("  model.safetensors", "  state.json"), "SHA256SUMS has changed"),
    "step no number": (edit_state(step="six"), "state.json is missing or invalid"),
    "a step that is another's": (edit_state(step=3), "is damaged: state.json is of step 3"),
    "a schema that is none": (edit_state(schema=None), "state.json is missing or invalid"),
    "a scaler that is none": (edit_state(scaler={"scale": "large"}), "state.json is missing or invalid"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_refused_in_one_line_and_the_previous_one_is_used(damage: str, run: Run) -> None:
    do, told = DAMAGES[damage]
    do(newest(run))
    with pytest.raises(InputError) as error:
        api.load(newest(run))
    assert told in one_line(error)
    assert "step-00000006" in str(error.value)
    found, complaints = newest_whole(run.checkpoints)
    assert found == run.checkpoints / "step-00000003"
    assert [f"{complaint}; the newest that can be read is {found.name}" for complaint in complaints] == [
        str(error.value)
    ]
    previous = load_file(run.checkpoints / "step-00000003/ema.safetensors")
    with pytest.warns(DamagedCheckpointWarning, match=re.escape(complaints[0])):
        loaded = api.load(run.folder).generator.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in previous.items())


def test_no_byte_of_a_checkpoint_can_change_unnoticed(run: Run) -> None:
    """Every byte of the small files, and some of the large ones, each in a bit; and every file cut off anywhere."""
    checkpoint, random = newest(run), Random(0)
    before = {path: path.read_bytes() for path in sorted(checkpoint.iterdir())}
    assert len(before) == 5
    damages = 0
    for path, content in before.items():
        small = len(content) < 2000
        places = range(len(content)) if small else [random.randrange(len(content)) for _ in range(60)]
        for place in places:
            flipped = bytearray(content)
            flipped[place] ^= 1 << random.randrange(8)
            cut_off = content[:place]
            for damaged in (bytes(flipped), cut_off):
                path.write_bytes(damaged)
                with pytest.raises(InputError, match="step-00000006 is damaged"):
                    read_state(checkpoint)
                damages += 1
        path.write_bytes(content)
    print(f"{damages} damages noticed")
    assert damages > 1000
    assert read_state(checkpoint)["step"] == 6


def test_the_sums_are_those_that_the_usual_program_checks(run: Run) -> None:
    for line in (newest(run) / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert digest == sha256((newest(run) / name).read_bytes()).hexdigest()


def test_a_run_resumes_from_the_checkpoint_before_a_damaged_one_to_the_same_end_and_says_so(
    run: Run, trained: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    flip_a_bit(newest(run) / "model.safetensors")
    resumed = loop.train(trained.config, out=run.folder, resume=True)
    assert "step-00000006 is damaged: model.safetensors" in capsys.readouterr().out
    assert same_bytes(newest(resumed), newest(trained))
    assert [line["step"] for line in resumed.metrics()] == list(range(1, 7))


def test_a_run_without_a_whole_checkpoint_says_what_is_wrong_with_each(run: Run) -> None:
    for path in checkpoints(run.checkpoints):
        cut(path / "model.safetensors")
    with pytest.raises(InputError) as error:
        api.load(run.folder)
    assert "step-00000003 is damaged" in one_line(error)
    assert "step-00000006 is damaged" in str(error.value)
    shutil.rmtree(run.checkpoints)
    with pytest.raises(InputError, match="has no checkpoint yet"):
        api.load(run.folder)


def test_what_is_no_run_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "nowhere", tmp_path, tmp_path / "file", tmp_path / "checkpoints/step-00000001"):
        with pytest.raises(InputError, match="is not a run folder") as error:
            api.load(path)
        assert one_line(error)


def test_a_checkpoint_of_another_model_is_refused(run: Run, tmp_path: Path) -> None:
    other = narrow_train("gan", tmp_path / "gan", training__steps=1)
    game = Game("infogan")
    with pytest.raises(InputError) as error:
        game.state.load(newest(other))
    assert "is a checkpoint of model gan, not infogan" in one_line(error)
    shutil.copytree(newest(other), run.checkpoints / "step-00000007")
    rewrite_state(run.checkpoints / "step-00000007", step=7)
    with pytest.warns(
        DamagedCheckpointWarning, match="step-00000007 is a checkpoint of model gan, .*using .*step-00000006"
    ):
        api.load(run.folder)
    resumed = narrow_train(None, run.folder, resume=True, training__steps=8)
    assert [line["step"] for line in resumed.metrics()] == list(range(1, 9))


def test_a_checkpoint_of_a_later_release_is_neither_passed_over_nor_written_over(run: Run) -> None:
    rewrite_state(newest(run), schema=3)
    before = {path: path.read_bytes() for path in newest(run).iterdir()}
    told = "step-00000006 has schema 3, and this release reads 2; upgrade with pip install --upgrade gan-zoo"
    for use in (
        lambda: api.load(run.folder),
        lambda: api.load(newest(run)),
        lambda: narrow_train(None, run.folder, resume=True, training__steps=9),
    ):
        with pytest.raises(InputError, match=re.escape(told)) as error:
            use()
        assert one_line(error)
    assert {path: path.read_bytes() for path in newest(run).iterdir()} == before


def test_a_file_that_the_disk_cannot_read_is_a_damaged_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(path: Path) -> str:
        if path == run.checkpoints / "step-00000006/model.safetensors":
            raise OSError(errno.EIO, "Input/output error", str(path))
        return real(path)

    real = checkpoint_module.digest
    monkeypatch.setattr(checkpoint_module, "digest", failing)
    found, complaints = newest_whole(run.checkpoints)
    assert found == run.checkpoints / "step-00000003"
    assert "step-00000006 is damaged: model.safetensors cannot be read: Input/output error" in complaints[0]


@pytest.mark.parametrize("name", ["checkpoints", "samples", "tensorboard"])
def test_a_run_whose_parts_are_links_is_refused(name: str, run: Run, tmp_path: Path) -> None:
    shutil.rmtree(run.folder / name, ignore_errors=True)
    (tmp_path / "elsewhere").mkdir()
    (run.folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=f"{name} is a link, which gan-zoo does not write through") as error:
        api.load(run.folder)
    assert one_line(error)


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"trunk__width": 8}, "and the model needs"), ({"infogan__head_norm": "none"}, "q.0.bias is missing")],
)
def test_weights_of_another_shape_or_name_are_refused_by_name(run: Run, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as error:
        Game("infogan", **settings).state.load(newest(run))
    assert told in one_line(error)
    assert "model.safetensors: " in str(error.value)


def test_a_resumed_run_names_the_setting_that_changed_its_weights(run: Run) -> None:
    with pytest.raises(InputError, match="has shape .* and the model needs") as error:
        narrow_train(None, run.folder, resume=True, training__steps=9, trunk__width=8)
    assert one_line(error).endswith("; resume without the change of trunk.width: 4 → 8")


def test_a_parameter_that_had_no_gradient_yet_starts_with_moments_of_zero(run: Run) -> None:
    game = Game("infogan")
    moments = load_file(newest(run) / "optimizer.safetensors")
    parameter = next(name for name, value in moments.items() if value.ndim == 2).rpartition("/")[0]
    game.state.load_moments({k: v for k, v in moments.items() if not k.startswith(f"{parameter}/")}, newest(run))
    loaded = game.state._moments()
    assert not any(value.any() for key, value in loaded.items() if key.startswith(f"{parameter}/"))
    assert all(torch.equal(loaded[key], value) for key, value in moments.items() if not key.startswith(f"{parameter}/"))


def test_moments_that_are_missing_unexpected_or_of_another_shape_are_refused(run: Run) -> None:
    game = Game("infogan")
    moments = load_file(newest(run) / "optimizer.safetensors")
    name = next(name for name, value in moments.items() if value.ndim == 2 and name.endswith("exp_avg"))
    parameter = name.split("/")[1]
    for stored, message in (
        ({k: v for k, v in moments.items() if k != name}, f"state is incomplete: no moments for {parameter}"),
        (moments | {"q/w/exp_avg": torch.zeros(1)}, "q/w/exp_avg is not part of this model"),
        (moments | {name: torch.zeros(3, 3)}, f"{name} has shape [3, 3], and the model needs"),
    ):
        with pytest.raises(InputError, match=re.escape(message)) as error:
            game.state.load_moments(stored, newest(run))
        assert one_line(error)


def test_saving_and_loading_gives_back_every_tensor_bit_for_bit(tmp_path: Path) -> None:
    game = Game("infogan", training__precision="fp16")
    for step in range(3):
        game.step(step)
        game.state.step = step + 1
    saved = game.state.save(tmp_path, keep=1)
    back = Game("infogan", training__precision="fp16", seed=9)
    back.state.load(saved)
    assert same_bytes(saved, back.state.save(tmp_path / "again", keep=1))
    assert back.state.step == 3
    assert back.state.precision.scaler.state_dict() == game.state.precision.scaler.state_dict()


def test_the_newest_are_kept_and_no_more(tmp_path: Path) -> None:
    run = narrow_train("gan", tmp_path, training__steps=7, logging__checkpoint_every=2, logging__keep=3)
    assert names(run.checkpoints) == ["step-00000004", "step-00000006", "step-00000007"]


def test_some_are_kept_for_good(tmp_path: Path) -> None:
    settings = {"training__steps": 9, "logging__checkpoint_every": 1, "logging__keep": 1, "logging__keep_every": 4}
    run = narrow_train("gan", tmp_path, **settings)
    assert names(run.checkpoints) == ["step-00000004", "step-00000008", "step-00000009"]


def test_none_is_dropped_before_the_new_one_was_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    game = Game("gan")
    first = game.state.save(tmp_path, keep=1)
    monkeypatch.setattr(checkpoint_module, "write", lambda path, content: path.write_bytes(content[:-1]) and "0" * 64)
    game.state.step = 1
    with pytest.raises(TrainingError, match="the disk does not return what was written to it: .*step-00000001"):
        game.state.save(tmp_path, keep=1)
    assert newest_whole(tmp_path)[0] == first


def test_a_damaged_newer_checkpoint_never_pushes_out_a_whole_one(tmp_path: Path) -> None:
    game = Game("gan")
    for step in (10, 20):
        game.state.step = step
        game.state.save(tmp_path, keep=2)
    cut(tmp_path / "step-00000020/model.safetensors")
    game.state.step = 15
    saved = game.state.save(tmp_path, keep=1)
    assert newest_whole(tmp_path)[0] == saved


def test_what_only_looks_like_a_checkpoint_is_none(tmp_path: Path) -> None:
    for name in ("step-1", "step-0000000x", ".step-00000001.77", "step-00000001.partial"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-00000002").write_text("a file")
    (tmp_path / "step-100000000").mkdir()
    (tmp_path / "step-99999999").mkdir()
    assert [path.name for path in checkpoints(tmp_path)] == ["step-99999999", "step-100000000"]
    assert newest_whole(tmp_path / "nowhere") == (None, [])


def test_a_checkpoint_holds_no_pickle(run: Run) -> None:
    held = ["SHA256SUMS", "ema.safetensors", "model.safetensors", "optimizer.safetensors", "state.json"]
    assert names(newest(run)) == held
    assert not [path for path in run.folder.rglob("*") if path.suffix in (".pt", ".pth", ".pkl", ".ckpt")]


def test_load_gives_the_averaged_generator_in_evaluation_mode(run: Run) -> None:
    average = load_file(newest(run) / "ema.safetensors")
    raw = load_file(newest(run) / "model.safetensors")
    for source in (run.folder, str(run.folder), newest(run)):
        model = api.load(source)
        assert not any(module.training for module in model.modules())
        own = model.state_dict()
        assert all(torch.equal(own[f"generator.{name}"], value) for name, value in average.items())
        others = [name for name in raw if not name.startswith("generator.")]
        assert all(torch.equal(own[name], raw[name]) for name in others)
    assert any(not torch.equal(raw[f"generator.{name}"], value) for name, value in average.items())
    assert torch.equal(run.load().sample(2), api.load(run.folder).sample(2))


def test_a_checkpoint_is_loaded_from_inside_its_folder(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.checkpoints)
    assert api.load("step-00000003").config.model == "infogan"


def test_without_an_average_load_gives_the_generator_itself(tmp_path: Path) -> None:
    run = narrow_train("gan", tmp_path, training__steps=2, training__ema=0.0)
    raw = load_file(newest(run) / "model.safetensors")
    own = run.load().state_dict()
    assert all(torch.equal(own[name], value) for name, value in raw.items())
