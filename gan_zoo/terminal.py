"""What is told on the way to a result, on stderr: lines, and a bar where someone watches."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress

T = TypeVar("T")

PATIENCE = 1.0
"""Seconds after which a bar is shown."""

_silent = ContextVar("silent", default=False)


@contextmanager
def silent(holds: bool = True) -> Iterator[None]:
    """A block in which nothing is told, if that `holds`."""
    before = _silent.set(holds or _silent.get())
    try:
        yield
    finally:
        _silent.reset(before)


def say(line: str) -> None:
    """Tell a line."""
    if not _silent.get():
        print(line, file=sys.stderr, flush=True)


def watched(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The items, with a bar while they are gone through, if that takes more than a moment and stderr is a terminal.

    Args:
        items: What is gone through.
        total: How many there are.
        what: What stands left of the bar.
    """
    console = Console(stderr=True)
    if _silent.get() or not console.is_terminal:
        yield from items
        return
    with ExitStack() as stack:
        bar = Progress(console=console, transient=True)
        task = bar.add_task(what, total=total)
        begun, shown = time.monotonic(), False
        for done, item in enumerate(items):
            if not shown and time.monotonic() - begun > PATIENCE:
                shown = bool(stack.enter_context(bar))
            if shown:
                bar.update(task, completed=done)
            yield item
