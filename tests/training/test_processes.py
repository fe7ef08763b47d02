"""Trainings whose images are decoded by processes that are spawned, as on macOS, on Windows and from Python 3.14 on."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from narrow import narrow_train, one_line, same_bytes
from PIL import Image

from gan_zoo.data import batches as module
from gan_zoo.data.batches import batches
from gan_zoo.data.dataset import LazyImages, Split
from gan_zoo.errors import InputError
from gan_zoo.shapes import ImageShape
from gan_zoo.training.run import open_run

TRAINING = """\
import multiprocessing

import gan_zoo


def train():
    multiprocessing.set_start_method({method!r}, force=True)
    gan_zoo.train("gan", {{}}, out={out!r}, data={{"name": "imgs", "memory": 0.0}}, trunk={{"width": 4}}, steps=2,
                  batch_size=4, device="cpu", precision="fp32", quiet=True)


"""


def write_images(folder: Path, count: int) -> Path:
    folder.mkdir()
    for k in range(count):
        Image.fromarray(np.full((8, 8), 16 * k, np.uint8)).save(folder / f"{k}.png")
    return folder


def run_script(place: Path, method: str, end: str, out: str | None = None) -> subprocess.CompletedProcess[str]:
    script = place / "script.py"
    script.write_text(TRAINING.format(method=method, out=out) + end)
    return subprocess.run([sys.executable, script], cwd=place, capture_output=True, text=True, timeout=300, check=False)


DODGED = "try:\n    train()\nexcept BaseException:\n    print('__main__')\n"
"""Looks guarded, and catches whatever is raised."""


@pytest.mark.slow
@pytest.mark.parametrize(("method", "end"), [("spawn", "train()\n"), ("forkserver", "train()\n"), ("spawn", DODGED)])
def test_a_script_without_a_main_guard_is_told_of_it_and_leaves_no_run(method: str, end: str, tmp_path: Path) -> None:
    write_images(tmp_path / "imgs", 6)
    ended = run_script(tmp_path, method, end)
    lines = ended.stderr.splitlines()
    if end == DODGED:
        assert set(lines) == {module.GUARD}
    else:
        assert (ended.returncode, lines.count("Traceback (most recent call last):")) == (1, 1)
        assert lines[-1] == f"gan_zoo.errors.InputError: {module.GUARD}"
    assert [*(tmp_path / "runs").iterdir()] == []


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_that_are_spawned_train_the_same_run(method: str, tmp_path: Path) -> None:
    write_images(tmp_path / "imgs", 6)
    ended = run_script(tmp_path, method, 'if __name__ == "__main__":\n    train()\n', out="run")
    assert (ended.returncode, ended.stderr) == (0, "")
    spawned = open_run(tmp_path / "run")
    settings = {"data.name": str(tmp_path / "imgs"), "data.memory": 0.0, "latent.noise": 62, "training.batch_size": 4}
    forked = narrow_train("gan", tmp_path / "fork", training__steps=2, **settings)
    assert same_bytes(spawned.checkpoint(2), forked.checkpoint(2))


def unread(_: torch.Tensor) -> torch.Tensor:
    raise AssertionError


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("import os; os._exit(77)", 'below `if __name__ == "__main__":`'),
        ("import os; os._exit(3)", "a process that decodes images ended with code 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "was killed by signal 9 (out of memory?)"),
    ],
)
def test_what_becomes_of_a_spawned_process_is_seen_before_it_is_sent_the_images(
    script: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "script.py").write_text(script)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(tmp_path / "script.py"), raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None, raising=False)
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda: "spawn")
    monkeypatch.setattr(multiprocessing, "Process", multiprocessing.get_context("spawn").Process)
    images = LazyImages(unread, ImageShape(1, 4), torch.arange(8))
    with pytest.raises((InputError, RuntimeError)) as error:
        next(batches(Split(images), seed=0, batch_size=2, device="cpu", workers=1))
    assert told in one_line(error)


def test_a_run_that_is_refused_before_its_first_step_leaves_no_folder(tmp_path: Path) -> None:
    write_images(tmp_path / "imgs", 2)
    streamed = {"data.name": str(tmp_path / "imgs"), "data.memory": 0.0, "data.resolution": 8, "data.channels": 1}
    (tmp_path / "imgs/1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "mine").mkdir()
    for name in ("mine", "run"):
        with pytest.raises(InputError, match=r"1\.png"):
            narrow_train("gan", tmp_path / name, **streamed)
    assert {path.name for path in tmp_path.iterdir()} == {"imgs", "mine"}
    assert [*(tmp_path / "mine").iterdir()] == []
