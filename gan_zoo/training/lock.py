"""The lock of a run folder: one process at a time trains there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from gan_zoo.errors import InputError
from gan_zoo.files import make_folder

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """A context that holds the lock of `folder`, which is made if it is missing.

    The operating system holds the lock (flock on the file `.lock`) and releases it however the process ends; the file
    stays and does not matter.

    Raises:
        InputError: If another process holds the lock.
    """
    make_folder(folder)
    try:
        lock = FileLock(folder / LOCK).acquire(blocking=False)
    except Timeout:
        raise InputError(
            f"{folder} is in use by another training process; wait for it to end, or choose another folder"
        ) from None
    with lock:
        yield


def is_locked(folder: Path) -> bool:
    """Whether a process trains in `folder` now. The check takes a free lock for an instant."""
    file = folder / LOCK
    if file.is_symlink() or not file.is_file():
        return False
    try:
        with FileLock(file, blocking=False):
            return False
    except OSError as error:  # of another type: a read-only folder
        return isinstance(error, Timeout)
