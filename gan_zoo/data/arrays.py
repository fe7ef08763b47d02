"""Arrays in .npz, .npy and .safetensors files. Nothing is ever unpickled."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan_zoo.config import Data
from gan_zoo.data.assemble import fits_memory, from_tensors, settle_labels, settle_shape
from gan_zoo.data.bounds import check_memory, listed
from gan_zoo.data.dataset import ARRAY_SUFFIXES, Dataset, Split, required_path
from gan_zoo.data.folder import Files
from gan_zoo.data.npy import Archive, Array, mapped
from gan_zoo.data.pixels import fit
from gan_zoo.errors import InputError, first_line, quoted
from gan_zoo.files import utf8_name
from gan_zoo.shapes import ImageShape

IMAGES = ("images", "x", "arr_0", "train_images", "x_train", "imgs")
LABELS = ("labels", "y", "train_labels", "y_train")
TEST_IMAGES = ("test_images", "x_test")
TEST_LABELS = ("test_labels", "y_test")

_CHUNK = 1024
_LONGEST_HEADER = 2**24


@dataclass(frozen=True)
class Layout:
    """How an array of images is to be read: the order of its axes, and the range of its values."""

    order: str
    channels: int
    low: float
    high: float

    def pixels(self, array: Array) -> Tensor:
        """Images [n, …] in this layout to uint8 [n, c, h, w]; a part at a time: floats are four times as large."""
        if array.dtype == np.uint8 and array.flags.writeable:
            return self._pixels(array)
        parts = (self._pixels(array[start : start + _CHUNK]) for start in range(0, len(array), _CHUNK))
        first = next(parts)
        pixels = torch.empty(len(array), *first.shape[1:], dtype=torch.uint8)
        pixels[: len(first)] = first
        for number, part in enumerate(parts, 1):
            pixels[number * _CHUNK :][: len(part)] = part
        return pixels

    def _pixels(self, array: Array) -> Tensor:
        kind = np.dtype(np.float32) if array.dtype.kind == "f" else array.dtype
        values = torch.from_numpy(array.astype(kind, copy=not array.flags.writeable))
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
        return fit(self.layout.pixels(self._array[index : index + 1]), self.shape)[0]

    def __reduce__(self) -> tuple[type[Mapped], tuple[Path, Layout, ImageShape, int]]:
        return Mapped, (self.path, self.layout, self.shape, self.length)

    @cached_property
    def _array(self) -> Array:
        return mapped(self.path)


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
    path = required_path(settings, f"a file ending in {', '.join(ARRAY_SUFFIXES)}")
    origin, found = (Files(path.parent, [path.name]),), _read(path)
    images = found[_first(found, IMAGES, path)]
    labels = _labels(found, LABELS, len(images), path)
    test_images = _pick(found, TEST_IMAGES)
    layout = _layout(images, path)
    if isinstance(images, np.memmap):
        side = _side(images, layout)
        shape = settle_shape(settings, sides=(side, side), channels=layout.channels, where=str(path))
        if not fits_memory(settings, len(images), shape):
            settle_labels(settings, None, None, where=str(path))
            return Dataset(settings.name, shape, 0, Split(Mapped(path, layout, shape, len(images))), origin=origin)
    train = layout.pixels(images), labels
    test = None
    if test_images is not None:
        values = (layout.low, layout.high) if images.dtype.kind == "f" else None
        test_layout = _layout(test_images, path, values)
        test = test_layout.pixels(test_images), _labels(found, TEST_LABELS, len(test_images), path)
    return replace(from_tensors(settings, train, test, where=str(path)), origin=origin)


def _pick(found: Mapping[str, Array], names: tuple[str, ...]) -> Array | None:
    return next((found[name] for name in names if name in found), None)


def _side(images: Array, layout: Layout) -> int:
    axes = dict(zip(layout.order.split(), images.shape, strict=True))
    return int(min(axes["h"], axes["w"]))


def _read(path: Path) -> dict[str, Array]:
    """The arrays of a file that have a meaning here, and no others."""
    suffix = path.suffix.lower()
    if suffix not in ARRAY_SUFFIXES:
        raise InputError(f"{path} ends in {suffix!r}; accepted: {', '.join(ARRAY_SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"{path} is no regular file; expected: one ending in {', '.join(ARRAY_SUFFIXES)}")
    try:
        if suffix == ".npy":
            return {"images": mapped(path)}
        return _read_npz(path) if suffix == ".npz" else _read_safetensors(path)
    except InputError:
        raise
    except Exception as error:  # zip and its compressions fail in many ways
        raise InputError(f"{path} cannot be read: {first_line(error)}") from error


def _first(names: Iterable[str], known: tuple[str, ...], path: Path) -> str:
    """The first name that is among `known`."""
    held = [*names]
    found = next((name for name in known if name in held), None)
    if found is None:
        raise InputError(f"{path} has no images: its keys are {listed(held)}; expected one of {', '.join(known)}")
    return found


def _wanted(names: list[str], path: Path) -> list[str]:
    """The names of images and labels, of both splits, that are there."""
    others = [next((name for name in known if name in names), None) for known in (LABELS, TEST_IMAGES, TEST_LABELS)]
    return [_first(names, IMAGES, path), *filter(None, others)]


def _read_npz(path: Path) -> dict[str, Array]:
    with Archive(path) as archive:
        names = _wanted(archive.names, path)
        headers = {name: archive.header(name) for name in names}
        check_memory(sum(header.size for header in headers.values()), f"{path}: {', '.join(names)}")
        return {name: archive.read(name) for name in names}


def _read_safetensors(path: Path) -> dict[str, Array]:
    """Whose own reader checks that shapes and places agree with each other and with the file's length."""
    from safetensors import safe_open

    with path.open("rb") as plain:
        length = int.from_bytes(plain.read(8), "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header is {length:,} bytes long; accepted: {_LONGEST_HEADER:,}")
    with utf8_name(path) as called, safe_open(called, framework="pt") as file:
        names = _wanted([*file.keys()], path)
        check_memory(sum(_size(file.get_slice(name)) for name in names), f"{path}: {', '.join(names)}")
        tensors = {name: file.get_tensor(name) for name in names}
    return {name: (t.float() if t.dtype == torch.bfloat16 else t).numpy() for name, t in tensors.items()}


def _size(tensor: Any) -> int:
    """Bytes of a tensor that is not read yet; its type is called F32, BF16, U8, BOOL and the like."""
    bits = re.search(r"[0-9]+", tensor.get_dtype())
    shape: list[int] = tensor.get_shape()
    return prod(shape) * int(bits[0] if bits else 8) // 8


def _layout(images: Array, path: Path, values: tuple[float, float] | None = None) -> Layout:
    """Tell layout and range; `values` is the range that floats are held to, if it is known already."""
    shape = _times(images.shape)
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


def _times(shape: tuple[int, ...]) -> str:
    return quoted("×".join(map(str, shape)))


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
            f"{path}: labels are {labels.dtype} of shape {_times(labels.shape)}; accepted: "
            f"integers, one for each of the {length} images"
        )
    return torch.from_numpy(labels.astype(np.int64))
