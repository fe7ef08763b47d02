"""What a run records of its data: its path (in config.toml) and its fingerprint (data.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gan_zoo.config import Data
from gan_zoo.data.dataset import Dataset, as_path, open_dataset
from gan_zoo.data.fingerprint import Fingerprint, fingerprint, from_record, location
from gan_zoo.errors import InputError, quoted
from gan_zoo.registry import datasets
from gan_zoo.terminal import say
from gan_zoo.training.checkpoint import MAX_STATE_BYTES, checkpoints, read_facts
from gan_zoo.training.run import CONFIG, DATA, Run


def open_training_data(run: Run, settings: Data | None = None) -> Dataset:
    """The dataset that a run was trained on.

    Args:
        run: The run.
        settings: How to open it; by default as the run did.

    Raises:
        InputError: If it is missing or differs from the run's.
    """
    dataset = open_at(settings or run.config.data, run)
    check_data(run, dataset)
    return dataset


def open_at(settings: Data, run: Run) -> Dataset:
    """The dataset of `settings`, for a run.

    Raises:
        InputError: If it cannot be opened; with the difference if it is not the run's data, and with the option that
            names another path if the run's does not exist.
    """
    folder = run.folder
    try:
        return open_dataset(settings)
    except InputError as error:
        key, text = location(settings)
        if not text or (path := as_path(text, f"data.{key}")).exists():
            if change := _change_of_classes(settings, run):
                raise InputError(refusal(run, change)) from error
            raise
        if (key, text) != location(run.config.data):
            raise
        message = f"the data of {folder} is no longer at {quoted(path.absolute(), 200)}"
        if key == "path" and not path.is_absolute():  # which may be a name on the Hub
            message = f"{error}; {message}"
        if (folder / CONFIG).exists():
            message += f"; name its new path: {_resume_with(folder, '--data PATH')}"
        raise InputError(message) from None


def _change_of_classes(settings: Data, run: Run) -> str:
    """How data whose number of classes differs from `settings` differs from the run's; empty if it fails otherwise."""
    before = recorded(run)
    try:
        opened = open_dataset(settings.model_copy(update={"classes": None, "balance": ()})) if before else None
    except InputError:
        return ""
    return before.change(fingerprint(opened)) if before and opened else ""


def check_data(run: Run, dataset: Dataset) -> None:
    """Check that a dataset is the one that a run was trained on.

    Raises:
        InputError: Naming the difference.
    """
    before = recorded(run)
    if before is None:
        for line in unrecorded(run):
            say(line)
    elif change := before.change(fingerprint(dataset)):
        raise InputError(refusal(run, change))


def unrecorded(run: Run) -> list[str]:
    """The notes for a run without a data record: its data cannot be checked, unless it is built in."""
    path = location(run.config.data)[1]
    if path is None:
        return []
    return [f"{run.folder} has no record of its data; assuming that it is {quoted(path, 200)}, unchanged"]


def refusal(run: Run, change: str) -> str:
    """The message for data that has changed."""
    path = location(run.config.data)[1] or run.config.data.name
    if "data.fit" in change:
        return (
            f"{run.folder} was trained on {quoted(path, 200)} with another data.fit; leave out --data.fit to keep it, "
            "or add --new-data"
        )
    return (
        f"{quoted(path, 200)} differs from the data that {run.folder} was trained on: {change}; if that has "
        f"moved, name its new path: {_resume_with(run.folder, '--data PATH')}; to continue with the present data, "
        "add --new-data"
    )


def _resume_with(folder: Path, flag: str) -> str:
    return f"gan-zoo train --resume --out {folder} {flag}"


def recorded(run: Run) -> Fingerprint | None:
    """The fingerprint of a run's data from its folder, or else from its newest checkpoint; None if neither has one."""
    record = from_record(_read(run.folder / DATA))
    for checkpoint in reversed(checkpoints(run.checkpoints)) if record is None else ():
        try:
            return from_record(read_facts(checkpoint).get("data"))
        except InputError:  # damaged, which is reported when the weights are read
            continue
    return record


def _read(path: Path) -> Any:
    try:
        if path.is_symlink() or path.stat().st_size > MAX_STATE_BYTES:
            return None
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def moved(before: Data, now: Data) -> Data:
    """`now`, with the new path of moved data put into whichever of data.name and data.path the run uses."""
    registered = before.name in datasets.entries
    if registered and before.path is not None and now.path == before.path and now.name not in datasets.entries:
        return now.model_copy(update={"name": before.name, "path": now.name})
    if not registered and now.name == before.name and now.path not in (None, before.path):
        return now.model_copy(update={"name": now.path, "path": None})
    return now
