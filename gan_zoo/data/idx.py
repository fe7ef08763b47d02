"""IDX files, the format of MNIST and Fashion-MNIST, plain or gzipped.

A file is two zero bytes, a byte for the type (8: unsigned bytes), a byte for the number of dimensions, each
dimension as a big-endian 32-bit number, and then the values (LeCun, http://yann.lecun.com/exdb/mnist/).
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from gan_zoo.config import Data
from gan_zoo.data.assemble import from_tensors
from gan_zoo.data.bounds import check_memory
from gan_zoo.data.dataset import Dataset, required_path
from gan_zoo.data.folder import Files
from gan_zoo.errors import InputError

DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package `dataset-fashion-mnist` installs its four files."""
FOUR_FILES = "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte"

_PIECE = 2**20
_MOST_EXPANSION = 1032
"""Largest ratio of unpacked to gzipped bytes."""


def read_idx(path: Path, dimensions: int) -> Tensor:
    """Read an IDX file of unsigned bytes, gzipped or not.

    Args:
        path: A regular file; its content decides whether it is unpacked.
        dimensions: The number of dimensions that the array must have.

    Returns:
        uint8 of the shape that the file states.

    Raises:
        InputError: If it cannot be read, is not an IDX file, or contains fewer or more values than its shape states.
    """
    try:
        with path.open("rb") as plain:
            zipped = plain.read(2) == b"\x1f\x8b"
        size = path.stat().st_size
        most = _MOST_EXPANSION * size if zipped else size - 4 - 4 * dimensions
        with gzip.open(path) if zipped else path.open("rb") as file:
            return _parse(file, path, dimensions, most)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read as an IDX file: {error}") from error


def _parse(file: BinaryIO | gzip.GzipFile, path: Path, dimensions: int, most: int) -> Tensor:
    """The array of an open file that has at most `most` bytes after its header."""
    magic, expected = file.read(4), bytes([0, 0, 8, dimensions])
    if magic != expected:
        raise InputError(
            f"{path} is not an IDX file of unsigned bytes in {dimensions} dimensions: it begins with {magic!r}; "
            f"expected: {expected!r}"
        )
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise InputError(f"{path} ends within its header")
    shape = [int(size) for size in np.frombuffer(header, dtype=">u4")]
    count, stated = prod(shape), f"{'×'.join(map(str, shape))} = {prod(shape):,} values"
    if not count:
        raise InputError(f"{path} contains no values: its shape is {'×'.join(map(str, shape))}")
    if count > most:
        raise InputError(f"{path} states {stated}, but contains only {most:,}")
    check_memory(count, f"{path}: {stated}")
    values = bytearray()
    while len(values) <= count and (piece := file.read(min(_PIECE, count + 1 - len(values)))):
        values += piece
    if len(values) != count:
        contained = f"only {len(values):,}" if len(values) < count else "more"
        raise InputError(f"{path} states {stated}, but contains {contained}")
    return torch.frombuffer(values, dtype=torch.uint8).reshape(shape)


def _find(folder: Path, stem: str, dimensions: int) -> Path:
    """The file in `folder` or its `raw`, under one of the names by which it is distributed."""
    names = (f"{stem}-idx{dimensions}-ubyte", f"{stem}.idx{dimensions}-ubyte")
    paths = [place / (name + ending) for name in names for place in (folder, folder / "raw") for ending in ("", ".gz")]
    if there := next(filter(Path.is_file, paths), None):
        return there
    raise InputError(f"{folder} contains no {names[0]}; expected: {FOUR_FILES}, each with or without .gz")


def _read_split(folder: Path, stem: str) -> tuple[tuple[Tensor, Tensor], Files]:
    """Images uint8 [n, 1, h, w] and labels int64 [n], and their two files."""
    paths = _find(folder, f"{stem}-images", 3), _find(folder, f"{stem}-labels", 1)
    images, labels = read_idx(paths[0], 3), read_idx(paths[1], 1)
    if len(images) != len(labels):
        raise InputError(f"{paths[0]} contains {len(images):,} images, but {paths[1]} {len(labels):,} labels")
    return (images[:, None], labels.long()), Files(folder, [str(path.relative_to(folder)) for path in paths])


def _open(settings: Data, folder: Path) -> Dataset:
    if not folder.is_dir():
        raise InputError(f"data.path {str(folder)!r} is not a folder; expected: one that contains {FOUR_FILES}")
    train, train_files = _read_split(folder, "train")
    test, test_files = _read_split(folder, "t10k")
    dataset = from_tensors(settings, train, test, classes=10, where=str(folder))
    return replace(dataset, origin=(train_files, test_files))


def mnist(settings: Data) -> Dataset:
    """MNIST from its four IDX files in the folder `settings.path`: 60,000 to train on, 10,000 to test on.

    Raises:
        InputError: If the folder or a file is missing or broken.
    """
    return _open(settings, required_path(settings, f"the folder that contains MNIST's {FOUR_FILES}"))


def fashion_mnist(settings: Data) -> Dataset:
    """Fashion-MNIST (Xiao et al., 2017, arXiv:1708.07747) from `settings.path` or Debian's package.

    Raises:
        InputError: If neither exists, or a file is missing or broken.
    """
    if settings.path is not None:
        return _open(settings, required_path(settings, f"the folder that contains {FOUR_FILES}"))
    if not DEBIAN_FASHION.is_dir():
        raise InputError(
            "fashion-mnist is not installed: apt-get install dataset-fashion-mnist (Debian, Ubuntu), "
            "or download the four files from https://github.com/zalandoresearch/fashion-mnist and set "
            "data.path to their folder"
        )
    return _open(settings, DEBIAN_FASHION)
