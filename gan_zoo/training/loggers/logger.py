"""The face of a logger, and the loggers of a run."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, cast
from uuid import uuid4

from PIL.Image import Image

from gan_zoo.config import Config, Logging
from gan_zoo.errors import InputError
from gan_zoo.files import write_text
from gan_zoo.registry import loggers


class Logger(Protocol):
    """A place for metrics and pictures."""

    def log(self, record: dict[str, Any]) -> None:
        """Take a line of metrics: `step` and numbers by name."""

    def picture(self, picture: Image, step: int) -> None:
        """Take a grid of samples."""

    def flush(self) -> None:
        """Have the disk hold what was taken in, as far as that can be had."""

    def close(self) -> None:
        """Write what is still held."""


class Tracker(Protocol):
    """What is registered among the loggers: a class whose instances are loggers."""

    def __call__(self, folder: Path, config: Config, start: int) -> Logger:
        """The logger of the run in `folder`, which has `start` steps behind it: 0 begins, more goes on with it."""

    def check(self) -> None:
        """Refuse, before a run is made, what could not be carried out; a static method.

        Raises:
            InputError: If a package is missing, naming what to install.
        """


def trackers(settings: Logging) -> dict[str, Tracker]:
    """The trackers that `settings` names, by name; `tensorboard = true` is the old word for one of them.

    Raises:
        InputError: If there is none of a name, or a plug-in's is no tracker.
    """
    named = dict.fromkeys([*settings.trackers, *(["tensorboard"] if settings.tensorboard else [])])
    return {name: _tracker(name) for name in named}


def check_trackers(settings: Logging) -> None:
    """Refuse trackers that cannot be had.

    Raises:
        InputError: In one line that says which and why.
    """
    for tracker in trackers(settings).values():
        tracker.check()


def open_trackers(folder: Path, config: Config, start: int, stack: ExitStack) -> list[Logger]:
    """The trackers of a run, each closed with `stack`."""
    opened = []
    for tracker in trackers(config.logging).values():
        logger = tracker(folder, config, start)
        stack.callback(logger.close)
        opened.append(logger)
    return opened


def run_id(folder: Path) -> str:
    """The name of a run that no other has: 8 hexadecimal digits, drawn once and kept in the run folder."""
    file = folder / "tracker-id"
    if not file.is_file():
        write_text(uuid4().hex[:8] + "\n", file)
    return file.read_text(encoding="utf-8").strip()


def _tracker(name: str) -> Tracker:
    found = loggers.get(name)
    if not (callable(found) and callable(getattr(found, "check", None))):
        origin = loggers.entries[name].origin
        raise InputError(f"logger {name!r} from {origin} is {found!r}, and no class with a static method `check`")
    return cast(Tracker, found)
