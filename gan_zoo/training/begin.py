"""The folder of a training: made for a new run, or found, with the run brought to where it stands."""

from __future__ import annotations

import math
import os
from contextlib import ExitStack
from pathlib import Path

from gan_zoo.config import Config
from gan_zoo.errors import InputError
from gan_zoo.files import sweep, write_json
from gan_zoo.resolve import changes
from gan_zoo.training.checkpoint import State, newest_whole
from gan_zoo.training.environment import environment
from gan_zoo.training.lock import locked
from gan_zoo.training.player import lr_factor
from gan_zoo.training.provenance import recorded, refusal, unrecorded
from gan_zoo.training.run import ENVIRONMENT, Run, is_free


def begin(
    config: Config, out: Path | None, held: Run | None, state: State, *, new_data: bool, stack: ExitStack
) -> tuple[Run, list[str]]:
    """The run's folder, made or found by rank 0 and locked while `stack` is open, and `state` where the run stands.

    Args:
        config: The tree, with the data's facts and place.
        out: The folder; by default the next free one.
        held: The run that is gone on with, as it was.
        state: At step 0; its `data` is the fingerprint of the data that is there.
        new_data: Whether that may be other data than the run's.
        stack: Holds the lock.

    Returns:
        The run, and what its user should know. Of a run that is held nothing is written yet, but for one that is done.

    Raises:
        InputError: If there are checkpoints and none is whole, or the data is not the run's.
    """
    ranks = state.ranks

    def first() -> tuple[str, list[str]]:
        if not ranks.leads:
            return "", []
        folder = out or next_free(config)
        if not held:
            check_free(folder)  # before the lock leaves its file there
        stack.enter_context(locked(folder))
        if held:
            return str(folder), _resume(held, config, state, new_data=new_data)
        create_run(config, folder, state)
        return str(folder), []

    folder, notes = ranks.together(first)
    run = Run(Path(ranks.text_from_first(folder)), config)
    (begun,) = ranks.from_first([state.step])
    if begun and not ranks.leads:
        state.load(run.checkpoint(begun))
    if held and begun >= config.training.steps:
        run = Run(run.folder, _finished(held.config, config))
        if ranks.leads:
            run.keep(state.data)
    return run, notes


def create_run(config: Config, folder: Path, state: State) -> None:
    """Write down, in a folder that is this process's own, what a run is of; from then on it is a run.

    Raises:
        InputError: If `folder` holds something already.
    """
    check_free(folder)
    sweep(folder)
    write_json(environment(state.model.device), folder / ENVIRONMENT)
    Run(folder, config).keep(state.data)


def check_free(folder: Path) -> None:
    """Refuse a folder that a run cannot begin in.

    Raises:
        InputError: If it is a file, or holds something already.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; a run needs a folder")
    if not is_free(folder):
        raise InputError(f"{folder} is not empty; go on with its run by --resume, or name another folder")


def next_free(config: Config) -> Path:
    """A new folder `runs/MODEL-DATA-NNN`, with the next number that nobody has."""
    name = Path(os.path.abspath(os.path.expanduser(config.data.name))).stem or "data"  # of `.` its own name
    parent, stem = Path("runs"), f"{config.model}-{name}"
    taken = [int(p.name.rsplit("-", 1)[1]) for p in parent.glob(f"{stem}-*") if p.name.rsplit("-", 1)[1].isdigit()]
    number = max(taken, default=0) + 1
    while True:
        folder = parent / f"{stem}-{number:03d}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


def _resume(held: Run, config: Config, state: State, *, new_data: bool) -> list[str]:
    """Bring `state` to the newest whole checkpoint of a run, of which `config` is the tree from here on.

    Returns:
        What its user should know: newer checkpoints that are damaged, what is not what it was.
    """
    run, before = Run(held.folder, config), recorded(held)
    change = before.change(state.data) if before else ""
    if change and held.config.data.balance != config.data.balance:
        change += f" (data.balance was {[*held.config.data.balance]} then)"
    if change and not new_data:
        raise InputError(refusal(run, change))
    for folder in (run.folder, run.checkpoints, run.samples):
        sweep(folder)
    newest, complaints = newest_whole(run.checkpoints, config.model)
    if newest is not None:
        state.load(newest)
    elif complaints:
        raise InputError("; ".join(complaints))
    if change and state.step >= config.training.steps:
        raise InputError(
            f"{run.folder} is done, so --new-data has no step to take; add steps with --steps, or measure it by "
            f"its path: gan-zoo encode {run.folder} PATH"
        )
    notes = [f"passed over: {complaint}" for complaint in complaints]
    if before is None:
        notes += unrecorded(run)
    if change:
        notes.append(f"new data: {change}")
    return notes + _differences(held.config, config, state.step)


def _differences(before: Config, now: Config, step: int) -> list[str]:
    """What is not as it was in the tree of a run of which `step` steps are done, and what that means."""
    differ = changes(before, now)
    if step >= now.training.steps:
        kept = [change for change in differ if not change.startswith(("data.name:", "data.path:"))]
        return [f"not changed, since no step is to be made: {change}" for change in kept]
    notes = [f"changed: {change}" for change in differ]
    if step and before.seed != now.seed:
        notes.append(
            f"batches, latents and augmentation are those of seed {now.seed} from here on; the weights began with seed "
            f"{before.seed}"
        )
    then, here = (lr_factor(tree.optimizer, step, tree.training.steps) for tree in (before, now))
    if step and not math.isclose(then, here):
        last = lr_factor(before.optimizer, step - 1, before.training.steps)
        notes.append(
            f"the learning rates go from {last:.3g} of full in step {step:,} to {here:.3g} in the next: the schedule "
            f"({now.optimizer.schedule}, warmup {now.optimizer.warmup:,}) is one of {now.training.steps:,} steps now"
        )
    return notes


def _finished(before: Config, now: Config) -> Config:
    """The tree of a run that makes no further step: as it was, but for where its data lies."""
    lies = {"name": now.data.name, "path": now.data.path}
    return before.model_copy(update={"data": before.data.model_copy(update=lies)})
