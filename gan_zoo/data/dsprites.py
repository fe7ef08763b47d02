"""dSprites (Matthey et al., 2017), from the file that its authors publish."""

from __future__ import annotations

from functools import partial
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_zoo.config import Data
from gan_zoo.data.assemble import LARGEST, SMALLEST, settle_labels, settle_shape
from gan_zoo.data.bounds import check_memory
from gan_zoo.data.dataset import Dataset, LazyImages, Split, required_path
from gan_zoo.data.factors import Factors
from gan_zoo.data.folder import Files
from gan_zoo.data.npy import Archive
from gan_zoo.errors import InputError, first_line

FILE = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
COLUMNS = ("color", "shape", "scale", "orientation", "x", "y")
"""Columns of `latents_classes`."""
_CHUNK = 2**24


def _unpacked(bits: NDArray[np.uint8], side: int, indices: Tensor) -> Tensor:
    """Images `indices` (int64 [n]) of `bits` [N, ⌈side² / 8⌉], uint8 [n, 1, side, side] of 0 and 255."""
    pixels = np.unpackbits(bits[indices.numpy()], axis=1, count=side**2) * np.uint8(255)
    return torch.from_numpy(pixels).view(-1, 1, side, side)


def dsprites(settings: Data) -> Dataset:
    """The images of the .npz file `settings.path`, with their factors; the label is the shape.

    Reads `imgs`, uint8 0 or 1 [n, side, side], and `latents_classes`, integers [n, 6]; a factor with one value, as the
    colour, is dropped. The pickled `metadata` are not opened. Images are kept as bits: 0.35 GiB for the 737,280 of the
    published file.

    Raises:
        InputError: If the file cannot be read, or is not every combination of its factors once, in order.
    """
    path = required_path(settings, f"the file {FILE}")
    if not path.is_file():
        raise InputError(f"{path} is not a regular file; expected: the file {FILE}")
    try:
        with Archive(path) as archive:
            classes = _classes(archive, path)
            bits, side = _images(archive, path, len(classes))
    except InputError:
        raise
    except Exception as error:  # zip and its compressions fail in many ways
        raise InputError(f"{path} cannot be read as {FILE}: {first_line(error)}") from error
    factors = _factors(classes, path)
    shape = settle_shape(settings, sides=(side, side), channels=1, where=str(path))
    labels = settle_labels(settings, classes[:, COLUMNS.index("shape")], where=str(path))
    images = LazyImages(partial(_unpacked, bits, side), shape, torch.arange(len(bits)), needs_workers=False)
    origin = (Files(path.parent, [path.name]),)
    split = Split(images, labels.splits[0])
    return Dataset(settings.name, shape, labels.classes, split, factors=factors, origin=origin)


def _classes(archive: Archive, path: Path) -> Tensor:
    """The table of classes, int64 [n, 6]."""
    if missing := sorted({"imgs", "latents_classes"} - {*archive.arrays}):
        raise InputError(f"{path} has no {' and no '.join(missing)}; expected: the file {FILE}")
    check_memory(2 * archive.header("latents_classes").size, f"{path}: latents_classes")
    table = archive.array("latents_classes")
    if table.dtype.kind not in "iu" or table.ndim != 2 or table.shape[1] != len(COLUMNS) or not len(table):
        raise InputError(
            f"{path}: latents_classes is {table.dtype} {[*table.shape]}; expected: integers [n, {len(COLUMNS)}], "
            f"{', '.join(COLUMNS)}"
        )
    return torch.from_numpy(table.astype(np.int64))


def _factors(classes: Tensor, path: Path) -> Factors:
    """The factors with several values; checks that the rows are every combination in order."""
    sizes = [int(size) + 1 for size in classes.amax(0)]
    varied = [k for k, size in enumerate(sizes) if size > 1]
    if not varied:
        raise InputError(f"{path}: every factor has a single value; expected: the file {FILE}")
    factors = Factors(tuple(COLUMNS[k] for k in varied), tuple(sizes[k] for k in varied))
    complete = prod(sizes) == len(classes) and torch.equal(
        factors.values(torch.arange(len(classes))), classes[:, varied]
    )
    if not complete:
        raise InputError(
            f"{path}: the {len(classes)} rows of latents_classes are not every combination of "
            f"{'×'.join(map(str, sizes))} values once, with {COLUMNS[-1]} varying fastest"
        )
    return factors


def _images(archive: Archive, path: Path, expected: int) -> tuple[NDArray[np.uint8], int]:
    """The `expected` images as bits [n, ⌈side² / 8⌉], and their side; read in chunks, as bytes they take 3 GB."""
    header = archive.header("imgs")
    n, side = header.shape[:2] if len(header.shape) == 3 else (0, 0)
    square = n and SMALLEST <= side == header.shape[2] <= LARGEST
    if not square or header.fortran or header.dtype != np.uint8:
        raise InputError(
            f"{path}: imgs is {header.dtype} {[*header.shape]}; expected: uint8 [n, side, side], "
            f"side from {SMALLEST} to {LARGEST}"
        )
    if n != expected:
        raise InputError(f"{path} contains {n} images, but the classes of {expected}")
    width = -(-(side**2) // 8)
    check_memory(n * width, f"{path}: imgs")
    rows = max(1, _CHUNK // side**2)
    bits = np.empty((n, width), np.uint8)
    with archive.open("imgs.npy") as member:
        member.read(header.offset)
        for start in range(0, n, rows):
            count = min(rows, n - start)
            content = member.read(count * side**2)
            if len(content) < count * side**2:
                raise InputError(f"{path}: imgs ends early, in image {start + len(content) // side**2} of {n}")
            pixels = np.frombuffer(content, np.uint8).reshape(count, side**2)
            if pixels.max() > 1:
                raise InputError(f"{path}: imgs contains the value {pixels.max()}; expected: 0 and 1")
            bits[start : start + count] = np.packbits(pixels, axis=1)
    return bits, side
