"""Arrays in files: keys, layouts, types and ranges."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gan_zoo.config import Data
from gan_zoo.data.dataset import Dataset, open_dataset
from gan_zoo.errors import InputError
from gan_zoo.shapes import ImageShape

BYTES = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 8), dtype=np.uint8)
BYTES[0, 0, 0, :2] = 0, 255


def opened(path: Path, **settings: object) -> Dataset:
    return open_dataset(Data(name="array", path=str(path), **settings))


def refused(path: Path, **settings: object) -> str:
    with pytest.raises(InputError) as caught:
        opened(path, **settings)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("layout", ["chw", "hwc", "hw"])
@pytest.mark.parametrize("values", ["uint8", "float32", "float64", "signed"])
def test_layouts_and_ranges_come_out_alike(tmp_path: Path, layout: str, values: str) -> None:
    images = {"chw": BYTES, "hwc": BYTES.transpose(0, 2, 3, 1), "hw": BYTES[:, 0]}[layout]
    if values == "signed":
        images = images / 127.5 - 1
    elif values != "uint8":
        images = (images / 255).astype(values)
    np.save(tmp_path / "a.npy", images)
    expected = torch.from_numpy(BYTES if layout != "hw" else BYTES[:, :1])
    for memory in (2.0, 0.0):
        found = opened(tmp_path / "a.npy", memory=memory)
        assert torch.equal(found.train.pixels(torch.arange(6)), expected)


@pytest.mark.parametrize(
    "keys",
    [
        ("images", "labels", "test_images", "test_labels"),
        ("x", "y", "x_test", "y_test"),
        ("x_train", "y_train", "x_test", "y_test"),
    ],
)
@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_splits_and_labels_are_found_by_their_keys(tmp_path: Path, keys: tuple[str, ...], ending: str) -> None:
    arrays = (BYTES, np.array([0, 1, 2, 0, 1, 2]), BYTES[:2], np.array([[2], [1]], np.uint8))
    path = tmp_path / f"a.{ending}"
    if ending == "npz":
        np.savez(path, **dict(zip(keys, arrays, strict=True)))
    else:
        save_file({key: torch.from_numpy(array) for key, array in zip(keys, arrays, strict=True)}, path)
    found = opened(path)
    assert found.image == ImageShape(3, 8)
    assert found.classes == 3
    assert found.test is not None
    assert found.test.labels is not None
    assert found.test.labels.tolist() == [2, 1]
    assert torch.equal(found.test.images, torch.from_numpy(BYTES[:2]))


@pytest.mark.parametrize("kind", [">f4", ">f8", "f2", "g"])
def test_floats_of_any_width_and_byte_order_are_read(tmp_path: Path, kind: str) -> None:
    np.save(tmp_path / "a.npy", np.tile([0.0, 1.0], (2, 8, 4)).astype(kind))
    assert opened(tmp_path / "a.npy").train.pixels(torch.tensor([1])).flatten()[:2].tolist() == [0, 255]


def test_an_unnamed_array_is_the_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", BYTES)
    assert len(opened(tmp_path / "a.npz").train) == 6


def test_bfloat16_and_booleans_are_read(tmp_path: Path) -> None:
    save_file({"images": torch.tensor([0.0, 1.0]).bfloat16().repeat(2, 8, 4)}, tmp_path / "a.safetensors")
    np.save(tmp_path / "b.npy", np.tile([False, True], (2, 8, 4)))
    one, other = opened(tmp_path / "a.safetensors"), opened(tmp_path / "b.npy")
    assert torch.equal(one.train.images, other.train.images)
    assert one.train.images[0, 0, 0].tolist() == [0, 255] * 4


def test_the_test_split_is_held_to_the_range_of_the_training_split(tmp_path: Path) -> None:
    half = np.full((2, 8, 8), 0.5, np.float32)
    np.savez(tmp_path / "a.npz", images=np.concatenate([half, -half]), test_images=half)
    found = opened(tmp_path / "a.npz")
    assert found.test is not None
    assert found.test.pixels(torch.tensor([0])).unique().tolist() == [191]
    np.savez(tmp_path / "a.npz", images=half, test_images=-half)
    assert "from -0.5 to -0.5" in refused(tmp_path / "a.npz")


class Planted:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_nothing_is_unpickled(tmp_path: Path, ending: str) -> None:
    planted = np.array([Planted(tmp_path / "planted")] * 2, dtype=object)
    path = tmp_path / f"a.{ending}"
    if ending == "npy":
        np.save(path, planted, allow_pickle=True)
    else:
        np.savez(path, images=planted)
    assert "never unpickled" in refused(path)
    path.write_bytes(pickle.dumps(planted))
    assert "never unpickled" in refused(path)
    assert not (tmp_path / "planted").exists()


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (np.zeros((4, 8), np.uint8), "shape 4×8"),
        (np.zeros((4, 8, 8, 4), np.uint8), "shape 4×8×8×4"),
        (np.zeros((4, 2, 8, 8), np.uint8), "shape 4×2×8×8"),
        (np.zeros((0, 8, 8), np.uint8), "shape 0×8×8"),
        (np.zeros((4, 8, 3), np.uint8), "shape 4×8×3"),
        (np.zeros((4, 8, 8), np.int64), "type int64"),
        (np.zeros((4, 8, 8), np.complex64), "type complex64"),
        (np.full((4, 8, 8), 255.0), "from 255 to 255"),
        (np.linspace(-1, 2, 4 * 64).reshape(4, 8, 8), "from -1 to 2"),
        (np.full((4, 8, 8), np.nan), "from nan to nan"),
        (np.full((4, 8, 8), np.inf), "from inf to inf"),
    ],
)
def test_images_of_wrong_shape_type_or_range_are_refused(tmp_path: Path, images: np.ndarray, says: str) -> None:
    np.savez(tmp_path / "a.npz", images=images)
    np.save(tmp_path / "a.npy", images)
    assert says in refused(tmp_path / "a.npz")
    assert says in refused(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.zeros(5, int), "shape 5;"),
        (np.zeros((6, 3), int), "shape 6×3"),
        (np.zeros(6), "float64"),
        (np.arange(-1, 5), "from -1 to 4"),
    ],
)
def test_wrong_labels_are_refused(tmp_path: Path, labels: np.ndarray, says: str) -> None:
    np.savez(tmp_path / "a.npz", images=BYTES, labels=labels)
    assert says in refused(tmp_path / "a.npz")


def test_labels_that_are_not_there_cannot_be_asked_for(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", BYTES)
    assert "has no labels, but data.classes is 3" in refused(tmp_path / "a.npy", classes=3)
    assert "has no labels, but data.classes is 3" in refused(tmp_path / "a.npy", classes=3, memory=0)


@pytest.mark.parametrize("ending", ["npy", "npz", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"\x93NUMPY\x01\0\x10\0broken", b"PK\x03\x04broken"])
def test_files_that_are_no_arrays_are_refused(tmp_path: Path, ending: str, content: bytes) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_bytes(content)
    refused(path)


def test_missing_keys_and_foreign_endings_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", pictures=BYTES)
    assert "its arrays are pictures; expected one of images, x" in refused(tmp_path / "a.npz")
    (tmp_path / "a.csv").write_text("1,2")
    assert "ends in '.csv'" in refused(tmp_path / "a.csv")


def test_cut_off_files_are_refused(tmp_path: Path) -> None:
    for ending, write in (("npy", np.save), ("npz", np.savez)):
        path = tmp_path / f"a.{ending}"
        write(path, BYTES)
        path.write_bytes(path.read_bytes()[:-300])
        assert "cannot be read" in refused(path)


@pytest.mark.parametrize("kind", ["bool", "float32", "uint8"])
@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_long_arrays_are_read_in_parts(tmp_path: Path, kind: str, ending: str) -> None:
    bits = np.random.default_rng(0).integers(0, 2, (2500, 4, 4))
    images = (bits * 255 if kind == "uint8" else bits).astype(kind)
    if ending == "npy":
        np.save(tmp_path / "a.npy", images)
    else:
        np.savez(tmp_path / "a.npz", x=images, y=np.arange(2500) % 7)
    found = opened(tmp_path / f"a.{ending}")
    assert torch.equal(found.train.pixels(torch.arange(2500)), torch.from_numpy(bits * 255).to(torch.uint8)[:, None])


@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_arrays_in_fortran_s_order_are_read(tmp_path: Path, ending: str) -> None:
    images = np.asfortranarray(BYTES)
    if ending == "npy":
        np.save(tmp_path / "a.npy", images)
    else:
        np.savez(tmp_path / "a.npz", images=images)
    for memory in (2.0, 0.0):
        found = opened(tmp_path / f"a.{ending}", memory=memory)
        assert torch.equal(found.train.pixels(torch.arange(6)), torch.from_numpy(BYTES))


def test_labels_that_leave_numbers_out_are_as_many_classes_as_there_are(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=BYTES, labels=[5, 7, 5, 7, 7, 5])
    found = opened(tmp_path / "a.npz")
    assert found.classes == 2 and found.class_names == ("5", "7")
    assert found.train.labels is not None and found.train.labels.tolist() == [0, 1, 0, 1, 1, 0]
    assert "labels run from 5 to 7" in refused(tmp_path / "a.npz", classes=3)
    assert opened(tmp_path / "a.npz", classes=10).train.labels.tolist()[:2] == [5, 7], "ten are asked for"


def test_labels_of_truth_values_are_two_classes(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=BYTES, labels=np.arange(6) % 2 == 0)
    found = opened(tmp_path / "a.npz")
    assert found.classes == 2 and found.train.labels is not None
    assert found.train.labels.tolist() == [1, 0, 1, 0, 1, 0]


def test_a_label_beyond_int64_and_an_empty_test_part_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=BYTES, labels=np.full(6, 2**63, np.uint64))
    assert f"the label {2**63} is greater than 2^63 - 1" in refused(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", images=BYTES, test_images=BYTES[:0])
    assert "b.npz: test images have the shape 0×" in refused(tmp_path / "b.npz")
