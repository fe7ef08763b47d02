"""dSprites' own file: read, checked, fitted, and never unpickled."""

from __future__ import annotations

import zipfile
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from gan_zoo.config import Data
from gan_zoo.data.dataset import Dataset, LazyImages, open_dataset
from gan_zoo.data.factors import Factors
from gan_zoo.data.pixels import fit
from gan_zoo.errors import InputError
from gan_zoo.shapes import ImageShape

SIZES = (1, 3, 2, 4, 3, 2)
CLASSES = np.array(list(product(*map(range, SIZES))), np.int64)
IMAGES = np.random.default_rng(0).integers(0, 2, (len(CLASSES), 12, 12), dtype=np.uint8)
IMAGES[0, 0, :3] = 0, 1, 1


class Planted:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.path,)


def write(path: Path, **members: np.ndarray | None) -> Path:
    """A small file in the layout of the real one; a member that is None is left out."""
    metadata = np.array({"title": Planted(path.parent / "planted")}, dtype=object)
    whole = {"metadata": metadata, "imgs": IMAGES, "latents_classes": CLASSES, "latents_values": CLASSES * 0.5}
    np.savez_compressed(path, **{key: value for key, value in (whole | members).items() if value is not None})
    return path


def opened(path: Path, **settings: object) -> Dataset:
    return open_dataset(Data(name="dsprites", path=str(path), **settings))


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        opened(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_images_factors_and_labels_come_out_as_they_went_in(tmp_path: Path) -> None:
    found = opened(write(tmp_path / "d.npz"))
    assert found.factors == Factors(("shape", "scale", "orientation", "x", "y"), (3, 2, 4, 3, 2))
    assert (found.image, found.classes, found.test) == (ImageShape(1, 12), 3, None)
    assert isinstance(found.train.images, LazyImages) and not found.train.images.needs_workers
    indices = torch.randperm(len(IMAGES))
    assert torch.equal(found.train.pixels(indices), torch.from_numpy(IMAGES)[indices, None] * 255)
    assert found.train.labels is not None
    assert found.train.labels.tolist() == CLASSES[:, 1].tolist()
    assert torch.equal(found.factors.values(indices), torch.from_numpy(CLASSES[:, 1:])[indices])
    assert not (tmp_path / "planted").exists()


def test_another_side_and_colour_are_what_fit_gives(tmp_path: Path) -> None:
    found = opened(write(tmp_path / "d.npz"), resolution=6, channels=3)
    expected = fit(torch.from_numpy(IMAGES[:5, None] * 255), ImageShape(3, 6))
    assert torch.equal(found.train.pixels(torch.arange(5)), expected)


def test_many_images_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_zoo.data.dsprites._CHUNK", 5 * 12 * 12)
    found = opened(write(tmp_path / "d.npz"))
    assert torch.equal(found.train.pixels(torch.arange(len(IMAGES))), torch.from_numpy(IMAGES)[:, None] * 255)


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"imgs": None}, "has no imgs"),
        ({"latents_classes": None}, "has no latents_classes"),
        ({"imgs": None, "latents_classes": None}, "has no imgs and no latents_classes"),
        ({"imgs": IMAGES[:-1]}, "contains 143 images, but the classes of 144"),
        ({"imgs": IMAGES * 2}, "contains the value 2"),
        ({"imgs": IMAGES.astype(np.float32)}, r"imgs is float32 [144, 12, 12]"),
        ({"imgs": IMAGES[:, :6]}, r"imgs is uint8 [144, 6, 12]"),
        ({"imgs": np.asfortranarray(IMAGES)}, "expected: uint8 [n, side, side]"),
        ({"imgs": np.array([None] * len(IMAGES))}, "imgs: it holds Python objects"),
        ({"latents_classes": CLASSES[:, 1:]}, r"latents_classes is int64 [144, 5]"),
        ({"latents_classes": CLASSES * 1.0}, "latents_classes is float64"),
        ({"latents_classes": CLASSES[::-1].copy()}, "not every combination of 1×3×2×4×3×2"),
        ({"latents_classes": CLASSES + 1}, "not every combination of 2×4×3×5×4×3"),
        ({"latents_classes": CLASSES * 0}, "every factor has a single value"),
        ({"latents_classes": CLASSES - 1}, "not every combination"),
    ],
)
def test_a_file_of_another_layout_is_refused(tmp_path: Path, members: dict[str, np.ndarray | None], says: str) -> None:
    assert says in refused(write(tmp_path / "d.npz", **members))


def test_pickled_classes_are_refused_and_not_opened(tmp_path: Path) -> None:
    planted = np.array([Planted(tmp_path / "planted")] * len(CLASSES), dtype=object)
    refused(write(tmp_path / "d.npz", latents_classes=planted))
    assert not (tmp_path / "planted").exists()


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04broken"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "d.npz").write_bytes(content)
    assert "dsprites_ndarray" in refused(tmp_path / "d.npz")
    refused(tmp_path)


def test_damaged_and_cut_members_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "d.npz")
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("imgs.npy").header_offset
        members = {name: archive.read(name) for name in archive.namelist()}
    broken = bytearray(path.read_bytes())
    broken[start + 200 : start + 300] = bytes(100)
    path.write_bytes(broken)
    refused(path)
    members["imgs.npy"] = members["imgs.npy"][:-1000]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert "imgs: its header states 20,736 bytes of values, but 19,736 follow" in refused(path)


def test_the_file_has_to_be_named() -> None:
    with pytest.raises(InputError, match="requires data.path: the file dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"):
        open_dataset(Data(name="dsprites"))


def test_a_single_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", IMAGES)
    assert "not a .npz archive" in refused(tmp_path / "d.npy")
