"""Splits and classes from names: as in the layout `imagefolder` of the library `datasets`, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from opening import opened, refused
from PIL import Image

from gan_zoo.data.dataset import Split


def made(folder: Path, *names: str) -> Path:
    """A folder of images, each another grey; `cat dog/1.png` stands for one in each of the two folders."""
    for number, name in enumerate(spelled for several in names for spelled in spell(several)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), number).save(path, format="PNG")
    return folder


def spell(name: str) -> list[str]:
    head, *rest = name.split("/")
    return [f"{one}/{tail}" for one in head.split() for tail in spell("/".join(rest))] if rest else head.split()


def held(split: Split | None, classes: tuple[str, ...]) -> dict[str, str] | None:
    """The class of each image by its name; empty text if there are no classes."""
    if split is None:
        return None
    named = ["" for _ in split.names] if split.labels is None else [classes[label] for label in split.labels.tolist()]
    return dict(zip(split.names, named, strict=True))


LAYOUTS = {
    "loose": ["1.png 2.png 3.png"],
    "classes": ["cat dog/1.png 2.png"],
    "one class": ["cat/1.png 2.png"],
    "classes in a wrapper": ["photos/cat dog/1.png"],
    "train and test": ["train test/cat dog/1.png"],
    "train, val and test": ["train val test/cat dog/1.png 2.png"],
    "train, validation": ["train validation/cat dog/1.png"],
    "training, valid, testing": ["training valid testing/cat dog/1.png"],
    "dev and eval": ["train dev eval/cat dog/1.png"],
    "splits in a wrapper": ["photos/train val/cat dog/1.png"],
    "splits in two wrappers": ["my/photos/train test/cat dog/1.png"],
    "a loose image beside": ["train test/cat dog/1.png", "logo.png"],
    "a loose image in the wrapper": ["photos/train test/cat dog/1.png", "photos/logo.png"],
    "split with a year": ["train-2017 val-2017/cat dog/1.png"],
    "split with a word before": ["my_train my_test/cat dog/1.png"],
    "two folders of one split": ["train-1 train-2 test/cat dog/1.png"],
    "several depths": ["cat/1.png", "dog/deep/1.png"],
    "several depths in splits": ["train test/cat/1.png", "train test/dog/deep/1.png"],
    "the innermost folder": ["a b/cat dog/1.png"],
    "words that only begin so": ["trainer contest/1.png"],
    "hidden": ["cat dog/1.png", ".hidden __pycache__/1.png"],
    "splits in file names": ["cat dog/train_1.png test_1.png"],
    "only train": ["train/cat dog/1.png"],
    "numbers": ["train test/0 1 10 2/1.png"],
    "endings in capitals": ["cat dog/1.PNG 2.JPG"],
}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_folder_is_read_as_the_library_reads_it(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra `hub` is not installed")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    folder = made(tmp_path / "set", *LAYOUTS[kind])
    theirs = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))
    feature = theirs["train"].features.get("label")
    expected = {}
    for name, table in theirs.items():
        rows = table.cast_column("image", datasets.Image(decode=False))
        paths = [Path(row["image"]["path"]).relative_to(folder).as_posix() for row in rows]
        expected[name] = dict(
            zip(paths, map(feature.int2str, rows["label"]) if feature else [""] * len(paths), strict=True)
        )
    found = opened(folder)
    classes = found.class_names
    assert classes == (tuple(feature.names) if feature else ())
    assert held(found.train, classes) == expected["train"]
    assert held(found.test, classes) == expected.get("test", expected.get("validation"))
    told = found.notes[0]
    if "test" in expected and "validation" in expected:
        assert f"{len(expected['validation'])} in validation unused" in told
    if len(expected) > 1:
        assert "split train" in told


@pytest.mark.parametrize("words", ["Train Test", "TRAIN VAL", "Training Valid"])
def test_splits_are_told_in_any_case(words: str, tmp_path: Path) -> None:
    train, test = words.split()
    found = opened(made(tmp_path, f"{words}/cat dog/1.png"))
    assert held(found.train, found.class_names) == {f"{train}/cat/1.png": "cat", f"{train}/dog/1.png": "dog"}
    assert held(found.test, found.class_names) == {f"{test}/cat/1.png": "cat", f"{test}/dog/1.png": "dog"}


def test_splits_without_classes_have_no_labels(tmp_path: Path) -> None:
    found = opened(made(tmp_path, "train val/1.png 2.png"))
    assert held(found.train, ()) == {"train/1.png": "", "train/2.png": ""}
    assert held(found.test, ()) == {"val/1.png": "", "val/2.png": ""}
    assert found.classes == 0


def test_what_names_decided_is_told(tmp_path: Path) -> None:
    found = opened(made(tmp_path, "train val test/cat dog/1.png 2.png", "loose.png"))
    assert found.notes == (
        "4 images in 2 classes, split train; 4 in validation unused; 1 in no split unused; "
        "4 in test for evaluation; classes: cat, dog",
    )
    assert opened(made(tmp_path / "few", "cat/1.png", "dog/deep/1.png")).notes == (
        "2 images, no classes (images lie at several depths, such as cat/1.png and dog/deep/1.png)",
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["val test/cat dog/1.png"], "contains no training images: their names"),
        (["cat dog/train test/1.png"], "is in the folder of a split, but of no class"),
        (["train test/test_tube cat/1.png"], "names more than one split (test and train)"),
        (["train car/1.png"], "names a split, but no folder beside it does"),
        (["train_1.png test_1.png other.png"], "names a split, but other.png does not"),
        (["train test/cat/1.png", "train/dog/1.png", "test/cow/1.png"], "test/cow/1.png is in none of the classes"),
    ],
)
def test_names_that_leave_a_doubt_are_refused_unless_they_decide_nothing(
    names: list[str], message: str, tmp_path: Path
) -> None:
    told = refused(made(tmp_path, *names))
    assert message in told
    assert "data.splits = false" in told or "none of the classes" in told
    whole = opened(tmp_path, splits=False)
    assert whole.test is None and len(whole.train) == len([*tmp_path.rglob("*.png")])


def test_without_splits_their_folders_are_classes(tmp_path: Path) -> None:
    found = opened(made(tmp_path, "train car/1.png"), splits=False)
    assert held(found.train, found.class_names) == {"car/1.png": "car", "train/1.png": "train"}


def test_metadata_stands_in_place_of_folder_names_as_in_the_library(tmp_path: Path) -> None:
    (made(tmp_path, "cat dog/1.png") / "metadata.csv").write_text("file_name,text\ncat/1.png,a cat\ndog/1.png,a dog\n")
    found = opened(tmp_path)
    assert found.classes == 0
    assert "metadata.csv is not read, and replaces the folders' names" in found.notes[0]


def test_classes_are_equal_however_their_accents_are_written(tmp_path: Path) -> None:
    found = opened(made(tmp_path, "train/\u00e9/1.png", "train/b/1.png", "test/e\u0301/1.png", "test/b/1.png"))
    assert found.class_names == ("b", "\u00e9")


def test_metadata_beside_images_is_named_where_no_folders_are_classes(tmp_path: Path) -> None:
    (made(tmp_path, "1.png 2.png") / "metadata.csv").write_text("file_name,label\n1.png,a\n2.png,b\n")
    assert opened(tmp_path).notes[0] == "2 images, no classes (metadata.csv is not read)"


def test_labels_of_a_split_are_of_the_same_images(tmp_path: Path) -> None:
    found = opened(made(tmp_path, "train test/dog cat/1.png 2.png"))
    assert found.test is not None
    for split in (found.train, found.test):
        assert split.labels is not None
        assert torch.equal(split.labels, torch.tensor([0, 0, 1, 1])), "by their paths: cat, cat, dog, dog"
