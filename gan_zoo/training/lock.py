"""One process at a time trains in a run folder."""

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
    """Within, no other process gets the lock of `folder`, which is made if need be.

    The lock is the operating system's (flock), on the file `.lock`: it ends with the process, however that ends, and
    the file that stays behind means nothing.

    Raises:
        InputError: If another process holds it.
    """
    make_folder(folder)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise InputError(f"{folder} is being trained by another process; wait for it, or name another folder") from None
    try:
        yield
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Whether a process trains in `folder` now. Asking takes the lock for an instant if nobody has it."""
    file = folder / LOCK
    if file.is_symlink() or not file.is_file():
        return False
    lock = FileLock(file)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    except OSError:  # of a place that may only be read
        return False
    lock.release()
    return False
