"""Arrays in .npz, .npy and .safetensors files. Nothing is ever unpickled."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import parse_shape, rearrange
from torch import Tensor

from gan_zoo.config import Data
from gan_zoo.data.assemble import fits_memory, from_tensors, settle_labels, settle_shape
from gan_zoo.data.bounds import check_memory, listed
from gan_zoo.data.dataset import ARRAY_SUFFIXES, Dataset, LazyImages, Split, required_path
from gan_zoo.data.folder import Files
from gan_zoo.data.npy import Archive, Array, mapped
from gan_zoo.data.pixels import fit_note, side_of
from gan_zoo.errors import InputError, first_line, quoted
from gan_zoo.files import utf8_name

NAMES = {
    "images": ("images", "x", "arr_0", "train_images", "x_train", "imgs"),
    "labels": ("labels", "y", "train_labels", "y_train"),
    "test_images": ("test_images", "x_test"),
    "test_labels": ("test_labels", "y_test"),
}
"""Names under which each array is looked for in a file, in this order."""

_CHUNK = 1024
_LONGEST_HEADER = 2**24


@dataclass(frozen=True)
class ImageFormat:
    """How an array of images is read.

    Args:
        axes: Their order, such as ``n h w c``.
        channels: 1 or 3.
        low: The value that becomes 0.
        high: The value that becomes 255.
    """

    axes: str
    channels: int
    low: float
    high: float

    def pixels(self, array: Array) -> Tensor:
        """Images to uint8 [n, c, h, w], in chunks, as floats are four times as large."""
        if array.dtype == np.uint8 and array.flags.writeable:
            return self._pixels(array)
        pixels = torch.empty(len(array), *self._pixels(array[:1]).shape[1:], dtype=torch.uint8)
        for number, place in enumerate(pixels.split(_CHUNK)):
            place.copy_(self._pixels(array[number * _CHUNK :][:_CHUNK]))
        return pixels

    def _pixels(self, array: Array) -> Tensor:
        kind = np.dtype(np.float32) if array.dtype.kind == "f" else array.dtype
        values = torch.from_numpy(array.astype(kind, copy=not array.flags.writeable))
        values = values[:, None] if values.ndim == 3 else rearrange(values, f"{self.axes} -> n c h w")
        if values.dtype != torch.uint8:
            values = values.float().sub(self.low).mul(255 / (self.high - self.low)).round().to(torch.uint8)
        return values.contiguous()


def _from_disk(path: Path, given: ImageFormat, indices: Tensor) -> Tensor:
    """The images at `indices` of a .npy file, uint8 [m, c, h, w]; mapped anew, as a mapping cannot be pickled."""
    return given.pixels(mapped(path)[indices.numpy()])


def array(settings: Data) -> Dataset:
    """The images in the file `settings.path`.

    A .npy file holds the images. In .npz and .safetensors files, arrays are found by their names; see `NAMES`. Images
    are [n, h, w], [n, h, w, c] or [n, c, h, w] with c 1 or 3: uint8, boolean, or floats, in [-1, 1] if a value of the
    training images is negative, else in [0, 1]. A .npy file larger than `settings.memory` is read from the disk during
    training.

    Raises:
        InputError: If the file cannot be read, or a shape, type or value is not accepted.
    """
    path = required_path(settings, f"a file ending in {', '.join(ARRAY_SUFFIXES)}")
    arrays, origin = _read(path), (Files(path.parent, [path.name]),)
    images, test_images = arrays["images"], arrays.get("test_images")
    train_format = _format(images, f"{path}: images")
    if isinstance(images, np.memmap):
        sizes = parse_shape(images, train_format.axes)
        size = sizes["h"], sizes["w"]
        side = side_of(size, settings.fit)
        shape = settle_shape(settings, sides=(side, side), channels=train_format.channels, where=str(path))
        if not fits_memory(settings, len(images), shape):
            settle_labels(settings, None, where=str(path))
            read, every = partial(_from_disk, path, train_format), torch.arange(len(images))
            lazy = LazyImages(read, shape, every, fit=settings.fit)
            notes = tuple(fit_note([size] * len(images), settings.fit, len(images)))
            return Dataset(settings.name, shape, 0, Split(lazy), notes=notes, origin=origin, fit=settings.fit)
    test = []
    if test_images is not None:
        bounds = (train_format.low, train_format.high) if images.dtype.kind == "f" else None
        pixels = _format(test_images, f"{path}: test images", bounds).pixels(test_images)
        test = [(pixels, _labels(arrays.get("test_labels"), len(test_images), path))]
    train = train_format.pixels(images), _labels(arrays.get("labels"), len(images), path)
    return replace(from_tensors(settings, train, *test, where=str(path)), origin=origin)


def _read(path: Path) -> dict[str, Array]:
    """The arrays of a file by the keys of `NAMES`; no others are read."""
    suffix, accepted = path.suffix.lower(), ", ".join(ARRAY_SUFFIXES)
    if suffix not in ARRAY_SUFFIXES:
        raise InputError(f"{path} ends in {suffix!r}; accepted: {accepted}")
    if not path.is_file():
        raise InputError(f"{path} is not a regular file; expected: one ending in {accepted}")
    try:
        if suffix == ".npy":
            return {"images": mapped(path)}
        return _read_npz(path) if suffix == ".npz" else _read_safetensors(path)
    except InputError:
        raise
    except Exception as error:  # zip and its compressions fail in many ways
        raise InputError(f"{path} cannot be read: {first_line(error)}") from error


def _used(names: Iterable[str], path: Path) -> dict[str, str]:
    """The name in the file of each array of `NAMES` that it contains."""
    present = [*names]
    used = {key: name for key, accepted in NAMES.items() for name in reversed(accepted) if name in present}
    if "images" not in used:
        expected = ", ".join(NAMES["images"])
        raise InputError(f"{path} has no images: its arrays are {listed(present)}; expected one of {expected}")
    return used


def _read_npz(path: Path) -> dict[str, Array]:
    with Archive(path) as archive:
        used = _used(archive.arrays, path)
        size = sum(archive.header(name).size for name in used.values())
        check_memory(size, f"{path}: {', '.join(used.values())}")
        return {key: archive.array(name) for key, name in used.items()}


def _read_safetensors(path: Path) -> dict[str, Array]:
    """safetensors itself checks that shapes and positions agree with each other and with the file's length."""
    from safetensors import safe_open

    with path.open("rb") as plain:
        length = int.from_bytes(plain.read(8), "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header is {length:,} bytes long; accepted: {_LONGEST_HEADER:,}")
    with utf8_name(path) as called, safe_open(called, framework="pt") as file:
        used = _used(file.keys(), path)
        size = sum(_size(file.get_slice(name)) for name in used.values())
        check_memory(size, f"{path}: {', '.join(used.values())}")
        tensors = {key: file.get_tensor(name) for key, name in used.items()}
    return {key: (t.float() if t.dtype == torch.bfloat16 else t).numpy() for key, t in tensors.items()}


def _size(tensor: Any) -> int:
    """Bytes of an unread tensor, whose type is called F32, BF16, U8, BOOL or the like."""
    bits = re.search(r"[0-9]+", tensor.get_dtype())
    shape: list[int] = tensor.get_shape()
    return prod(shape) * int(bits[0] if bits else 8) // 8


def _format(images: Array, what: str, bounds: tuple[float, float] | None = None) -> ImageFormat:
    """The format of an array of images, by its shape, type and values; `bounds` are those of floats, if known."""
    shape, axes = images.shape, ""
    if images.ndim == 3:
        axes, channels, sides = "n h w", 1, shape[1:]
    elif images.ndim == 4 and shape[3] in (1, 3) and shape[1] >= 4:
        axes, channels, sides = "n h w c", shape[3], shape[1:3]
    elif images.ndim == 4 and shape[1] in (1, 3):
        axes, channels, sides = "n c h w", shape[1], shape[2:]
    if not axes or min(sides) < 4 or not len(images):
        raise InputError(
            f"{what} have the shape {_times(shape)}; accepted: [n, h, w], [n, h, w, c] or [n, c, h, w] with "
            f"n at least 1, c 1 or 3, h and w at least 4"
        )
    if images.dtype in (np.uint8, np.bool_):
        return ImageFormat(axes, channels, 0, 255 if images.dtype == np.uint8 else 1)
    if images.dtype.kind != "f":
        raise InputError(f"{what} have the type {images.dtype}; accepted: uint8, bool, or floats in [0, 1] or [-1, 1]")
    low, high = float(images.min()), float(images.max())
    floor, ceiling = bounds or ((-1.0, 1.0) if low < 0 else (0.0, 1.0))
    if not (low >= floor and high <= ceiling):
        raise InputError(
            f"{what} are floating-point and run from {low:g} to {high:g}; accepted: [0, 1], or [-1, 1] if a "
            f"training image has a negative value; for 0 to 255 use uint8"
        )
    return ImageFormat(axes, channels, floor, ceiling)


def _times(shape: tuple[int, ...]) -> str:
    return quoted("×".join(map(str, shape)))


def _labels(labels: Array | None, length: int, path: Path) -> Tensor | None:
    if labels is None:
        return None
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "iub" or labels.shape != (length,):
        raise InputError(
            f"{path}: labels are {labels.dtype} of shape {_times(labels.shape)}; accepted: one integer for each of "
            f"the {length} images"
        )
    if labels.dtype.kind == "u" and len(labels) and int(labels.max()) >= 2**63:
        raise InputError(f"{path}: the label {labels.max()} is greater than 2^63 - 1")
    return torch.from_numpy(labels.astype(np.int64))
