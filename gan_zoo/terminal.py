"""Messages on stderr, and progress on a terminal or in a notebook."""

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
"""Seconds before progress is displayed."""

_silent = ContextVar("silent", default=False)


@contextmanager
def silent(enabled: bool = True) -> Iterator[None]:
    """A block without messages and progress, if `enabled`."""
    before = _silent.set(enabled or _silent.get())
    try:
        yield
    finally:
        _silent.reset(before)


def say(line: str) -> None:
    """Print a line on stderr."""
    if not _silent.get():
        print(encodable(line, sys.stderr), file=sys.stderr, flush=True)


def encodable(text: str, stream: IO[str]) -> str:
    """Replace the characters of `text` that the stream's encoding lacks, e.g. in a pipe on Windows."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


class NotebookLine:
    """A line below a notebook cell that is updated in place; it is saved with the notebook."""

    def __init__(self) -> None:
        self.handle: Any = None
        self.updated = -math.inf

    def show(self, line: str, *, at_most_every: float = 0.0) -> None:
        """Replace the line, at most once in `at_most_every` seconds."""
        now = time.monotonic()
        if now - self.updated < at_most_every:
            return
        self.updated, content = now, {"text/plain": line}
        if self.handle is None:
            from IPython.display import display

            self.handle = display(content, raw=True, display_id=True)
        else:
            self.handle.update(content, raw=True)


def with_progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Iterate over `items` and display progress: a bar on a terminal, a line in a notebook.

    Args:
        items: The items.
        total: Their number.
        what: Label of the bar.
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
    """A function that displays the number of finished items in a notebook."""
    cell = NotebookLine()

    def show(done: int) -> None:
        cell.show(f"{what}  {done}/{total}", at_most_every=1.0 if done < total else 0.0)

    return show


def _bar(console: Console, total: int, what: str, stack: ExitStack) -> Callable[[int], None]:
    """A function that displays the number of finished items on a terminal, until `stack` is closed."""
    bar = stack.enter_context(Progress(console=console, transient=True))
    task = bar.add_task(what, total=total)

    def show(done: int) -> None:
        bar.update(task, completed=done)

    return show
