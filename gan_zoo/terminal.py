"""What is told on the way to a result: lines on stderr, and a bar or a notebook's line where someone watches."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import IO, Any, TypeVar

from rich.console import Console
from rich.progress import Progress

T = TypeVar("T")

PATIENCE = 1.0
"""Seconds after which a bar, or a line that moves, is shown."""

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
        print(fitted(line, sys.stderr), file=sys.stderr, flush=True)


def fitted(text: str, stream: IO[str]) -> str:
    """`text` with what the stream's encoding lacks replaced, as where Windows pipes it."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


class Cell:
    """A line below a notebook's cell, written anew in place; it stays when the notebook is saved."""

    def __init__(self) -> None:
        self.handle: Any = None
        self.shown = -math.inf

    def show(self, line: str, *, at_most_every: float = 0.0) -> None:
        """Put `line` in place of the one before it, unless that one is younger than so many seconds."""
        now = time.monotonic()
        if now - self.shown < at_most_every:
            return
        self.shown, content = now, {"text/plain": line}
        if self.handle is None:
            from IPython.display import display

            self.handle = display(content, raw=True, display_id=True)
        else:
            self.handle.update(content, raw=True)


def watched(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The items; if it takes more than a moment to go through them, a terminal shows a bar, a notebook a line.

    Args:
        items: What is gone through.
        total: How many there are.
        what: What stands left of the bar.
    """
    console = Console(stderr=True)
    if _silent.get() or not (console.is_terminal or console.is_jupyter):
        yield from items
        return
    with ExitStack() as stack:
        show: Callable[[int], None] | None = None
        begun = time.monotonic()
        for done, item in enumerate(items):
            if show is None and time.monotonic() - begun > PATIENCE:
                show = _line(total, what) if console.is_jupyter else _bar(console, total, what, stack)
            if show:
                show(done)
            yield item
        if show:
            show(total)


def _line(total: int, what: str) -> Callable[[int], None]:
    """What shows in a notebook how many are done."""
    cell = Cell()

    def show(done: int) -> None:
        cell.show(f"{what}  {done}/{total}", at_most_every=1.0 if done < total else 0.0)

    return show


def _bar(console: Console, total: int, what: str, stack: ExitStack) -> Callable[[int], None]:
    """What shows on a terminal how many are done, until `stack` is closed."""
    bar = stack.enter_context(Progress(console=console, transient=True))
    task = bar.add_task(what, total=total)

    def show(done: int) -> None:
        bar.update(task, completed=done)

    return show
