"""Streamed sets: training through worker processes gives the same bytes as training in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from narrow import narrow_train, same_bytes
from PIL import Image
from test_resume import train_until_a_crash_before

from gan_zoo.config import Data
from gan_zoo.data.dataset import LazyImages, open_dataset

STEPS, EVERY, CRASH = 7, 3, 5
IMAGES = 20
LAST = f"checkpoints/step-{STEPS:08d}"


def folder(place: Path) -> dict[str, Any]:
    """Image files by class."""
    random = np.random.default_rng(0)
    for k in range(IMAGES):
        file = place / "ab"[k % 2] / f"{k:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (28, 28), dtype=np.uint8)).save(file)
    return {"data__name": "folder", "data__path": str(place)}


def table(place: Path) -> dict[str, Any]:
    """The same, saved by `datasets`."""
    datasets = pytest.importorskip("datasets", reason="the extra `hub` is not installed")
    folder(place / "files")
    datasets.disable_progress_bars()
    made = datasets.load_dataset("imagefolder", data_dir=str(place / "files"), split="train")
    made.save_to_disk(place / "saved")
    return {"data__name": "hub", "data__path": str(place / "saved")}


@pytest.mark.parametrize("kind", [folder, table])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_streamed_run_is_the_one_in_memory_and_resumes_to_the_same_bytes(
    kind: Any, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind is table:
        datasets = pytest.importorskip("datasets", reason="the extra `hub` is not installed")
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    data = kind(tmp_path / "set")
    settings = data | {"training__steps": STEPS, "logging__checkpoint_every": EVERY, "data__workers": workers}
    streamed = settings | {"data__memory": IMAGES * 28 * 28 / 2**30 / 2}  # half of the set
    found = open_dataset(Data(name=data["data__name"], path=data["data__path"], memory=streamed["data__memory"]))
    assert isinstance(found.train.images, LazyImages)
    whole = narrow_train("acgan", tmp_path / "whole", **streamed)
    in_memory = narrow_train("acgan", tmp_path / "memory", **settings)
    train_until_a_crash_before(CRASH, "acgan", tmp_path / "stopped", **streamed)
    resumed = narrow_train(None, tmp_path / "stopped", resume=True)
    assert same_bytes(whole.folder / LAST, resumed.folder / LAST)
    for file in ("model.safetensors", "optimizer.safetensors", "ema.safetensors"):
        assert (whole.folder / LAST / file).read_bytes() == (in_memory.folder / LAST / file).read_bytes()
