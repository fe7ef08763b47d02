"""What a training shows: a live line on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gan_zoo.terminal import NotebookLine, encodable


class _Terminal(Console):
    """A console whose reader may go: then nothing more is shown, and the training goes on."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Reporter:
    """Live progress of one run; use as a context.

    Args:
        steps: Steps of the whole run.
        start: Steps done already.
        quiet: Whether to say nothing at all.
    """

    def __init__(self, steps: int, start: int = 0, *, quiet: bool = False) -> None:
        notebook = Console().is_jupyter  # where FORCE_COLOR is set, and Rich would make a block of HTML of each line
        self.console = _Terminal(
            quiet=quiet, highlight=False, force_jupyter=False, force_terminal=False if notebook else None
        )
        self.cell = NotebookLine() if notebook and not quiet else None
        self.steps, self.told = steps, ""
        self.started, self.first = time.monotonic(), start
        self.bar = Progress(
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(compact=True),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("train", total=steps, completed=start, told="")

    def __enter__(self) -> Reporter:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def advance(self, done: int) -> None:
        """Say that `done` steps are done."""
        self.bar.update(self.task, completed=done)
        if self.cell:
            self.cell.show(self.line(done), at_most_every=1.0)

    def log(self, record: dict[str, Any]) -> None:
        """Show a line of metrics."""
        self.told = summary(record)
        self.bar.update(self.task, told=self.told)
        if self.cell:
            self.cell.show(self.line(record["step"]))
        elif not self.console.is_terminal:
            self.say(self.line(record["step"]))

    def line(self, done: int) -> str:
        """Where the training stands after `done` steps: the last metrics and the time left."""
        left = (time.monotonic() - self.started) / max(done - self.first, 1) * (self.steps - done)
        return "  ".join(filter(None, (f"step {done}/{self.steps}", self.told, f"{clock(left)} left")))

    def say(self, line: str) -> None:
        """Print a line above the progress."""
        self.console.print(encodable(line, self.console.file), soft_wrap=True, markup=False)


def clock(seconds: float) -> str:
    """A duration as minutes:seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def summary(record: dict[str, Any]) -> str:
    """The figures of a line of metrics that a person follows: speed, both losses, L_I beside H(c)."""
    parts = [f"{record['images_per_second']:.0f} images/s"]
    for short, player in (("D", "discriminator"), ("G", "generator")):
        losses = [value for name, value in record.items() if name.startswith(f"{player}/")]
        if losses:
            parts.append(f"{short} {sum(losses):.3f}")
    if "mi" in record:
        parts.append(f"L_I {record['mi']:.2f} of H(c) {record['entropy']:.2f} nats")
    return "  ".join(parts)
