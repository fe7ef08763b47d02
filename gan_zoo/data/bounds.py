"""Bounds on what a file may claim: memory, and room in a message."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from pathlib import Path

from gan_zoo.errors import InputError, quoted

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@cache
def memory() -> int:
    """Bytes of memory that this process may use: the machine's, or the limit of its control group."""
    sizes = []
    if hasattr(os, "sysconf"):
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in _LIMITS:
        with suppress(OSError, ValueError):  # no limit, or "max"
            sizes.append(int(limit.read_text()))
    return min((size for size in sizes if size > 0), default=2**63)


def check_memory(size: int, what: str) -> None:
    """Refuse what would take `size` bytes of memory, before any is allocated.

    Raises:
        InputError: If the machine has less.
    """
    if size > memory():
        raise InputError(f"{what} would take {gib(size)} of memory, and this machine has {gib(memory())}")


def gib(size: int) -> str:
    """`size` in GiB; by integers, since a file may claim any number."""
    whole, tenths = divmod(size * 10 // 2**30, 10)
    return f"{whole:,}.{tenths} GiB" if whole < 10**12 else "more than 10^12 GiB"


def listed(names: list[str], most: int = 10) -> str:
    """The first names of a list, and the number of the others."""
    rest = f", and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(quoted, names[:most])) + rest or "none"
