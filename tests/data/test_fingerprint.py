"""Fingerprints identify a set wherever and however it is stored; every change is detected and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unicodedata import normalize

import numpy as np
import pytest
import torch
from commandline import write_set
from opening import opened
from PIL import Image

from gan_zoo.config import Data
from gan_zoo.data import fingerprint as module
from gan_zoo.data.dataset import Dataset, Split, open_dataset
from gan_zoo.data.fingerprint import Fingerprint, fingerprint, from_record, with_absolute_path
from gan_zoo.files import path_from_text
from gan_zoo.shapes import ImageShape

SIDE = 8


def write_images(folder: Path, names: list[str], seed: int = 0) -> None:
    """Bitmaps, all of one size in bytes."""
    random = np.random.default_rng(seed)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)).save(folder / name)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    write_images(
        tmp_path / "pets",
        [f"{part}/{kind}/{k}.bmp" for part in ("train", "test") for kind in ("cat", "dog") for k in range(3)],
    )
    return tmp_path / "pets"


def of(place: Path, name: str | None = None, **settings: object) -> Fingerprint:
    where = {"name": name, "path": str(place)} if name else {"name": str(place)}
    return fingerprint(open_dataset(Data(**where, **settings)))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["folder", "array", "mapped"])
def test_a_set_is_the_same_wherever_it_lies_and_however_it_is_held(kind: str, tmp_path: Path) -> None:
    place, other = tmp_path / "here", tmp_path / "deep" / "er"
    if kind == "folder":
        write_images(place, ["b/1.bmp", "b/2.bmp", "a/1.bmp"])
    elif kind == "array":
        write_set(place := place.with_suffix(".npz"), images=7)
        other = other.with_suffix(".npz")
    else:
        np.save(place := place.with_suffix(".npy"), np.zeros((5, 8, 8), np.uint8))
        other = other.with_suffix(".npy")
    found = of(place)
    other.parent.mkdir()
    shutil.move(place, other)
    registered = "folder" if kind == "folder" else "array"
    for now in (of(other), of(other, registered), of(other, memory=0.0), of(other, resolution=6, channels=3)):
        assert found.change(now) == ""
        assert found == now
    assert from_record(json.loads(json.dumps(found.record))) == found


def rename(old: str, new: str) -> Callable[[Path], object]:
    def change(place: Path) -> None:
        for part in ("train", "test"):
            (place / part / old).rename(place / part / new)

    return change


def swap(place: Path) -> None:
    for old, new in (("cat", "other"), ("dog", "cat"), ("other", "dog")):
        rename(old, new)(place)


def touch_up(place: Path) -> None:
    file = place / "train/dog/1.bmp"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def rename_both(place: Path) -> None:
    rename("cat", "katze")(place)
    rename("dog", "hund")(place)


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "removed": (lambda place: (place / "train/cat/0.bmp").unlink(), "6 images then, 5 now"),
    "removed of a split": (lambda place: (place / "test/cat/0.bmp").unlink(), "6 images then, 5 now (split test)"),
    "split removed": (lambda place: shutil.rmtree(place / "test"), "6 images then, 0 now (split test)"),
    "class renamed": (rename("cat", "katze"), "class cat is called katze now"),
    "classes renamed": (rename_both, "the classes were cat, dog, and are hund, katze"),
    "classes swapped": (swap, "the contents of files differ"),
    "a bit": (touch_up, "the contents of files differ"),
    "image renamed": (
        lambda place: (place / "train/dog/1.bmp").rename(place / "train/dog/9.bmp"),
        "the list of files differs, in names or sizes",
    ),
}


@pytest.mark.parametrize(("change", "told"), CHANGES.values(), ids=CHANGES)
def test_a_change_is_named(pets: Path, change: Callable[[Path], object], told: str) -> None:
    before = of(pets)
    change(pets)
    assert before.change(of(pets)) == told


def test_of_labels_alone_the_order_counts(tmp_path: Path) -> None:
    """As of a set that is no files of ours."""
    found = of(write_set(tmp_path / "a.npz", images=6, classes=2))
    less = Fingerprint(found.images, found.classes, (), {"labels": found.digests["labels"]})
    other = Fingerprint(found.images, found.classes, (), {"labels": "0" * 64})
    assert less.change(found) == ""
    assert other.change(found) == "the labels differ"
    assert Fingerprint(found.images, 3, (), {}).change(found) == "3 classes then, 2 now"


def test_of_a_plug_in_s_images_in_memory_each_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def mine() -> Dataset:
        return Dataset("mine", ImageShape(1, 4), 0, Split(torch.zeros(3, 1, 4, 4, dtype=torch.uint8)))

    registered = {"mine": SimpleNamespace(origin="someone's 1.0"), "mnist-5k": SimpleNamespace(origin="gan-zoo")}
    monkeypatch.setattr(module, "datasets", SimpleNamespace(entries=registered))
    before, other = fingerprint(mine()), mine()
    assert before.change(fingerprint(other)) == ""
    assert isinstance(other.train.images, torch.Tensor)
    other.train.images[1, 0, 2, 2] = 1
    assert before.change(fingerprint(other)) == "the images differ"
    assert fingerprint(replace(other, name="mnist-5k")).digests == {}


def test_of_many_images_and_of_a_large_file_a_part_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOKED_INTO", 4)
    monkeypatch.setattr(module, "READ", 4096)
    write_images(tmp_path / "many", [f"{k:02d}.bmp" for k in range(12)])
    before = of(tmp_path / "many")
    write_images(tmp_path / "many", ["01.bmp"], seed=1)  # none that is looked into
    assert before.change(of(tmp_path / "many")) == ""
    write_images(tmp_path / "many", ["03.bmp"], seed=1)
    assert before.change(of(tmp_path / "many")) == "the contents of files differ"
    images = np.zeros((200, 8, 8), np.uint8)
    np.save(tmp_path / "a.npy", images)
    whole = of(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.maximum(images, np.arange(200, dtype=np.uint8)[:, None, None]))
    assert whole.change(of(tmp_path / "a.npy")) == "the contents of files differ"


def test_names_of_many_classes_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_NAMES", 3)
    write_images(tmp_path, ["a/1.bmp", "bc/1.bmp"])
    assert of(tmp_path).class_names == ("a", "bc")
    monkeypatch.setattr(module, "LONGEST_NAMES", 2)
    assert of(tmp_path).class_names == ()
    assert of(tmp_path).classes == 2


@pytest.mark.parametrize(
    "record",
    [None, [], {}, {"images": 1}, {"images": {"train": "1"}}, {"class_names": [1]}, {"digests": {"files": 1}}],
    ids=str,
)
def test_what_is_no_record_is_none(record: object) -> None:
    sound = {"images": {"train": 1}, "classes": 0, "class_names": [], "digests": {}}
    assert from_record(sound) is not None
    assert from_record(sound | record if isinstance(record, dict) and record else record) is None


def test_a_place_is_kept_as_it_is_called_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "imgs").mkdir()
    (tmp_path / "sub").mkdir()
    (tmp_path / "caf\udce9").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    monkeypatch.setenv("HOME", str(tmp_path))
    for typed in ("../imgs", "~/imgs", "./../imgs", str(tmp_path / "imgs")):
        assert with_absolute_path(Data(name=typed)).name == str(tmp_path / "imgs")
        assert with_absolute_path(Data(name="folder", path=typed)) == Data(name="folder", path=str(tmp_path / "imgs"))
    assert with_absolute_path(Data(name=".")).name == str(tmp_path / "sub")
    for kept in (Data(), Data(name="hub", path="org/name"), Data(name="nowhere")):
        assert with_absolute_path(kept) == kept
    foreign = with_absolute_path(Data(name="../caf\udce9")).name
    assert foreign == f"file://{tmp_path}/caf%E9"
    assert path_from_text(foreign) == tmp_path / "caf\udce9"
    assert with_absolute_path(Data(name=foreign)).name == foreign


def test_fingerprints_are_those_of_earlier_releases(tmp_path: Path) -> None:
    """A run's `data.json` must still match its data."""
    pixels = np.arange(6 * 8 * 8, dtype=np.uint8).reshape(6, 8, 8)
    names = ["train/a/1", "train/a/2", "train/b/1", "test/a/1", "test/b/1", "val/b/1"]
    for values, name in zip(pixels, names, strict=True):
        file = tmp_path / f"pets/{name}.bmp"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(file)
    np.save(tmp_path / "a.npy", pixels)
    assert fingerprint(open_dataset(Data())).digests == {
        "labels": "1cc83fa7d68faad94f9e44245d6aeeefe9e48b5a3860e23a5c409374e2e30c97"
    }
    assert of(tmp_path / "pets").digests == {
        "labels": "b9083f02a5a10dc8b7e7f3b70fde9cc09f5fed2bc84ae578def1a2666173387e",
        "files": "2712d7937f7d491e09239ff023da445288d9d9885fa6f48796f848c5d35b437f",
        "contents": "496c2e318b9bdd4ff2a4dff35dc0fab3008273baa871d602ede9a9847332495c",
    }
    assert of(tmp_path / "a.npy").digests == {
        "files": "5ace0364c8f805edbd733d2a4fcc6ca1b7818c67fe87fe91578c0359a36ca527",
        "contents": "869d44f5f6a8671aed97c6bedfdbaeaced4d4b7ae7b5e2143279a8d5cb13a598",
    }


def test_a_copy_with_accents_in_another_form_is_the_same_dataset(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        names = [normalize(form, name) for name in ("\u00e9/1.png", "f/\u00e9.png", "f/g.png")]
        write_images(tmp_path / form, names)
    composed, decomposed = (fingerprint(opened(tmp_path / form)) for form in ("NFC", "NFD"))
    assert composed == decomposed
