"""Arrays in NumPy's own files, .npy and .npz. Headers are judged before values are read; nothing is ever unpickled."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from gan_zoo.errors import quoted

Array = NDArray[np.generic]

NUMBERS = "biufc"
"""Kinds of values that are read: booleans, integers, floats and, to be told as such, complex numbers."""
LONGEST_HEADER = 2**16

_MAGIC = b"\x93NUMPY"
_PIECE = 2**24


@dataclass(frozen=True)
class Header:
    """What a .npy file says that it holds.

    Attributes:
        shape: Of the array.
        fortran: Whether the first axis turns fastest.
        dtype: Of its values, plain numbers.
        offset: Where in the file they begin.
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[np.generic]
    offset: int

    @property
    def size(self) -> int:
        """Bytes that the values take."""
        return prod(self.shape) * self.dtype.itemsize


def read_header(file: IO[bytes]) -> Header:
    """The header that a file begins with, which then stands at its values.

    Raises:
        ValueError: If it is none, or of values that are no plain numbers.
    """
    start = file.read(8)
    if start[:6] != _MAGIC or len(start) < 8:
        raise ValueError("it does not begin as a .npy file does; what holds Python objects is never unpickled")
    width = 2 if start[6] == 1 else 4
    length = file.read(width)
    count = int.from_bytes(length, "little")
    if count > LONGEST_HEADER:
        raise ValueError(f"its header is {count:,} bytes long")
    header = file.read(count)
    try:
        read = np.lib.format.read_array_header_1_0 if width == 2 else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(BytesIO(length + header))
    except Exception as error:  # it is parsed as Python's literals, which fail in many ways
        raise ValueError("its header is damaged") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never unpickled")
    if dtype.kind not in NUMBERS or not dtype.itemsize:
        raise ValueError(f"its values are {quoted(dtype)}, no plain numbers")
    if any(size < 0 for size in shape) or len(shape) > 32 or max(shape, default=0) >= 2**63:
        raise ValueError(f"its shape is {quoted(shape)}")
    return Header(shape, fortran, dtype, len(start) + width + count)


def mapped(path: Path) -> Array:
    """The array of a .npy file, left on the disk.

    Raises:
        ValueError: If it is no such file, or is shorter than its shape says.
    """
    with path.open("rb") as file:
        header = read_header(file)
    there = path.stat().st_size - header.offset
    if header.size > there:
        raise ValueError(f"it says that it holds {header.size:,} bytes of values, and holds {there:,}")
    order = "F" if header.fortran else "C"
    if not header.size:
        return np.empty(header.shape, header.dtype)
    return np.memmap(path, header.dtype, "r", header.offset, header.shape, order)  # type: ignore[call-overload,no-any-return]


class Archive:
    """A .npz file, open: the arrays' headers, then those arrays that are asked for. No name in it becomes a path.

    Raises:
        ValueError: If it is none.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise ValueError(f"it is no .npz archive ({error}); what holds Python objects is never unpickled") from None
        self.names = [name.removesuffix(".npy") for name in self._zip.namelist() if name.endswith(".npy")]

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *error: object) -> None:
        self._zip.close()

    def open(self, name: str) -> IO[bytes]:
        """The file of an array, packed."""
        return self._zip.open(f"{name}.npy")

    def header(self, name: str) -> Header:
        """What an array's file says that it holds.

        Raises:
            ValueError: If it does not agree with the archive's own directory.
        """
        with self.open(name) as file:
            try:
                header = read_header(file)
            except ValueError as error:
                raise ValueError(f"{quoted(name)}: {error}") from error
        there = self._zip.getinfo(f"{name}.npy").file_size - header.offset
        if header.size != there:
            raise ValueError(f"{quoted(name)} says that it holds {header.size:,} bytes of values, and holds {there:,}")
        return header

    def read(self, name: str) -> Array:
        """An array, of the size that its header says.

        Raises:
            ValueError: If there are fewer values.
        """
        with self.open(name) as file:
            header = read_header(file)
            values, filled = np.empty(header.size, np.uint8), 0
            while filled < header.size and (piece := file.read(min(_PIECE, header.size - filled))):
                values[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
                filled += len(piece)
        if filled < header.size:
            raise ValueError(f"{quoted(name)} ends early, after {filled:,} of {header.size:,} bytes")
        return values.view(header.dtype).reshape(header.shape, order="F" if header.fortran else "C")
