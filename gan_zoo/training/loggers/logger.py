"""The interface of loggers, and the trackers of a run."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Protocol, cast
from uuid import uuid4

from PIL.Image import Image

from gan_zoo.config import Config, Logging
from gan_zoo.errors import InputError
from gan_zoo.files import write_text
from gan_zoo.registry import loggers


class Logger(Protocol):
    """Receives metrics and pictures."""

    def log(self, record: dict[str, Any]) -> None:
        """Take a line of metrics: `step` and numbers by name."""

    def picture(self, picture: Image, step: int) -> None:
        """Take a grid of samples."""

    def flush(self) -> None:
        """Write buffered metrics to disk, as far as the logger can."""

    def close(self) -> None:
        """Write what is buffered, and close."""


class Tracker(Protocol):
    """An entry of the registry of loggers: a class whose instances are loggers."""

    def __call__(self, folder: Path, config: Config, start: int) -> Logger:
        """The logger of the run in `folder`, resumed if `start`, the steps done, is above 0."""

    def check(self) -> None:
        """Check before a run starts that the logger can be used; a static method.

        Raises:
            InputError: If a package is missing, naming what to install.
        """


def check_trackers(settings: Logging) -> None:
    """Check that all trackers of `settings` can be used.

    Raises:
        InputError: If a name is unknown, a plug-in's entry is not a tracker, or a tracker cannot be used.
    """
    for name in settings.trackers:
        _tracker(name).check()


def open_trackers(folder: Path, config: Config, start: int, stack: ExitStack) -> list[Logger]:
    """The trackers of a run; closing `stack` closes them."""
    return [stack.enter_context(closing(_tracker(name)(folder, config, start))) for name in config.logging.trackers]


def run_id(folder: Path) -> str:
    """A run's unique id: 8 hexadecimal digits, drawn once and kept in the run folder."""
    file = folder / "tracker-id"
    if not file.is_file():
        write_text(uuid4().hex[:8] + "\n", file)
    return file.read_text(encoding="utf-8").strip()


def _tracker(name: str) -> Tracker:
    tracker = loggers.get(name)
    if not (callable(tracker) and callable(getattr(tracker, "check", None))):
        origin = loggers.entries[name].origin
        raise InputError(f"logger {name!r} from {origin} must be a class with a static method check, not {tracker!r}")
    return cast(Tracker, tracker)
