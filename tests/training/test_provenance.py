"""A run goes on, and is measured, with the data that it learned from; anything else is refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import TINY, write_set, zoo
from narrow import narrow_train, one_line
from PIL import Image

from gan_zoo.errors import InputError
from gan_zoo.training.checkpoint import read_state
from gan_zoo.training.provenance import own_data
from gan_zoo.training.run import Run, open_run

SMALL = {"trunk__name": "mlp", "trunk__discriminator_norm": "none", "training__batch_size": 4}


def write_images(folder: Path, count: int, seed: int = 0, side: int = 8) -> Path:
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        Image.fromarray(random.integers(0, 256, (side, side), dtype=np.uint8)).save(folder / f"{k}.png")
    return folder


def pets(folder: Path) -> Path:
    write_images(folder / "cat", 4, seed=1)
    write_images(folder / "dog", 4, seed=2)
    return folder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Of two steps, on pictures that were named by a relative path."""
    pets(tmp_path / "here" / "pets")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return narrow_train("infogan", tmp_path / "run", data="pets", training__steps=2, **SMALL)


def goes_on(run: Run, **settings: Any) -> Run:
    return narrow_train(None, run.folder, resume=True, **settings)


def refusal(run: Run, **settings: Any) -> str:
    tree = (run.folder / "config.toml").read_bytes()
    with pytest.raises(InputError) as error:
        goes_on(run, **settings)
    assert (run.folder / "config.toml").read_bytes() == tree
    return one_line(error)


def test_a_relative_path_means_the_same_images_from_everywhere(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_run(run.folder).config.data.name == str(tmp_path / "here/pets")
    pets(tmp_path / "elsewhere" / "pets")
    write_images(tmp_path / "elsewhere" / "pets" / "cat", 9, side=12)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert goes_on(run, training__steps=3).metrics()[-1]["step"] == 3
    ended = zoo("encode", run.folder, "--out", "codes.csv")
    assert (ended.code, ended.out) == (0, f"8 images (train split of {tmp_path}/here/pets): codes.csv\n")


def test_the_run_and_its_checkpoints_keep_a_fingerprint(run: Run) -> None:
    kept = json.loads((run.folder / "data.json").read_text())
    assert (kept["images"], kept["class_names"]) == ({"train": 8}, ["cat", "dog"])
    assert read_state(run.checkpoint(2))["data"] == kept


@pytest.mark.parametrize("form", ["--data", "--data.path", "folder"])
def test_a_set_that_moved_is_named_either_way(form: str, run: Run, tmp_path: Path) -> None:
    if form == "folder":
        run = narrow_train(
            "infogan", tmp_path / "run2", data={"name": "folder", "path": "pets"}, training__steps=2, **SMALL
        )
    shutil.move("pets", tmp_path / "moved")
    told = f"the data of {run.folder} is not at {tmp_path}/here/pets; where it has moved: gan-zoo train --resume --out"
    assert told in refusal(run, training__steps=3)
    for command in ("encode", "evaluate", "cluster"):
        ended = zoo(command, run.folder)
        assert (ended.code, ended.err.count("\n")) == (2, 1)
        assert told in ended.err
    flag = "--data" if form == "folder" else form
    ended = zoo("train", "--resume", "--out", run.folder, flag, "../moved")
    assert ended.code == 0
    assert "is done: 2 steps" in ended.out
    assert open_run(run.folder).config.data.path in (None, str(tmp_path / "moved"))
    assert zoo("encode", run.folder).code == 0
    assert goes_on(run, training__steps=3).metrics()[-1]["step"] == 3


CHANGES: dict[str, tuple[str, Any]] = {
    "removed": ("8 images then, 7 now", lambda place: (place / "cat/0.png").unlink()),
    "renamed": ("class cat is called katze now", lambda place: (place / "cat").rename(place / "katze")),
    "a class more": ("8 images then, 11 now", lambda place: write_images(place / "eel", 3)),
    "a class less": ("8 images then, 4 now", lambda place: shutil.rmtree(place / "dog")),
    "another class": ("class dog is called eel now", lambda place: (place / "dog").rename(place / "eel")),
    "others": ("the list of files differs", lambda place: write_images(place / "cat", 4, seed=3, side=9)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_refused_until_it_is_accepted(change: str, run: Run, tmp_path: Path) -> None:
    told, make = CHANGES[change]
    make(Path("pets"))
    line = refusal(run, training__steps=3, data__resolution=8)
    assert f"{run.folder} learned from other data than {tmp_path}/here/pets holds: {told}" in line
    assert line.endswith("--new-data")
    refusal(run, training__steps=3, data=str(tmp_path / "here/pets"))
    for command in ("encode", "evaluate", "cluster"):
        assert told in zoo(command, run.folder).err
    assert zoo("encode", run.folder, "pets").code == 0
    ended = zoo("train", "--resume", "--out", run.folder, "--steps", "3", "--new-data")
    assert ended.code == 0
    assert f"new data: {told}" in ended.out
    assert zoo("encode", run.folder).code == 0
    assert goes_on(run, training__steps=4).metrics()[-1]["step"] == 4


def test_a_run_that_is_done_takes_no_new_data(run: Run) -> None:
    Path("pets/cat/0.png").unlink()
    ended = zoo("train", "--resume", "--out", run.folder, "--new-data")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "is done, so --new-data has no step to take; add steps with --steps" in ended.err
    assert "8 images then, 7 now" in zoo("encode", run.folder).err


def test_other_shares_of_the_classes_are_named(run: Run) -> None:
    line = refusal(run, training__steps=3, data__balance=(0.5, 1.0))
    assert "8 images then, 6 now (data.balance was [] then)" in line


def test_a_class_folder_swapped_for_the_other_is_noticed(tmp_path: Path) -> None:
    """Where the classes are learned, their labels would be swapped without a word."""
    place = pets(tmp_path / "pets")
    run = narrow_train("acgan", tmp_path / "run", data=str(place), training__steps=1, **SMALL)
    for old, new in (("cat", "x"), ("dog", "cat"), ("x", "dog")):
        (place / old).rename(place / new)
    assert "files differ" in refusal(run, training__steps=2)


def of_an_earlier_release(run: Run, place: str) -> None:
    """Have a run as earlier releases left it."""
    (run.folder / "data.json").unlink()
    tree = run.folder / "config.toml"
    tree.write_text(tree.read_text().replace(run.config.data.name, place))
    for checkpoint in run.checkpoints.iterdir():
        state = json.loads((checkpoint / "state.json").read_text())
        state.pop("data")
        state["schema"] = 1
        sums = [line.split("  ") for line in (checkpoint / "SHA256SUMS").read_text().splitlines()]
        state["sha256"] = {name: digest for digest, name in sums if name != "state.json"}
        (checkpoint / "state.json").write_text(json.dumps(state))
        (checkpoint / "SHA256SUMS").unlink()


def test_a_run_of_an_earlier_release_goes_on_with_a_line_that_says_so(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_an_earlier_release(run, "pets")
    monkeypatch.chdir(tmp_path / "elsewhere")
    told = f"the data of {run.folder} is not at {tmp_path}/elsewhere/pets; where it has moved"
    assert told in refusal(run, training__steps=3)
    monkeypatch.chdir(tmp_path / "here")
    ended = zoo("encode", run.folder)
    assert (ended.code, ended.err) == (0, f"{run.folder} keeps no record of its data: pets is taken for it\n")
    ended = zoo("train", "--resume", "--out", run.folder, "--steps", "3")
    assert f"{run.folder} keeps no record of its data: {tmp_path}/here/pets is taken for it" in ended.out
    Path("pets/cat/0.png").unlink()
    assert "8 images then, 7 now" in refusal(run, training__steps=4)


def test_a_run_whose_record_is_lost_is_known_by_its_checkpoint(run: Run) -> None:
    (run.folder / "data.json").write_text("{")
    Path("pets/cat/0.png").unlink()
    assert "8 images then, 7 now" in refusal(run, training__steps=3)
    assert "8 images then, 7 now" in zoo("encode", run.folder).err


def test_memory_and_workers_are_no_other_data(run: Run) -> None:
    assert goes_on(run, training__steps=3, data__memory=0.0, data__workers=1).metrics()[-1]["step"] == 3


def test_of_the_bundled_digits_no_record_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = narrow_train("gan", tmp_path / "run", training__steps=1)
    assert run.config.data.name == "mnist-5k"
    (run.folder / "data.json").unlink()
    assert len(own_data(run).train) == 4500
    assert capsys.readouterr().err == ""


def test_a_set_in_one_file_may_be_renamed(tmp_path: Path) -> None:
    run = narrow_train("gan", tmp_path / "run", data=str(write_set(tmp_path / "a.npz")), training__steps=1)
    (tmp_path / "a.npz").rename(tmp_path / "b.npz")
    assert goes_on(run, training__steps=2, data=str(tmp_path / "b.npz")).metrics()[-1]["step"] == 2
    (tmp_path / "b.npz").unlink()
    write_set(tmp_path / "b.npz", images=25)
    assert "24 images then, 25 now" in refusal(run, training__steps=3)


def test_a_run_inside_its_data_is_called_after_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_images(tmp_path / "own", 4))
    assert "run: runs/gan-own-001\n" in zoo("train", "gan", "--data", ".", *TINY, "--trunk.name", "mlp").out
