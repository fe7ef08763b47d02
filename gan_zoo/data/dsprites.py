"""dSprites (Matthey et al., 2017), from the file that its authors publish."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_zoo.config import Data
from gan_zoo.data.assemble import LARGEST, SMALLEST, settle_labels, settle_shape
from gan_zoo.data.bounds import check_memory
from gan_zoo.data.dataset import Dataset, Split, required_path
from gan_zoo.data.factors import Factors
from gan_zoo.data.folder import Files
from gan_zoo.data.npy import Archive, Header, read_header
from gan_zoo.data.pixels import fit
from gan_zoo.errors import InputError, first_line
from gan_zoo.shapes import ImageShape

FILE = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
COLUMNS = ("color", "shape", "scale", "orientation", "x", "y")
"""Of the file's table of classes."""
_CHUNK = 2**24


@dataclass(frozen=True, eq=False)
class Packed:
    """A source over black and white images that are held as bits.

    Args:
        bits: uint8 [n, ⌈side² / 8⌉].
        side: Of the images as they are held.
        shape: What they are fitted into when asked for.
    """

    bits: NDArray[np.uint8]
    side: int
    shape: ImageShape

    def __len__(self) -> int:
        return len(self.bits)

    def __getitem__(self, index: int) -> Tensor:
        return self.batch(torch.tensor([index]))[0]

    def batch(self, indices: Tensor) -> Tensor:
        """The images at `indices` (int64 [n]), uint8 [n, C, R, R]."""
        pixels = np.unpackbits(self.bits[indices.numpy()], axis=1, count=self.side**2) * np.uint8(255)
        return fit(torch.from_numpy(pixels).view(-1, 1, self.side, self.side), self.shape)


def dsprites(settings: Data) -> Dataset:
    """The images of the .npz file `settings.path`, with their factors; the label is the shape.

    Read are `imgs`, uint8 0 or 1 [n, side, side], and `latents_classes`, integers [n, 6]; a factor that does not vary,
    as the colour, is left out. The pickled `metadata` are not opened. The images are held as bits, 0.35 GiB for the
    real file's 737,280.

    Raises:
        InputError: If the file cannot be read, or is not every combination of its factors once, in order.
    """
    path = required_path(settings, f"the file {FILE}")
    if not path.is_file():
        raise InputError(f"{path} is no regular file; expected: the file {FILE}")
    try:
        with Archive(path) as archive:
            classes = _classes(archive, path)
            bits, side = _images(archive, path, len(classes))
    except InputError:
        raise
    except Exception as error:  # zip and its compressions fail in many ways
        raise InputError(f"{path} is no readable {FILE}: {first_line(error)}") from error
    factors = _factors(classes, path)
    shape = settle_shape(settings, sides=(side, side), channels=1, where=str(path))
    kinds = classes[:, COLUMNS.index("shape")]
    labels = settle_labels(settings, kinds, None, where=str(path))
    train = Split(Packed(bits, side, shape), labels.train)
    origin = (Files(path.parent, [path.name]),)
    return Dataset(settings.name, shape, labels.classes, train, factors=factors, origin=origin)


def _classes(archive: Archive, path: Path) -> Tensor:
    """The table of classes, int64 [n, 6]."""
    if missing := sorted({"imgs", "latents_classes"} - {*archive.names}):
        raise InputError(f"{path} has no {' and no '.join(missing)}; expected: the file {FILE}")
    check_memory(2 * archive.header("latents_classes").size, f"{path}: latents_classes")
    table = archive.read("latents_classes")
    if table.dtype.kind not in "iu" or table.ndim != 2 or table.shape[1] != len(COLUMNS) or not len(table):
        raise InputError(
            f"{path}: latents_classes is {table.dtype} {[*table.shape]}; expected: integers [n, {len(COLUMNS)}], "
            f"{', '.join(COLUMNS)}"
        )
    return torch.from_numpy(table.astype(np.int64))


def _factors(classes: Tensor, path: Path) -> Factors:
    """The factors that vary, once the rows are shown to be every combination in order."""
    sizes = [int(size) + 1 for size in classes.amax(0)]
    varied = [k for k, size in enumerate(sizes) if size > 1]
    if not varied:
        raise InputError(f"{path}: no factor varies; expected: the file {FILE}")
    factors = Factors(tuple(COLUMNS[k] for k in varied), tuple(sizes[k] for k in varied))
    whole = prod(sizes) == len(classes) and torch.equal(factors.values(torch.arange(len(classes))), classes[:, varied])
    if not whole:
        raise InputError(
            f"{path}: the {len(classes)} rows of latents_classes are not every combination of "
            f"{'×'.join(map(str, sizes))} values once, with {COLUMNS[-1]} turning fastest"
        )
    return factors


def _images(archive: Archive, path: Path, expected: int) -> tuple[NDArray[np.uint8], int]:
    """The `expected` images as bits [n, ⌈side² / 8⌉] and their side; read in parts, as they would fill 3 GB."""
    n, side = _size(archive.header("imgs"), path)
    if n != expected:
        raise InputError(f"{path} holds {n} images and the classes of {expected}")
    width = -(-(side**2) // 8)
    check_memory(n * width, f"{path}: imgs")
    with archive.open("imgs") as member:
        read_header(member)
        bits = np.empty((n, width), np.uint8)
        rows = max(1, _CHUNK // side**2)
        for start in range(0, n, rows):
            count = min(rows, n - start)
            found = member.read(count * side**2)
            if len(found) < count * side**2:
                raise InputError(f"{path}: imgs ends early, in image {start + len(found) // side**2} of {n}")
            pixels = np.frombuffer(found, np.uint8).reshape(count, side**2)
            if pixels.max() > 1:
                raise InputError(f"{path}: imgs holds the value {pixels.max()}; expected: 0 and 1")
            bits[start : start + count] = np.packbits(pixels, axis=1)
    return bits, side


def _size(header: Header, path: Path) -> tuple[int, int]:
    """Number and side of the images that follow."""
    shape = header.shape
    square = len(shape) == 3 and shape[0] >= 1 and SMALLEST <= shape[1] == shape[2] <= LARGEST
    if not square or header.fortran or header.dtype != np.uint8:
        raise InputError(
            f"{path}: imgs is {header.dtype} {[*shape]}; expected: uint8 [n, side, side], "
            f"side from {SMALLEST} to {LARGEST}"
        )
    return shape[0], shape[1]
