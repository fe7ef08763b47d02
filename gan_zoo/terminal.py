"""Messages on stderr, and progress on a terminal or in a notebook."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import IO, Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

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


class Bar:
    """How many of a loop's iterations are done: a bar on a terminal, a line below a notebook's cell; use as a context.

    Args:
        console: Where to show it.
        label: Shown before the count.
        total: The number of iterations.
        done: How many are done already.
        notebook: Whether to show the notebook's line.
        transient: Whether the bar disappears at the end.
    """

    def __init__(
        self, console: Console, label: str, total: int, *, done: int = 0, notebook: bool = False, transient: bool = True
    ) -> None:
        self.line = NotebookLine() if notebook else None
        self.label, self.total = label, total
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=transient,
            disable=notebook or not console.is_terminal,
        )
        self.task = self.bar.add_task(label, total=total, completed=done, text="")

    def __enter__(self) -> Bar:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def show(self, done: int, text: str = "", *, at_most_every: float = 1.0) -> None:
        """Show that `done` iterations are done; a notebook's line changes once in so many seconds."""
        self.bar.update(self.task, completed=done, text=text)
        if self.line:
            at_most_every = at_most_every if done < self.total else 0.0
            self.line.show(f"{self.label} {done}/{self.total}  {text}".rstrip(), at_most_every=at_most_every)


def with_progress(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    """Iterate over `items` and display progress: a bar on a terminal, a line in a notebook.

    Args:
        items: The items.
        total: Their number.
        label: Shown before the count.
    """
    console = Console(stderr=True)
    if _silent.get() or not (console.is_terminal or console.is_jupyter):
        yield from items
        return
    with ExitStack() as stack:
        bar: Bar | None = None
        begun = time.monotonic()
        for done, item in enumerate(items):
            if bar is None and time.monotonic() - begun > PATIENCE:
                bar = stack.enter_context(Bar(console, label, total, notebook=console.is_jupyter))
            if bar:
                bar.show(done)
            yield item
        if bar:
            bar.show(total)
