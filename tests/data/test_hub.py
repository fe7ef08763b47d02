"""Datasets of the Hub, from local copies in the same layouts, without network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commandline import zoo_process
from hub import hub
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


def test_arrow_files_are_opened(datasets: Any, tmp_path: Path) -> None:
    table(datasets).save_to_disk(tmp_path / "train")
    table(datasets, 2).save_to_disk(tmp_path / "test")
    (file,) = (tmp_path / "train").glob("*.arrow")
    check(opened(file), test=None)
    (tmp_path / "set").mkdir()
    for part in ("train", "test"):
        (file,) = (tmp_path / part).glob("*.arrow")
        file.rename(tmp_path / "set" / f"{part}.arrow")
    check(opened(tmp_path / "set"), test=2)
    (tmp_path / "no.arrow").write_bytes(b"no table")
    assert "cannot be read" in refused(tmp_path / "no.arrow")


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
    assert "no column with the feature Image; its columns are id (Value), label (Value)" in refused(tmp_path / "d")


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
    assert "the cell is empty" in message


def test_without_the_network_a_name_is_refused_in_one_line(datasets: Any) -> None:
    assert "'nobody/nothing' cannot be loaded from the Hugging Face Hub" in refused("nobody/nothing")
    assert "'nobody/nothing:config' cannot be loaded" in refused("nobody/nothing:config")
    with pytest.raises(InputError, match="'uoft-cs/cifar10' cannot be loaded"):
        open_dataset(Data(name="cifar10"))


def test_what_is_no_set_is_refused(datasets: Any, tmp_path: Path) -> None:
    assert "contains no dataset" in refused(tmp_path)
    assert "cannot be a name on the Hub" in refused(tmp_path / "none")
    with pytest.raises(InputError, match=r"requires data\.path: 'org/name'"):
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


def test_class_labels_keep_their_names(datasets: Any, tmp_path: Path) -> None:
    table(datasets).save_to_disk(tmp_path / "a")
    assert opened(tmp_path / "a").class_names == ("a", "b", "c")
    assert opened(tmp_path / "a", classes=0).class_names == ()
    assert opened(tmp_path / "a", classes=5).class_names == (), "two have none"
    table(datasets).cast_column("label", datasets.Value("int64")).to_parquet(tmp_path / "b.parquet")
    assert opened(tmp_path / "b.parquet").class_names == ()


def test_a_configuration_of_several_is_its_own_folder(datasets: Any, tmp_path: Path) -> None:
    for config, n in (("large", 6), ("small", 2)):
        for split in ("train", "validation"):
            (tmp_path / config).mkdir(exist_ok=True)
            table(datasets, n).to_parquet(tmp_path / config / f"{split}-00000-of-00001.parquet")
    check(opened(tmp_path / "large"), test=6)
    assert len(opened(tmp_path / "small").train) == 2


@pytest.mark.parametrize("memory", [0.0, 2.0])
def test_images_of_mixed_modes_become_one(datasets: Any, tmp_path: Path, memory: float) -> None:
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    mixed = [red, red.convert("L"), red.convert("CMYK"), red.quantize(4), red.convert("RGBA"), red.convert("1")]
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict({"image": mixed}, features=features).save_to_disk(tmp_path / "a")
    found = opened(tmp_path / "a", memory=memory)
    middle = found.train.pixels(torch.arange(6))[:, :, 4, 4]
    assert found.image == ImageShape(3, 8)
    assert middle[[0, 2, 3, 4]].tolist() == [[255, 0, 0]] * 4
    assert middle[1].tolist() == [76] * 3
    assert opened(tmp_path / "a", channels=1, memory=memory).image == ImageShape(1, 8)


def imagefolder(folder: Path) -> Path:
    """The layout of `imagefolder`: split, class, files."""
    for k, pixels in enumerate(PIXELS):
        for split in ("train", "test")[: 1 + (k < 2)]:
            file = folder / split / "abc"[k % 3] / f"{k}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
    return folder


@pytest.mark.parametrize("kept", ["arrow", "parquet"])
def test_an_imagefolder_is_the_same_set_by_both_readers(datasets: Any, tmp_path: Path, kept: str) -> None:
    folder = imagefolder(tmp_path / "set")
    table = datasets.load_dataset("imagefolder", data_dir=str(folder))
    saved = tmp_path / "saved" if kept == "arrow" else folder
    if kept == "arrow":
        table.save_to_disk(saved)
    else:  # beside the images, which such a file names
        for split in table:
            table[split].to_parquet(saved / f"{split}.parquet")
    ours, theirs = opened(folder, name="folder"), opened(saved)
    assert ours.class_names == theirs.class_names == ("a", "b", "c")
    for one, other in ((ours.train, theirs.train), (ours.test, theirs.test)):
        assert one is not None and other is not None
        assert torch.equal(one.pixels(torch.arange(len(one))), other.pixels(torch.arange(len(other))))
        assert one.labels is not None and other.labels is not None
        assert torch.equal(one.labels, other.labels)


def test_a_table_that_only_names_files_elsewhere_is_refused_with_what_helps(datasets: Any, tmp_path: Path) -> None:
    table = datasets.load_dataset("imagefolder", data_dir=str(imagefolder(tmp_path / "set")), split="train")
    (tmp_path / "other").mkdir()
    table.to_parquet(tmp_path / "other/train.parquet")
    message = refused(tmp_path / "other")
    assert "6 of 6 images cannot be read" in message
    assert "is outside the dataset's folder; `save_to_disk` stores the images themselves" in message


CARD = """---
configs:
- config_name: digits
  data_files: digits/*.parquet
- config_name: letters
  data_files:
  - split: train
    path: letters/train-*
  - split: validation
    path: letters/validation-*
---
"""
ASK = """
import sys
from gan_zoo.cli import main
for name in sys.argv[1].split():
    try:
        main(["datasets", "hub", "--path", name, "--json", "--out", sys.argv[2]])
    except SystemExit as end:
        print(end.code)
"""


def test_a_name_on_the_hub_is_loaded_from_there(datasets: Any, tmp_path: Path) -> None:
    with hub() as there:
        files = there.datasets["org/set"] = {"README.md": CARD.encode()}
        for name, n in (("letters/train", 6), ("letters/validation", 2), ("digits/train", 1)):
            table(datasets, n).to_parquet(tmp_path / "one.parquet")
            files[f"{name}-00000-of-00001.parquet"] = (tmp_path / "one.parquet").read_bytes()
        place = {"HF_ENDPOINT": there.address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
        words = ("-c", ASK, "org/set:letters org/set org/none", str(tmp_path / "a.png"))
        quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
        ended = zoo_process(python=words, **place, **quiet)
    told = ended.out
    assert '"train": 6' in told and '"test": 2' in told and '"class_names": [' in told, ended.err
    refusals = [line for line in ended.err.splitlines() if line.startswith("gan-zoo: ")]
    assert len(refusals) == 2
    assert "'org/set' cannot be loaded from the Hugging Face Hub: Config name is missing" in refusals[0]
    assert "'org/none' cannot be loaded from the Hugging Face Hub" in refusals[1]
    assert any("letters/train" in line for line in there.asked)
    assert not any("digits/train" in line and line.startswith("GET") for line in there.asked)


# Labels of every kind


def labelled(datasets: Any, values: list[Any], feature: Any = None) -> Any:
    images = [Image.fromarray(PIXELS[k]) for k in range(len(values))]
    feature = feature or datasets.Value({str: "string", bool: "bool", int: "int64", float: "float64"}[type(values[0])])
    features = datasets.Features({"image": datasets.Image(), "label": feature})
    return datasets.Dataset.from_dict({"image": images, "label": values}, features=features)


@pytest.mark.parametrize(
    ("values", "labels", "names"),
    [
        (["dog", "cat", "dog"], [1, 0, 1], ("cat", "dog")),
        (["b", "", "a"], [2, 0, 1], ("", "a", "b")),
        ([True, False, True], [1, 0, 1], ("False", "True")),
        ([7, 5, 7], [1, 0, 1], ("5", "7")),
        ([1, 2, 3], [0, 1, 2], ("1", "2", "3")),
        ([0, 1, 0], [0, 1, 0], ()),
    ],
)
def test_labels_of_every_kind_become_classes(
    datasets: Any, tmp_path: Path, values: list[Any], labels: list[int], names: tuple[str, ...]
) -> None:
    labelled(datasets, values).to_parquet(tmp_path / "a.parquet")
    found = opened(tmp_path / "a.parquet")
    assert found.train.labels is not None and found.train.labels.tolist() == labels
    assert found.classes == len({*values}) and found.class_names == names
    assert any(f"{len({*values})} classes, by the" in line for line in found.notes) == bool(names)
    assert opened(tmp_path / "a.parquet", classes=found.classes).class_names == names, "as a resumed run opens it"
    assert opened(tmp_path / "a.parquet", classes=0).train.labels is None


def test_labels_that_cannot_be_classes_are_told_or_refused(datasets: Any, tmp_path: Path) -> None:
    labelled(datasets, [0.5, 1.5]).to_parquet(tmp_path / "a.parquet")
    found = opened(tmp_path / "a.parquet")
    assert found.classes == 0 and found.notes == ("no labels: the column label (float64) cannot be used as labels",)
    assert "has no labels, but data.classes is 2" in refused(tmp_path / "a.parquet", classes=2)
    labelled(datasets, ["a", None]).to_parquet(tmp_path / "b.parquet")
    assert "rows without a label; set data.classes to 0" in refused(tmp_path / "b.parquet")
    for name, train, test in (("text", ["a", "b"], ["a", ""]), ("numbers", [5, 7], [6])):
        both = {"train": labelled(datasets, train), "test": labelled(datasets, test)}
        datasets.DatasetDict(both).save_to_disk(tmp_path / name)
        assert "which no training image has" in refused(tmp_path / name)


def test_an_empty_train_split_is_refused_and_no_other_taken(datasets: Any, tmp_path: Path) -> None:
    datasets.DatasetDict({"train": table(datasets, 0), "test": table(datasets)}).save_to_disk(tmp_path / "a")
    assert "the split train has no rows" in refused(tmp_path / "a")
    (tmp_path / "d").mkdir()
    table(datasets, 0).to_parquet(tmp_path / "d/train.parquet")
    table(datasets).to_parquet(tmp_path / "d/test.parquet")
    assert "the split train is empty" in refused(tmp_path / "d")
    datasets.DatasetDict({"left": table(datasets), "right": table(datasets)}).save_to_disk(tmp_path / "b")
    assert "has the splits left, right; expected: one called 'train'" in refused(tmp_path / "b")
    datasets.DatasetDict({"dev": table(datasets)}).save_to_disk(tmp_path / "c")
    assert "no images to learn from: its only split is validation" in refused(tmp_path / "c")
    datasets.DatasetDict({"all": table(datasets)}).save_to_disk(tmp_path / "e")
    assert opened(tmp_path / "e").notes == ("6 images, split all",)


def test_each_split_numbers_its_classes_in_its_own_order(datasets: Any, tmp_path: Path) -> None:
    def split(*names: str) -> Any:
        return labelled(datasets, [0, 1, 0], datasets.ClassLabel(names=[*names]))

    datasets.DatasetDict({"train": split("x", "y"), "test": split("y", "x")}).save_to_disk(tmp_path / "a")
    found = opened(tmp_path / "a")
    assert found.class_names == ("x", "y") and found.test is not None
    for part, labels in ((found.train, [0, 1, 0]), (found.test, [1, 0, 1])):
        assert part.labels is not None and part.labels.tolist() == labels
    datasets.DatasetDict({"train": split("x", "\u00e9"), "test": split("e\u0301", "x")}).save_to_disk(tmp_path / "c")
    assert opened(tmp_path / "c").class_names == ("x", "\u00e9")
    datasets.DatasetDict({"train": split("x", "y"), "test": split("x", "z")}).save_to_disk(tmp_path / "b")
    assert "the split test has the class 'z'" in refused(tmp_path / "b")


def test_labels_of_two_types_are_refused(datasets: Any, tmp_path: Path) -> None:
    both = {"train": labelled(datasets, [0, 1]), "test": labelled(datasets, ["a", "b"])}
    datasets.DatasetDict(both).save_to_disk(tmp_path / "a")
    assert "'label' holds integers in the training split and text in test" in refused(tmp_path / "a")


def test_text_labels_are_equal_however_their_accents_are_written(datasets: Any, tmp_path: Path) -> None:
    both = {"train": labelled(datasets, ["\u00e9", "b"]), "test": labelled(datasets, ["e\u0301", "b"])}
    datasets.DatasetDict(both).save_to_disk(tmp_path / "a")
    assert opened(tmp_path / "a").class_names == ("b", "\u00e9")


def test_a_folder_of_tables_is_opened_by_its_path_alone(datasets: Any, tmp_path: Path) -> None:
    both = datasets.DatasetDict({"train": table(datasets), "validation": table(datasets, 2)})
    both.save_to_disk(tmp_path / "saved")
    found = open_dataset(Data(name=str(tmp_path / "saved")))
    check(found, test=2)
    assert found.notes == ("6 images, split train; 2 in validation for evaluation",)
    (tmp_path / "parquet").mkdir()
    table(datasets).to_parquet(tmp_path / "parquet/train.parquet")
    check(open_dataset(Data(name=str(tmp_path / "parquet"))), test=None)
    Image.fromarray(PIXELS[0]).save(tmp_path / "parquet/a.png")
    found = open_dataset(Data(name=str(tmp_path / "parquet")))
    assert len(found.train) == 1
    assert (
        found.notes[-1]
        == '1 table files are not read (train.parquet); data.name = "hub" reads them instead of the images'
    )
