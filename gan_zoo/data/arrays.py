"""Arrays in .npz, .npy and .safetensors files. Nothing is ever unpickled."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_zoo.config import Data
from gan_zoo.data.assemble import fits_memory, from_tensors, settle_labels, settle_shape
from gan_zoo.data.dataset import ARRAY_SUFFIXES, Dataset, Split, needed_path
from gan_zoo.data.pixels import fit
from gan_zoo.errors import InputError
from gan_zoo.shapes import ImageShape

Array = NDArray[np.generic]

IMAGES = ("images", "x", "arr_0", "train_images", "x_train", "imgs")
LABELS = ("labels", "y", "train_labels", "y_train")
TEST_IMAGES = ("test_images", "x_test")
TEST_LABELS = ("test_labels", "y_test")

_CHUNK = 1024


@dataclass(frozen=True)
class Layout:
    """How an array of images is to be read: the order of its axes, and the range of its values."""

    order: str
    channels: int
    low: float
    high: float

    def pixels(self, array: Array) -> Tensor:
        """Images [n, …] in this layout to uint8 [n, c, h, w]."""
        values = torch.from_numpy(array.astype(np.float32 if array.dtype.kind == "f" else array.dtype))
        if self.order == "n h w":
            values = values[:, None]
        elif self.order == "n h w c":
            values = values.permute(0, 3, 1, 2)
        if values.dtype != torch.uint8:
            values = values.float().sub(self.low).mul(255 / (self.high - self.low)).round().to(torch.uint8)
        return values.contiguous()


@dataclass(frozen=True, eq=False)
class Mapped:
    """A source over a .npy file that stays on the disk; each image is fitted into `shape` when asked."""

    path: Path
    layout: Layout
    shape: ImageShape
    length: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Tensor:
        return fit(self.layout.pixels(self._mapped[index : index + 1]), self.shape)[0]

    def __reduce__(self) -> tuple[type[Mapped], tuple[Path, Layout, ImageShape, int]]:
        return Mapped, (self.path, self.layout, self.shape, self.length)

    @cached_property
    def _mapped(self) -> Array:
        mapped: Array = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return mapped


def array(settings: Data) -> Dataset:
    """The images in the file `settings.path`.

    A .npy file is the images. In .npz and .safetensors files they are called `images`, `x` or `arr_0`, the
    labels `labels` or `y`, and a test split, if there is one, `test_images` and `test_labels` or `x_test` and
    `y_test`. Images are [n, h, w], [n, h, w, c] or [n, c, h, w] with c 1 or 3: uint8, boolean, or floats,
    which are read as [-1, 1] if one of the training images' values is negative, else as [0, 1]. A .npy
    file larger than `settings.memory` is read from the disk while training.

    Raises:
        InputError: If the file, a shape, a type or a value is not as said.
    """
    path = needed_path(settings, f"a file ending in {', '.join(ARRAY_SUFFIXES)}")
    found = _read(path)
    images = _pick(found, IMAGES)
    if images is None:
        raise InputError(
            f"{path} has no images: its keys are {', '.join(found) or 'none'}; expected one of {', '.join(IMAGES)}"
        )
    labels = _labels(found, LABELS, len(images), path)
    test_images = _pick(found, TEST_IMAGES)
    layout = _layout(images, path)
    if isinstance(images, np.memmap):
        side = _side(images, layout)
        shape = settle_shape(settings, sides=(side, side), channels=layout.channels, where=str(path))
        if not fits_memory(settings, len(images), shape):
            settle_labels(settings, None, None, where=str(path))
            return Dataset(settings.name, shape, 0, Split(Mapped(path, layout, shape, len(images))))
    train = layout.pixels(images), labels
    test = None
    if test_images is not None:
        values = (layout.low, layout.high) if images.dtype.kind == "f" else None
        test_layout = _layout(test_images, path, values)
        test = test_layout.pixels(test_images), _labels(found, TEST_LABELS, len(test_images), path)
    return from_tensors(settings, train, test, where=str(path))


def _pick(found: Mapping[str, Array], names: tuple[str, ...]) -> Array | None:
    return next((found[name] for name in names if name in found), None)


def _side(images: Array, layout: Layout) -> int:
    axes = dict(zip(layout.order.split(), images.shape, strict=True))
    return int(min(axes["h"], axes["w"]))


def _read(path: Path) -> dict[str, Array]:
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy":
            return {"images": np.load(path, mmap_mode="r", allow_pickle=False)}
        if suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                names = [name for name in archive.files if name in IMAGES + LABELS + TEST_IMAGES + TEST_LABELS]
                return {name: archive[name] for name in names or archive.files}
        if suffix == ".safetensors":
            return _read_safetensors(path)
    except (
        OSError,
        ValueError,
        EOFError,
        MemoryError,
        TypeError,
        AttributeError,
        zipfile.BadZipFile,
    ) as error:
        raise InputError(f"{path} cannot be read: {_reason(error)}") from error
    raise InputError(f"{path} ends in {suffix!r}; accepted: {', '.join(ARRAY_SUFFIXES)}")


def _reason(error: Exception) -> str:
    text = str(error).split("\n")[0]
    if "pickle" in text.lower() or "Python objects" in text:
        return "it holds Python objects, which are never unpickled; save plain numeric arrays"
    return text or type(error).__name__


def _read_safetensors(path: Path) -> dict[str, Array]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    return {name: (t.float() if t.dtype == torch.bfloat16 else t).numpy() for name, t in tensors.items()}


def _layout(images: Array, path: Path, values: tuple[float, float] | None = None) -> Layout:
    """Tell layout and range; `values` is the range that floats are held to, if it is known already."""
    shape = "×".join(map(str, images.shape))
    if images.ndim == 3:
        order, channels, sides = "n h w", 1, images.shape[1:]
    elif images.ndim == 4 and images.shape[3] in (1, 3) and images.shape[1] >= 4:
        order, channels, sides = "n h w c", images.shape[3], images.shape[1:3]
    elif images.ndim == 4 and images.shape[1] in (1, 3):
        order, channels, sides = "n c h w", images.shape[1], images.shape[2:]
    else:
        order, channels, sides = "", 0, (0, 0)
    if min(sides) < 4 or not len(images):
        raise InputError(
            f"{path}: images have the shape {shape}; accepted: [n, h, w], [n, h, w, c] or [n, c, h, w] with "
            f"n at least 1, c 1 or 3, h and w at least 4"
        )
    if images.dtype == np.uint8:
        return Layout(order, channels, 0, 255)
    if images.dtype == np.bool_:
        return Layout(order, channels, 0, 1)
    if images.dtype.kind != "f":
        raise InputError(
            f"{path}: images have the type {images.dtype}; accepted: uint8, bool, or floats in [0, 1] or [-1, 1]"
        )
    low, high = _extent(images)
    floor, ceiling = values or ((-1.0, 1.0) if low < 0 else (0.0, 1.0))
    if not (low >= floor and high <= ceiling):
        raise InputError(
            f"{path}: floating-point images run from {low:g} to {high:g}; accepted: [0, 1], or [-1, 1] where "
            f"the training images have a negative value (uint8 for 0 to 255)"
        )
    return Layout(order, channels, floor, ceiling)


def _extent(images: Array) -> tuple[float, float]:
    """The least and the greatest value, NaN if there is one, read in parts since the file may be mapped."""
    parts = [images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK)]
    return float(np.min([part.min() for part in parts])), float(np.max([part.max() for part in parts]))


def _labels(found: Mapping[str, Array], names: tuple[str, ...], length: int, path: Path) -> Tensor | None:
    labels = _pick(found, names)
    if labels is None:
        return None
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "iu" or labels.shape != (length,):
        raise InputError(
            f"{path}: labels are {labels.dtype} of shape {'×'.join(map(str, labels.shape))}; accepted: "
            f"integers, one for each of the {length} images"
        )
    return torch.from_numpy(labels.astype(np.int64))
