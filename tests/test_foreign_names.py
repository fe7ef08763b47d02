"""File names that are not UTF-8: of data, runs and output files."""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from commandline import TINY, zoo
from narrow import NARROW
from PIL import Image
from safetensors.torch import save_file

import gan_zoo
from gan_zoo.config import Data
from gan_zoo.data.cache import read_entry, write_entry
from gan_zoo.data.dataset import open_dataset
from gan_zoo.errors import InputError

CAFE = os.fsdecode(b"caf\xe9")
SMALL = (*TINY, "--trunk.name", "mlp")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with eight images in two classes in a folder called by a name that is no UTF-8."""
    try:
        (tmp_path / CAFE).mkdir()
    except OSError:  # as of a Mac
        pytest.skip("names are UTF-8 here")
    for number in range(8):
        place = tmp_path / CAFE / ("a", CAFE)[number % 2]
        place.mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8), 30 * number, np.uint8)).save(place / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_on_such_data_in_such_a_folder_is_trained_resumed_and_measured(here: Path) -> None:
    assert zoo("train", "infogan", "--data", CAFE, "--out", f"run-{CAFE}", *SMALL).code == 0
    run = here / f"run-{CAFE}"
    tree = tomllib.loads((run / "config.toml").read_text(encoding="utf-8"))
    assert tree["data"]["name"] == f"file://{here}/caf%E9"
    assert json.loads((run / "data.json").read_text(encoding="utf-8"))["class_names"] == ["a", CAFE]
    ended = zoo("train", "--resume", "--out", run, "--steps", "3")
    assert (ended.code, "changed: training.steps: 2 → 3" in ended.out, "data.name" in ended.out) == (0, True, False)
    for command in ("encode", "sample", "traverse", "report"):
        assert zoo(command, run).code == 0, command
    assert zoo("evaluate", run, "--metrics", "clustering").code == 0
    assert json.loads((run / "evaluation.json").read_text(encoding="utf-8"))["run"] == str(run)
    assert "8 images" in zoo("encode", run, CAFE, "--out", "codes.csv").out
    assert r"run-caf\udce9" in (run / "report.html").read_text(encoding="utf-8")
    assert r"'caf\udce9/1.png'" in (run / "codes.csv").read_text(encoding="utf-8")
    assert zoo("export", run, "--out", CAFE * 2).code == 0
    assert r"caf\udce9" in (here / (CAFE * 2) / "README.md").read_text(encoding="utf-8")
    assert zoo("sample", CAFE * 2, "--out", f"{CAFE}.png").code == 0
    (here / CAFE / "a" / "0.png").unlink()
    assert "8 images then, 7 now" in zoo("encode", run).err


def test_a_run_that_is_called_after_such_data_is_called_by_what_is_utf8(here: Path) -> None:
    run = gan_zoo.train("gan", {}, data=CAFE, quiet=True, **NARROW | {"training.steps": 1, "trunk.name": "mlp"})
    assert run.folder == Path("runs/gan-caf%E9-001")


def test_files_that_are_read_by_other_libraries_may_be_called_so(here: Path) -> None:
    images = torch.arange(5, dtype=torch.uint8)[:, None, None].expand(5, 8, 8).contiguous()
    save_file({"images": images}, "plain.safetensors")
    shutil.move("plain.safetensors", f"{CAFE}.safetensors")
    np.savez(f"{CAFE}.npz", images=images.numpy())
    np.save(f"{CAFE}.npy", images.numpy())
    for ending in ("safetensors", "npz", "npy"):
        found = open_dataset(Data(name=f"{CAFE}.{ending}")).train
        assert torch.equal(found.pixels(torch.arange(5))[:, 0], images)
    entry = here / CAFE / "pixels.safetensors"
    write_entry(entry, [images])
    (cached,) = read_entry(entry, [tuple(images.shape)]) or [None]
    assert torch.equal(cached, images)


def test_tensorboard_which_takes_no_such_folder_is_refused(here: Path) -> None:
    pytest.importorskip("tensorboard")
    ended = zoo("train", "gan", "--out", f"run-{CAFE}", *SMALL, "--logging.trackers", "tensorboard")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "tensorboard requires a folder whose name is UTF-8" in ended.err
    assert not (here / f"run-{CAFE}").exists()


def test_what_is_no_path_is_told_as_ever() -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        open_dataset(Data(name=f"nowhere/{CAFE}"))
