"""Messages on stderr, tables, and progress on a terminal or in a notebook."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import IO, Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

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


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, left: int = 1, once: bool = False
) -> Table:
    """A plain table.

    Args:
        title: The line above it, if not empty.
        columns: The columns' names; all empty for a table without a header.
        rows: The cells of each row.
        left: The number of columns that are aligned left; the others are aligned right.
        once: Whether to leave out a first cell that repeats the one above.
    """
    made = Table(title=title or None, title_justify="left", title_style="", header_style="", box=None, pad_edge=False)
    made.show_header = any(columns)
    for place, column in enumerate(columns):
        made.add_column(column, justify="left" if place < left else "right", overflow="fold")
    above: str | Text = ""
    for first, *rest in rows:
        made.add_row("" if once and first == above else first, *rest)
        above = first
    return made


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
        self.label, self.total, self.notebook = label, total, notebook
        self.updated = -math.inf
        self.below = BelowCell()
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
        now = time.monotonic()
        if self.notebook and (done >= self.total or now - self.updated >= at_most_every):
            self.updated = now
            self.below.show({"text/plain": f"{self.label} {done}/{self.total}  {text}".rstrip()})


class BelowCell:
    """An output below a notebook's cell, which is replaced in place and saved with the notebook."""

    def __init__(self) -> None:
        self.handle: Any = None

    def show(self, content: dict[str, str]) -> None:
        """Show what is there for each MIME type."""
        if self.handle:
            self.handle.update(content, raw=True)
            return
        from IPython.display import display

        self.handle = display(content, raw=True, display_id=True)


@contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Display progress after a second: a bar on a terminal, a line in a notebook.

    Args:
        label: Shown before the count.

    Yields:
        A function to call with the number of items that are done, and of all items.
    """
    console = Console(stderr=True)
    shown = not _silent.get() and (console.is_terminal or console.is_jupyter)
    begun, bar = time.monotonic(), None

    def show(done: int, total: int) -> None:
        nonlocal bar
        if bar is None and shown and done < total and time.monotonic() - begun > PATIENCE:
            bar = stack.enter_context(Bar(console, label, total, notebook=console.is_jupyter))
        if bar:
            bar.show(done)

    with ExitStack() as stack:
        yield show


def with_progress(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    """Iterate over `items` and display `progress`.

    Args:
        items: The items.
        total: Their number.
        label: Shown before the count.
    """
    with progress(label) as show:
        for done, item in enumerate(items):
            show(done, total)
            yield item
        show(total, total)
