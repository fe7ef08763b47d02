"""Sets of the hub, from local copies in the same layouts; nothing here reaches for the network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gan_zoo.config import Data
from gan_zoo.data.dataset import Dataset, open_dataset
from gan_zoo.errors import InputError
from gan_zoo.shapes import ImageShape

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def datasets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    module = pytest.importorskip("datasets", reason="the extra `hub` is not installed")
    monkeypatch.setattr(module.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(module.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    module.disable_progress_bars()
    return module


def table(datasets: Any, n: int = 6, *, image: str = "image", label: str | None = "label") -> Any:
    columns: dict[str, Any] = {
        image: [Image.fromarray(pixels) for pixels in PIXELS[:n]],
        "id": list(range(n)),
    }
    features: dict[str, Any] = {image: datasets.Image(), "id": datasets.Value("int64")}
    if label:
        columns[label] = [i % 3 for i in range(n)]
        features[label] = datasets.ClassLabel(names=["a", "b", "c"])
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def opened(path: Path | str, **settings: Any) -> Dataset:
    return open_dataset(Data(**{"name": "hub", "path": str(path), **settings}))


def refused(path: Path | str, **settings: Any) -> str:
    with pytest.raises(InputError) as caught:
        opened(path, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def check(found: Dataset, *, test: int | None) -> None:
    assert found.image == ImageShape(3, 8)
    assert found.classes == 3
    assert torch.equal(found.train.pixels(torch.arange(6)), torch.from_numpy(PIXELS).permute(0, 3, 1, 2))
    assert found.train.labels is not None
    assert found.train.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert (None if found.test is None else len(found.test)) == test


@pytest.mark.parametrize("memory", [0.0, 2.0])
def test_saved_folders_are_opened(datasets: Any, tmp_path: Path, memory: float) -> None:
    table(datasets).save_to_disk(tmp_path / "single")
    check(opened(tmp_path / "single", memory=memory), test=None)
    both = datasets.DatasetDict({"train": table(datasets), "validation": table(datasets, 2)})
    both.save_to_disk(tmp_path / "both")
    check(opened(tmp_path / "both", memory=memory), test=2)


def test_parquet_as_on_the_hub_is_opened(datasets: Any, tmp_path: Path) -> None:
    folder = tmp_path / "set" / "data"
    folder.mkdir(parents=True)
    table(datasets).to_parquet(folder / "train-00000-of-00001.parquet")
    table(datasets, 2).to_parquet(folder / "test-00000-of-00001.parquet")
    check(opened(tmp_path / "set"), test=2)
    check(opened(folder / "train-00000-of-00001.parquet"), test=None)


@pytest.mark.parametrize("name", ["svhn", "cifar10"])
def test_named_sets_take_a_local_copy(datasets: Any, tmp_path: Path, name: str) -> None:
    table(datasets, image="img").save_to_disk(tmp_path / "copy")
    check(opened(tmp_path / "copy", name=name), test=None)


def test_columns_are_found_by_their_features(datasets: Any, tmp_path: Path) -> None:
    table(datasets, image="photo", label="kind").save_to_disk(tmp_path / "a")
    check(opened(tmp_path / "a"), test=None)
    table(datasets, label=None).save_to_disk(tmp_path / "b")
    assert opened(tmp_path / "b").classes == 0
    plain = table(datasets).cast_column("label", datasets.Value("int8"))
    plain.save_to_disk(tmp_path / "c")
    check(opened(tmp_path / "c"), test=None)
    plain.remove_columns("image").save_to_disk(tmp_path / "d")
    assert "no column of images: it has id (Value), label (Value)" in refused(tmp_path / "d")


def test_withheld_test_labels_are_dropped(datasets: Any, tmp_path: Path) -> None:
    hidden = table(datasets, 2).remove_columns("label").add_column("label", [-1, -1])
    hidden = hidden.cast_column("label", datasets.ClassLabel(names=["a", "b", "c"]))
    datasets.DatasetDict({"train": table(datasets), "test": hidden}).save_to_disk(tmp_path / "a")
    found = opened(tmp_path / "a")
    check(found, test=2)
    assert found.test is not None
    assert found.test.labels is None


def test_rows_without_an_image_or_with_a_broken_one_are_named(datasets: Any, tmp_path: Path) -> None:
    cells = [{"bytes": b"no image", "path": None}, None]
    broken = datasets.Dataset.from_dict({"image": cells}, features=datasets.Features({"image": datasets.Image()}))
    broken.save_to_disk(tmp_path / "a")
    message = refused(tmp_path / "a")
    assert "2 of 2 images cannot be read: row 0 of" in message
    assert "there is no image" in message


def test_without_the_network_a_name_is_refused_in_one_line(datasets: Any) -> None:
    assert "'nobody/nothing' cannot be had from the Hugging Face hub" in refused("nobody/nothing")
    assert "'nobody/nothing:config' cannot be had" in refused("nobody/nothing:config")
    with pytest.raises(InputError, match="'uoft-cs/cifar10' cannot be had"):
        open_dataset(Data(name="cifar10"))


def test_what_is_no_set_is_refused(datasets: Any, tmp_path: Path) -> None:
    assert "holds no set" in refused(tmp_path)
    assert "is no name on the hub" in refused(tmp_path / "none")
    with pytest.raises(InputError, match=r"needs data\.path: 'org/name'"):
        open_dataset(Data(name="hub"))
    (tmp_path / "a.parquet").write_text("no parquet")
    assert "cannot be read" in refused(tmp_path / "a.parquet")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "state.json").write_text("{")
    assert "cannot be read" in refused(tmp_path / "saved")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "pip install 'gan-zoo[hub]'" in refused("org/name")


def test_splits_of_parquet_files_are_told_by_their_names(datasets: Any, tmp_path: Path) -> None:
    for name in ("data/train-00000-of-00002", "data/train-00001-of-00002", "data/validation-00000-of-00001"):
        path = tmp_path / "a[b]*" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table(datasets, 2).to_parquet(path)
    (tmp_path / "a[b]*" / ".cache").mkdir()
    (tmp_path / "a[b]*" / ".cache" / "train.parquet").write_text("hidden")
    found = opened(tmp_path / "a[b]*")
    assert found.test is not None
    assert (len(found.train), len(found.test)) == (4, 2)
