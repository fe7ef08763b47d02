"""What a training shows: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


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
        self.console = _Terminal(quiet=quiet, highlight=False)
        self.steps = steps
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

    def log(self, record: dict[str, Any]) -> None:
        """Show a line of metrics."""
        told = summary(record)
        self.bar.update(self.task, told=told)
        if not self.console.is_terminal:
            done = record["step"]
            left = (time.monotonic() - self.started) / max(done - self.first, 1) * (self.steps - done)
            self.say(f"step {done}/{self.steps}  {told}  {clock(left)} left")

    def say(self, line: str) -> None:
        """Print a line above the progress."""
        self.console.print(line, soft_wrap=True, markup=False)


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
