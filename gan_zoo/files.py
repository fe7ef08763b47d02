"""Atomic and durable writes: files and folders appear complete or not at all, and survive a power failure."""

from __future__ import annotations

import codecs
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib.parse import unquote_to_bytes

from gan_zoo.errors import InputError

PARTIAL = ".partial"
"""Part of the name of every file and folder that is not complete yet."""


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it is renamed to `path` if the block succeeds, else removed.

    Raises:
        OSError: If `path` cannot be written.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{PARTIAL}{path.suffix}")
    with _replacing(path, temporary):
        yield temporary
        sync(temporary)
        temporary.replace(path)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """The same for a folder, whose files the block writes with `write`; an existing folder is replaced.

    Raises:
        OSError: If `path` cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    with _replacing(path, temporary):
        temporary.mkdir()
        yield temporary
        sync(temporary)
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)


def check_writable(path: Path, *, folder: bool = False) -> None:
    """Check that a file, or a `folder`, can be written at `path`; leaves nothing behind.

    Raises:
        OSError: If it cannot, naming `path`.
    """
    try:
        if path.is_dir() and not folder:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        existing = next(folder for folder in path.parents if folder.exists() or folder == folder.parent)
        os.rmdir(mkdtemp(prefix=".", suffix=PARTIAL, dir=existing))
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def check_empty(folder: Path) -> None:
    """Check that an output into `folder` overwrites nothing.

    Raises:
        InputError: If there is anything.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(f"{folder} is not a folder; name a new or empty one with --out")
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; name another folder with --out")


def make_folder(path: Path) -> None:
    """Make a folder and its parents durably."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync(path.parent)


def write(path: Path, content: bytes) -> str:
    """Write a file and flush it to the disk.

    Returns:
        The SHA-256 of `content`.
    """
    with path.open("wb", buffering=0) as file:
        write_all(file, content)
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):  # drop it from the page cache, so that it is read back from the disk
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return hashlib.sha256(content).hexdigest()


def write_all(file: RawIOBase, content: bytes) -> None:
    """Write to an unbuffered file, which may take only a part at a time."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def cache_folder() -> Path:
    """The cache folder: $GAN_ZOO_CACHE, or gan-zoo in the user's cache folder.

    Raises:
        RuntimeError: If the user has no home directory.
    """
    if folder := os.environ.get("GAN_ZOO_CACHE"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gan-zoo"


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Flush a file's contents, or a folder's entries, to the disk."""
    windows = os.name == "nt"
    if windows and path.is_dir():
        return  # Windows flushes folders itself
    descriptor = os.open(path, os.O_RDWR if windows else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partial(folder: Path) -> None:
    """Remove the temporary files that a killed process left in `folder`."""
    for left in folder.glob(f".*{PARTIAL}*"):
        _remove(left)


ADDRESS = "file://"
"""Prefix of the text of a path that is not UTF-8."""


def path_to_text(path: str) -> str:
    """A path as UTF-8 text: itself, or a URL such as `file:///home/caf%E9` if a name in it is not UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return Path(os.path.abspath(os.path.expanduser(path))).as_uri()
    return path


def path_from_text(text: str) -> Path:
    """The path of a text that `path_to_text` returned or a user typed, with `~` expanded.

    Raises:
        RuntimeError: If there is no user `name` for `~name`.
    """
    if text.startswith(ADDRESS):
        return Path(os.fsdecode(unquote_to_bytes(text.removeprefix(ADDRESS))))
    return Path(text).expanduser()


@contextmanager
def utf8_name(path: Path) -> Iterator[Path]:
    """Yield a UTF-8 path for reading a file, for libraries that accept no other."""
    if path_to_text(str(path)) == str(path):
        yield path
        return
    with path.open("rb") as file:
        yield Path(f"/dev/fd/{file.fileno()}")


def slug(text: str) -> str:
    """A text as part of a file name; empty if it has neither letters nor digits."""
    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))


def decode_text(content: bytes) -> str:
    """Decode the UTF-8 text of a file, without the byte order mark that some editors write.

    Raises:
        ValueError: If it has another encoding.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:4]:
        wide = content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)) or content[:4].count(0) > 2
        raise ValueError(f"it is in UTF-{32 if wide else 16}; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start:,} is not UTF-8; save the file as UTF-8") from None


def read_text(path: Path, longest: int) -> str:
    """Read the UTF-8 text of a file of at most `longest` bytes.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is longer, or has another encoding.
    """
    with path.open("rb") as file:
        content = file.read(longest + 1)
    if len(content) > longest:
        raise ValueError(f"it is longer than {longest:,} bytes")
    return decode_text(content)


def write_text(text: str, path: Path) -> Path:
    """Write text atomically in UTF-8; bytes of file names that are not UTF-8 become `\\udcXX`."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    return path


def write_json(value: Any, path: Path) -> Path:
    """Write `value` as JSON, atomically."""
    return write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", path)


@contextmanager
def _replacing(path: Path, temporary: Path) -> Iterator[None]:
    """A block that moves `temporary` to `path`, durably; then removes the rest, and raises errors about `path`."""
    make_folder(path.parent)
    try:
        yield
        sync(path.parent)
    except OSError as error:
        named = error.filename
        if named is not None and temporary not in (Path(os.fsdecode(named)), *Path(os.fsdecode(named)).parents):
            raise  # about another file
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
