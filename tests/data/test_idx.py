"""IDX files, and the sets that come in them."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gan_zoo.config import Data
from gan_zoo.data.dataset import open_dataset
from gan_zoo.data.idx import DEBIAN_FASHION, read_idx
from gan_zoo.errors import InputError


def idx(array: np.ndarray) -> bytes:
    """`array` as an IDX file of unsigned bytes."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_set(folder: Path, *, name: Callable[[str, int], str], pack: Callable[[bytes], bytes]) -> np.ndarray:
    folder.mkdir(parents=True, exist_ok=True)
    images = np.random.default_rng(0).integers(0, 256, (12, 6, 6), dtype=np.uint8)
    for stem, part in (("train", images), ("t10k", images[:4])):
        (folder / name(f"{stem}-images", 3)).write_bytes(pack(idx(part)))
        (folder / name(f"{stem}-labels", 1)).write_bytes(pack(idx(np.arange(len(part), dtype=np.uint8) % 10)))
    return images


@pytest.mark.parametrize("where", [".", "raw"])
@pytest.mark.parametrize("name", ["{}-idx{}-ubyte.gz", "{}.idx{}-ubyte", "{}-idx{}-ubyte"])
def test_mnist_is_read_from_its_four_files(tmp_path: Path, where: str, name: str) -> None:
    pack = gzip.compress if name.endswith("gz") else bytes
    images = write_set(tmp_path / where, name=name.format, pack=pack)
    found = open_dataset(Data(name="mnist", path=str(tmp_path)))
    assert found.test is not None
    assert (len(found.train), len(found.test), found.classes) == (12, 4, 10)
    assert torch.equal(found.train.images, torch.from_numpy(images)[:, None])
    assert found.train.labels is not None
    assert found.train.labels[:3].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not an IDX file"),
        (b"\0\0", "not an IDX file"),
        (b"PNG, really", "not an IDX file"),
        (b"\0\0\x0d\x03" + bytes(12), "not an IDX file"),
        (b"\0\0\x08\x01\0\0\0\0", "not an IDX file"),
        (b"\0\0\x08\x03\0\0", "ends within its header"),
        (idx(np.zeros((2, 3, 3), np.uint8))[:-1], "contains only 17"),
        (idx(np.zeros((2, 3, 3), np.uint8)) + b"x", "contains more"),
        (b"\0\0\x08\x03" + b"\xff" * 12 + b"abc", "contains only 3"),
        (gzip.compress(idx(np.zeros((2, 300, 300), np.uint8)))[:-20], "cannot be read"),
        (b"\x1f\x8b garbage", "cannot be read"),
    ],
)
def test_broken_files_are_refused_in_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_folders_and_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"requires data\.path"):
        open_dataset(Data(name="mnist"))
    with pytest.raises(InputError, match="does not exist"):
        open_dataset(Data(name="mnist", path=str(tmp_path / "none")))
    write_set(tmp_path, name="{}-idx{}-ubyte".format, pack=bytes)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(InputError, match="contains no t10k-labels-idx1-ubyte"):
        open_dataset(Data(name="mnist", path=str(tmp_path)))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(3, np.uint8)))
    with pytest.raises(InputError, match=r"4 images, but .* 3 labels"):
        open_dataset(Data(name="mnist", path=str(tmp_path)))


def test_labels_beyond_ten_classes_are_refused(tmp_path: Path) -> None:
    write_set(tmp_path, name="{}-idx{}-ubyte".format, pack=bytes)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.full(12, 26, np.uint8)))
    with pytest.raises(InputError, match="from 26 to 26; accepted with 10 classes: 0 to 9"):
        open_dataset(Data(name="mnist", path=str(tmp_path)))


def test_absent_fashion_mnist_says_both_ways_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_zoo.data.idx.DEBIAN_FASHION", tmp_path / "none")
    with pytest.raises(InputError, match=r"apt-get install dataset-fashion-mnist.*set data\.path"):
        open_dataset(Data(name="fashion-mnist"))


@pytest.mark.skipif(not DEBIAN_FASHION.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_fashion_mnist_of_debian() -> None:
    clothes = open_dataset(Data(name="fashion-mnist"))
    assert clothes.test is not None
    assert (len(clothes.train), len(clothes.test)) == (60_000, 10_000)
    assert clothes.train.labels is not None
    assert torch.bincount(clothes.train.labels).tolist() == [6000] * 10
    assert clothes.train.labels[:5].tolist() == [9, 0, 0, 3, 0], "as published"
