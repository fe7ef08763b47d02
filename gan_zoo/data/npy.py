"""Arrays in NumPy's .npy and .npz files. Headers are checked before values are read; nothing is ever unpickled."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from gan_zoo.errors import quoted

Array = NDArray[np.generic]

NUMBERS = "biufc"
"""Kinds of values that are read: booleans, integers, floats, and complex numbers, which are then refused by type."""
LONGEST_HEADER = 2**14
"""Maximum length of a header in bytes; NumPy reads headers of up to 10,000."""


@dataclass(frozen=True)
class Header:
    """The header of a .npy file.

    Attributes:
        shape: Shape of the array.
        fortran: Whether the first axis varies fastest.
        dtype: A numeric type.
        offset: Position of the values in the file.
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[np.generic]
    offset: int

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return prod(self.shape) * self.dtype.itemsize


def read_header(file: IO[bytes], available: int) -> Header:
    """Read the header of a .npy file by NumPy's own reader, which gets no more than `LONGEST_HEADER` bytes to see.

    Args:
        file: The file, at its beginning.
        available: Bytes of the file, header included.

    Raises:
        ValueError: If it is not a .npy file, its values are not numbers, or there are fewer of them than stated.
    """
    start = BytesIO(file.read(LONGEST_HEADER))
    try:
        version = npy_format.read_magic(start)
    except ValueError:
        raise ValueError("it is not a .npy file; Python objects are never unpickled") from None
    read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    try:
        shape, fortran, dtype = read(start)
    except Exception as error:  # NumPy parses it as a Python literal, which fails in many ways
        raise ValueError("its header is damaged or too long") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never unpickled")
    if dtype.kind not in NUMBERS or not dtype.itemsize:
        raise ValueError(f"its values have the type {quoted(dtype)}; expected: numbers")
    if any(size < 0 for size in shape) or len(shape) > 32 or max(shape, default=0) >= 2**63:
        raise ValueError(f"its shape is {quoted(shape)}")
    header = Header(shape, fortran, dtype, start.tell())
    if header.size > available - header.offset:
        raise ValueError(f"its header states {header.size:,} bytes of values, but {available - header.offset:,} follow")
    return header


def mapped(path: Path) -> Array:
    """The array of a .npy file, memory-mapped.

    Raises:
        ValueError: If it is not such a file, or shorter than its header states.
    """
    with path.open("rb") as file:
        read_header(file, path.stat().st_size)
    array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


class Archive(zipfile.ZipFile):
    """An open .npz file, whose arrays are read on request. No name in it becomes a path.

    Raises:
        ValueError: If it is not a zip file.
    """

    def __init__(self, path: Path) -> None:
        try:
            super().__init__(path)
        except zipfile.BadZipFile as error:
            raise ValueError(f"it is not a .npz archive ({error}); Python objects are never unpickled") from None

    @property
    def arrays(self) -> list[str]:
        """The arrays' names."""
        return [name.removesuffix(".npy") for name in self.namelist() if name.endswith(".npy")]

    def header(self, name: str) -> Header:
        """The header of an array.

        Raises:
            ValueError: If there are fewer values than it states.
        """
        member = f"{name}.npy"
        with self.open(member) as file:
            try:
                return read_header(file, self.getinfo(member).file_size)
            except ValueError as error:
                raise ValueError(f"{quoted(name)}: {error}") from error

    def array(self, name: str) -> Array:
        """Read an array whose `header` was checked.

        Raises:
            ValueError: If there are fewer values than its header states.
        """
        with self.open(f"{name}.npy") as file:
            try:
                values: Array = npy_format.read_array(file, allow_pickle=False)
            except ValueError as error:
                raise ValueError(f"{quoted(name)}: {error}") from error
        return values
