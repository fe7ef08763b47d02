"""The progress of a training: live on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from base64 import b64encode
from typing import Any

from PIL.Image import Image
from rich.console import Console

from gan_zoo.images import png
from gan_zoo.terminal import Bar, BelowCell, encodable
from gan_zoo.training.evaluation import EVALUATION

MOST_CODES = 4
"""Codes whose L_I is shown; metrics.jsonl has all."""


class _Terminal(Console):
    """A console that turns quiet when its reader closes the pipe; the training continues."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Reporter:
    """The progress of a run; use as a context.

    Args:
        steps: Steps of the whole run.
        start: Steps done already.
        quiet: Whether to print nothing.
    """

    def __init__(self, steps: int, start: int = 0, *, quiet: bool = False) -> None:
        notebook = Console().is_jupyter  # rich would print each line as a block of HTML, with FORCE_COLOR too
        self.console = _Terminal(
            quiet=quiet, highlight=False, force_jupyter=False, force_terminal=False if notebook else None
        )
        self.plain = not (notebook or self.console.is_terminal)
        self.steps, self.metrics = steps, ""
        self.started, self.first = time.monotonic(), start
        self.notebook = notebook
        self.shown = BelowCell() if notebook and not quiet else None
        self.bar = Bar(self.console, "step", steps, done=start, notebook=notebook and not quiet, transient=False)

    def __enter__(self) -> Reporter:
        self.bar.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.__exit__()

    def advance(self, done: int) -> None:
        """Show that `done` steps are done."""
        self.bar.show(done, self._text(done))

    def log(self, record: dict[str, Any]) -> None:
        """Show a line of metrics."""
        self.metrics, done = summary(record), record["step"]
        self.bar.show(done, self._text(done), at_most_every=0.0)
        if self.plain:
            self.say(f"step {done}/{self.steps}  {self.metrics}  {self._left(done)}")

    def picture(self, picture: Image, step: int) -> None:
        """Show the newest samples below a notebook's cell."""
        if self.shown:
            self.shown.show({"image/png": b64encode(png(picture)).decode(), "text/plain": f"samples, step {step}"})

    def _text(self, done: int) -> str:
        """The last metrics; in a notebook also the time left, which a terminal's bar has."""
        return "  ".join(filter(None, (self.metrics, self._left(done)))) if self.notebook else self.metrics

    def _left(self, done: int) -> str:
        left = (time.monotonic() - self.started) / max(done - self.first, 1) * (self.steps - done)
        return f"{clock(left)} left"

    def say(self, line: str) -> None:
        """Print a line above the progress."""
        self.console.print(encodable(line, self.console.file), soft_wrap=True, markup=False)


def clock(seconds: float) -> str:
    """A duration as minutes:seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def summary(record: dict[str, Any]) -> str:
    """The most telling values of a line of metrics: speed, the adversarial losses, L_I of codes beside its maximum."""
    parts = [f"{record['images_per_second']:.0f} images/s"]
    for short, player in (("D", "discriminator"), ("G", "generator")):
        terms = [value for name, value in record.items() if name.startswith(f"{player}/")]
        parts += [f"{short} {term:.3f}" for term in terms[:1]]  # the adversarial loss, if the model has one
    bounds = {name.removeprefix("mi/"): value for name, value in record.items() if name.startswith("mi/")}
    if bounds:
        shown = [_of_its_maximum(name, bound, record) for name, bound in list(bounds.items())[:MOST_CODES]]
        more = f"  and {len(bounds) - MOST_CODES} more" if len(bounds) > MOST_CODES else ""
        parts.append(f"L_I {'  '.join(shown)}{more} nats")
    evaluated = {name.rpartition("/")[2]: v for name, v in record.items() if name.startswith(f"{EVALUATION}frechet/")}
    parts += [f"Fréchet {distance:.2f} ({features})" for features, distance in evaluated.items()]
    return "  ".join(parts)


def _of_its_maximum(name: str, bound: float, record: dict[str, Any]) -> str:
    """L_I of a code; H(c) bounds it if the code is discrete."""
    entropy = record.get(f"entropy/{name}")
    return f"{name} {bound:.2f}" + ("" if entropy is None else f"/{entropy:.2f}")
