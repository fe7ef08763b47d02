"""IDX files, the format in which MNIST and Fashion-MNIST are published: plain or gzipped.

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
"""Where Debian's package `dataset-fashion-mnist` puts its four files."""
FOUR_FILES = "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte"

_PIECE = 2**20
_MOST_PACKED = 1032
"""Bytes that a byte of a gzipped file can become."""


def read_idx(path: Path, dimensions: int) -> Tensor:
    """Read an IDX file of unsigned bytes.

    Args:
        path: The file, gzipped or not; its content tells, not its name.
        dimensions: How many the array has to have.

    Returns:
        uint8 with the shape that the file states.

    Raises:
        InputError: If it cannot be read, is no such file, or holds fewer or more values than its shape says.
    """
    if not path.is_file():
        raise InputError(f"{path} is no regular file; expected: an IDX file")
    try:
        with path.open("rb") as plain:
            zipped = plain.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as file:
            size = path.stat().st_size
            return _parse(file, path, dimensions, _MOST_PACKED * size if zipped else size - 4 - 4 * dimensions)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read as an IDX file: {error}") from error


def _parse(file: BinaryIO | gzip.GzipFile, path: Path, dimensions: int, most: int) -> Tensor:
    """What an opened file holds, which is `most` bytes at most after its header."""
    magic = file.read(4)
    if magic[:2] != b"\0\0" or len(magic) < 4:
        raise InputError(f"{path} is no IDX file: it begins with {magic!r}; expected: {bytes([0, 0, 8, dimensions])!r}")
    if magic[2] != 8 or magic[3] != dimensions:
        raise InputError(
            f"{path} is an IDX file of type {magic[2]:#04x} in {magic[3]} dimensions; expected: unsigned "
            f"bytes (0x08) in {dimensions}"
        )
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise InputError(f"{path} is cut off within its shape")
    shape = [int(size) for size in np.frombuffer(header, dtype=">u4")]
    expected, said = prod(shape), f"{'×'.join(map(str, shape))} = {prod(shape):,} values"
    if not expected:
        raise InputError(f"{path} holds no values: its shape is {'×'.join(map(str, shape))}")
    if expected > most:
        raise InputError(f"{path} says it holds {said}, but holds only {most:,}")
    check_memory(expected, f"{path}: {said}")
    values = bytearray()
    while len(values) <= expected and (piece := file.read(min(_PIECE, expected + 1 - len(values)))):
        values += piece
    if len(values) != expected:
        found = f"only {len(values):,}" if len(values) < expected else "more"
        raise InputError(f"{path} says it holds {said}, but holds {found}")
    return torch.frombuffer(values, dtype=torch.uint8).reshape(shape)


def _find(folder: Path, stem: str, dimensions: int) -> Path | None:
    """The file of one of the names under which it is handed around, in `folder` or in its `raw`."""
    for name in (f"{stem}-idx{dimensions}-ubyte", f"{stem}.idx{dimensions}-ubyte"):
        for path in (
            folder / name,
            folder / f"{name}.gz",
            folder / "raw" / name,
            folder / "raw" / f"{name}.gz",
        ):
            if path.is_file():
                return path
    return None


def _read_split(folder: Path, stem: str) -> tuple[Tensor, Tensor, Files]:
    """Images uint8 [n, 1, h, w], labels int64 [n], and their two files."""
    paths = _find(folder, f"{stem}-images", 3), _find(folder, f"{stem}-labels", 1)
    if paths[0] is None or paths[1] is None:
        missing = f"{stem}-images-idx3-ubyte" if paths[0] is None else f"{stem}-labels-idx1-ubyte"
        raise InputError(f"no {missing} in {folder}; expected there: {FOUR_FILES}, each with or without .gz")
    images, labels = read_idx(paths[0], 3), read_idx(paths[1], 1)
    if len(images) != len(labels):
        raise InputError(f"{paths[0]} holds {len(images):,} images, but {paths[1]} holds {len(labels):,} labels")
    return images[:, None], labels.long(), Files(folder, [str(path.relative_to(folder)) for path in paths if path])


def _open(settings: Data, folder: Path) -> Dataset:
    if not folder.is_dir():
        raise InputError(f"data.path {str(folder)!r} is no folder; expected: one that holds {FOUR_FILES}")
    *train, trained = _read_split(folder, "train")
    *test, tested = _read_split(folder, "t10k")
    dataset = from_tensors(settings, (train[0], train[1]), (test[0], test[1]), classes=10, where=str(folder))
    return replace(dataset, origin=(trained, tested))


def mnist(settings: Data) -> Dataset:
    """MNIST from its four IDX files in the folder `settings.path`: 60,000 to train on, 10,000 to test on.

    Raises:
        InputError: If the folder or a file is missing or broken.
    """
    return _open(settings, required_path(settings, f"the folder that holds MNIST's {FOUR_FILES}"))


def fashion_mnist(settings: Data) -> Dataset:
    """Fashion-MNIST (Xiao et al., 2017, arXiv:1708.07747) from `settings.path` or Debian's package.

    Raises:
        InputError: If neither is there, or a file is missing or broken.
    """
    if settings.path is None and not DEBIAN_FASHION.is_dir():
        raise InputError(
            "fashion-mnist is not on this machine: apt-get install dataset-fashion-mnist (Debian, Ubuntu), "
            "or download the four files from https://github.com/zalandoresearch/fashion-mnist and set "
            "data.path to their folder"
        )
    folder = DEBIAN_FASHION if settings.path is None else required_path(settings, f"the folder that holds {FOUR_FILES}")
    return _open(settings, folder)
