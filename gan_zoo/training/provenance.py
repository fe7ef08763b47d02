"""What a run keeps of its data: where it lies (in config.toml), and by what it is known again (data.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gan_zoo.config import Data
from gan_zoo.data.dataset import Dataset, as_path, open_dataset
from gan_zoo.data.fingerprint import Fingerprint, fingerprint, from_record, place
from gan_zoo.errors import InputError, shown
from gan_zoo.registry import datasets
from gan_zoo.terminal import say
from gan_zoo.training.checkpoint import MOST_STATE, checkpoints, read_facts
from gan_zoo.training.run import CONFIG, DATA, Run


def own_data(run: Run, settings: Data | None = None) -> Dataset:
    """The set that a run learned from.

    Args:
        run: The run.
        settings: How to open it, where not as the run did.

    Raises:
        InputError: If nothing lies there, or another set than the run's.
    """
    dataset = open_at(settings or run.config.data, run)
    check_data(run, dataset)
    return dataset


def open_at(settings: Data, run: Run) -> Dataset:
    """The set that `settings` name, for a run.

    Raises:
        InputError: If it cannot be opened; with the difference if it is another set than the run's, with how to name
            another place if nothing lies there.
    """
    folder = run.folder
    try:
        return open_dataset(settings)
    except InputError as error:
        key, text = place(settings)
        if not text or (path := as_path(text, f"data.{key}")).exists():
            if change := _change_of_classes(settings, run):
                raise InputError(refusal(run, change)) from error
            raise
        if (key, text) != place(run.config.data):
            raise
        told = f"the data of {folder} is not at {shown(path.absolute(), 200)}"
        if key == "path" and not path.is_absolute():  # which may be a name on the Hub
            told = f"{error}; {told}"
        how = f"; where it has moved: {_resume_with(folder, '--data PATH')}" if (folder / CONFIG).exists() else ""
        raise InputError(told + how) from None


def _change_of_classes(settings: Data, run: Run) -> str:
    """What differs from the run's data in a set whose classes are not those that `settings` count; nothing if that is
    not what is wrong with it.
    """
    before = recorded(run)
    try:
        opened = open_dataset(settings.model_copy(update={"classes": None, "balance": ()})) if before else None
    except InputError:
        return ""
    return before.change(fingerprint(opened)) if before and opened else ""


def check_data(run: Run, dataset: Dataset) -> None:
    """Refuse a set that is not the one that a run learned from.

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
    """What is told of a run without a record: what is taken for its data, where that could be other data."""
    told = place(run.config.data)[1]
    return [f"{run.folder} keeps no record of its data: {shown(told, 200)} is taken for it"] if told is not None else []


def refusal(run: Run, change: str) -> str:
    """The message that a run's data is not what it was."""
    told = place(run.config.data)[1] or run.config.data.name
    return (
        f"{run.folder} learned from other data than {shown(told, 200)} holds: {change}; where it has moved: "
        f"{_resume_with(run.folder, '--data PATH')}, and to go on with what is there now: --new-data"
    )


def _resume_with(folder: Path, flag: str) -> str:
    return f"gan-zoo train --resume --out {folder} {flag}"


def recorded(run: Run) -> Fingerprint | None:
    """What a run keeps of its data: in its folder, or else in its newest checkpoint; none if an earlier release wrote
    both.
    """
    record = from_record(_read(run.folder / DATA))
    for checkpoint in reversed(checkpoints(run.checkpoints)) if record is None else ():
        try:
            return from_record(read_facts(checkpoint).get("data"))
        except InputError:  # it is damaged, which is told by who reads the weights
            continue
    return record


def _read(path: Path) -> Any:
    try:
        if path.is_symlink() or path.stat().st_size > MOST_STATE:
            return None
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def moved(before: Data, now: Data) -> Data:
    """`now`, where a set that has moved is named by data.name or data.path alone, in whichever of them it stands."""
    registered = before.name in datasets.entries
    if registered and before.path is not None and now.path == before.path and now.name not in datasets.entries:
        return now.model_copy(update={"name": before.name, "path": now.name})
    if not registered and now.name == before.name and now.path not in (None, before.path):
        return now.model_copy(update={"name": now.path, "path": None})
    return now
