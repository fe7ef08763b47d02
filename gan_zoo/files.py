"""Files and folders that appear whole or not at all, and stay when the power goes."""

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

PARTIAL = ".partial"
"""Part of the name of everything that is not whole yet."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to, which takes its name when the block ends well and is removed when not.

    Raises:
        OSError: If the place cannot be written, naming `path`.
    """
    make_folder(path.parent)
    beside = path.with_name(f".{path.stem}.{os.getpid()}{PARTIAL}{path.suffix}")
    with _named(path, beside):
        try:
            yield beside
            sync(beside)
            beside.replace(path)
            sync(path.parent)
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """The same for a folder, whose files the block writes by `write`; an older folder of the name gives way.

    Raises:
        OSError: If the place cannot be written, naming `path`.
    """
    make_folder(path.parent)
    beside = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    with _named(path, beside):
        try:
            beside.mkdir()
            yield beside
            sync(beside)
            if path.exists():
                shutil.rmtree(path)
            beside.rename(path)
            sync(path.parent)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def check_writable(path: Path, *, folder: bool = False) -> None:
    """Refuse a place that no file, or no `folder`, can be written at, before work is spent; nothing is left there.

    Raises:
        OSError: Naming `path`.
    """
    try:
        if path.is_dir() and not folder:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        there = path.parent
        while not there.exists() and there != there.parent:
            there = there.parent
        os.rmdir(mkdtemp(prefix=".", suffix=PARTIAL, dir=there))
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, to stay."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync(path.parent)


def write(path: Path, content: bytes) -> str:
    """Write a file down to the disk.

    Returns:
        The SHA-256 of `content`.
    """
    with path.open("wb", buffering=0) as file:
        write_all(file, content)
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):  # so that what is read back is the disk's
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return hashlib.sha256(content).hexdigest()


def write_all(file: RawIOBase, content: bytes) -> None:
    """Write to an unbuffered file, which may take less than all at a time."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def cache_folder() -> Path:
    """Where what was worked out once is kept: $GAN_ZOO_CACHE, or gan-zoo in the user's folder for such things.

    Raises:
        RuntimeError: If the user has no home.
    """
    if own := os.environ.get("GAN_ZOO_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gan-zoo"


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Have the disk hold what was written to a file, or what a folder names."""
    windows = os.name == "nt"
    if windows and path.is_dir():
        return  # which it sees to itself
    descriptor = os.open(path, os.O_RDWR if windows else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove what a process that was killed had not finished in `folder`."""
    for left in folder.glob(f".*{PARTIAL}*"):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


ADDRESS = "file://"
"""How the text of a path begins whose name is no UTF-8."""


def as_text(path: str) -> str:
    """A path as text that every file can hold: where a name in it is no UTF-8, an address, `file:///home/caf%E9`."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return Path(os.path.abspath(os.path.expanduser(path))).as_uri()
    return path


def from_text(text: str) -> Path:
    """The path that `as_text` wrote, or that a user typed, `~` being a home.

    Raises:
        RuntimeError: If `~name` is the home of nobody.
    """
    if text.startswith(ADDRESS):
        return Path(os.fsdecode(unquote_to_bytes(text.removeprefix(ADDRESS))))
    return Path(text).expanduser()


@contextmanager
def utf8_name(path: Path) -> Iterator[Path]:
    """A name of a file, to read it by, for libraries that take no name but in UTF-8."""
    if as_text(str(path)) == str(path):
        yield path
        return
    with path.open("rb") as file:
        yield Path(f"/dev/fd/{file.fileno()}")


def slug(text: str) -> str:
    """A text as part of a file's name; empty if there is neither letter nor digit in it."""
    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))


def text_of(content: bytes) -> str:
    """A file's text in UTF-8, without the byte order mark that some editors put before it.

    Raises:
        ValueError: If it is in another encoding.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:4]:
        wide = content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)) or content[:4].count(0) > 2
        raise ValueError(f"it is in UTF-{32 if wide else 16}; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start:,} is not UTF-8; save the file as UTF-8") from None


def write_text(text: str, path: Path) -> Path:
    """Write text in UTF-8, whole or not at all; a byte of a file's name that is no UTF-8 stands there as `\\udcXX`."""
    with whole(path) as beside:
        beside.write_text(text, encoding="utf-8", errors="backslashreplace")
    return path


def write_json(value: Any, path: Path) -> Path:
    """Write `value` as JSON."""
    return write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", path)


@contextmanager
def _named(path: Path, beside: Path) -> Iterator[None]:
    """Within, an error about `beside` is told as one about `path`."""
    try:
        yield
    except OSError as error:
        named = error.filename
        if named is not None and beside not in (Path(os.fsdecode(named)), *Path(os.fsdecode(named)).parents):
            raise  # of something else that the block does
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None
