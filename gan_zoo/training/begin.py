"""What a run begins with: its data and state, and its folder, new or resumed."""

from __future__ import annotations

import math
import os
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path

from gan_zoo.config import Config
from gan_zoo.config_text import changes
from gan_zoo.data.dataset import Dataset, open_dataset
from gan_zoo.data.fingerprint import fingerprint
from gan_zoo.errors import InputError
from gan_zoo.files import remove_partial, write_json
from gan_zoo.resolve import networks_of
from gan_zoo.training.best import complete_best
from gan_zoo.training.build import is_out_of_memory, new_state, with_facts
from gan_zoo.training.checkpoint import newest_whole
from gan_zoo.training.environment import environment
from gan_zoo.training.hub_download import check_is_path
from gan_zoo.training.lock import locked
from gan_zoo.training.network_optimizer import lr_factor
from gan_zoo.training.precision import kernel_path, pick_device
from gan_zoo.training.provenance import moved, open_at, recorded, refusal, unrecorded
from gan_zoo.training.ranks import ALONE, Ranks
from gan_zoo.training.run import ENVIRONMENT, ORIGIN, Run, is_free
from gan_zoo.training.state import State
from gan_zoo.trees import flat


def prepare(
    config: Config, ranks: Ranks = ALONE, existing: Run | None = None, *, new_data: bool = False
) -> tuple[Config, Dataset, State]:
    """What a run needs before its folder is made: the configuration with the data's facts, the data, the state at
    step 0.

    Args:
        config: The configuration.
        ranks: The ranks that train.
        existing: The run to resume, if any.
        new_data: Whether the data may differ from that run's; its classes are counted again then.

    Raises:
        InputError: If the configuration cannot be carried out.
    """
    device = pick_device(config.training.device, "training.device =")
    kernel_path(device)
    if existing:
        config = config.model_copy(update={"data": moved(existing.config.data, config.data)})
        if new_data and config.data.classes == existing.config.data.classes:
            config = config.model_copy(update={"data": config.data.model_copy(update={"classes": None})})
    dataset = open_at(config.data, existing) if existing and not new_data else open_dataset(config.data)
    config = with_facts(config, dataset, device)
    try:
        state = new_state(config, device, ranks)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(f"the networks of this configuration do not fit the memory of {device}") from None
    state.data = fingerprint(dataset)
    return config, dataset, state


def begin(
    config: Config, out: Path | None, existing: Run | None, state: State, *, new_data: bool, stack: ExitStack
) -> tuple[Run, list[str]]:
    """Make or resume a run: rank 0 makes or opens its folder and locks it until `stack` closes.

    Nothing is written to the folder of a resumed run yet, unless it is complete.

    Args:
        config: The configuration, with the data's facts and absolute path.
        out: The folder; by default the next free one.
        existing: The run to resume, as it was.
        state: At step 0, with the fingerprint of the data; loaded from the newest checkpoint of `existing`.
        new_data: Whether to accept data that differs from the run's.
        stack: Holds the lock.

    Returns:
        The run, and notes for the user.

    Raises:
        InputError: If there are checkpoints and all are damaged, or if the data differs from the run's.
    """
    ranks = state.ranks

    def first() -> tuple[str, str, list[str]]:
        if not ranks.leads:
            return "", "", []
        folder = out or next_free(config)
        if not existing:
            check_free(folder)  # before the lock writes its file there
        stack.enter_context(locked(folder))
        if existing:
            return str(folder), *_resume(existing, config, state, new_data=new_data)
        create_run(config, folder, state)
        return str(folder), "", []

    folder, checkpoint, notes = ranks.together(first)
    run = Run(Path(ranks.text_from_first(folder)), config)
    checkpoint = ranks.text_from_first(checkpoint)
    if checkpoint and not ranks.leads:
        state.load(run.checkpoints / checkpoint)
    if existing and state.step >= config.training.steps:
        run = Run(run.folder, _complete(existing.config, config))
        if ranks.leads:
            run.keep(state.data)
    return run, notes


def create_run(config: Config, folder: Path, state: State) -> None:
    """Write a new run's environment, configuration and data record to an empty folder.

    A run that starts at another model's weights gets a checkpoint of step 0, so that it can be resumed without them.

    Raises:
        InputError: If `folder` is not empty.
    """
    check_free(folder)
    remove_partial(folder)
    write_json(environment(state.model.device), folder / ENVIRONMENT)
    run = Run(folder, config)
    if state.origin:
        write_json(asdict(state.origin), folder / ORIGIN)
    run.keep(state.data)
    if state.origin:
        state.save(run.checkpoints, keep=config.logging.keep)


def check_free(folder: Path) -> None:
    """Check that a new run can use a folder.

    Raises:
        InputError: If it is a file, or is not empty.
    """
    check_is_path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, and a run needs a folder")
    if not is_free(folder):
        raise InputError(f"{folder} is not empty; resume its run with --resume, or choose another folder")


def next_free(config: Config) -> Path:
    """Make the folder `runs/MODEL-DATA-NNN` with the next free number."""
    name = Path(os.path.abspath(os.path.expanduser(config.data.name))).stem or "data"  # `.` gets its folder's name
    parent, stem = Path("runs"), f"{config.model}-{name}"
    taken = [int(p.name.rsplit("-", 1)[1]) for p in parent.glob(f"{stem}-*") if p.name.rsplit("-", 1)[1].isdigit()]
    number = max(taken, default=0) + 1
    while True:
        folder = parent / f"{stem}-{number:03d}"
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
        number += 1


def _resume(existing: Run, config: Config, state: State, *, new_data: bool) -> tuple[str, list[str]]:
    """Load the newest undamaged checkpoint of a run that continues with `config`.

    Returns:
        The checkpoint's name, empty if there is none; and notes for the user: damaged newer checkpoints, changed
        settings.
    """
    run, before = Run(existing.folder, config), recorded(existing)
    change = before.change(state.data) if before else ""
    if change and existing.config.data.balance != config.data.balance:
        change += f" (data.balance was {[*existing.config.data.balance]} then)"
    if change and not new_data:
        raise InputError(refusal(run, change))
    for folder in (run.folder, run.checkpoints, run.samples):
        remove_partial(folder)
    newest, complaints = newest_whole(run.checkpoints, config.model)
    if newest is not None:
        try:
            state.load(newest)
        except InputError as error:
            shaping = {*flat(networks_of(config, "").tree), "data.channels", "data.classes", "data.augment_target"}
            changed = [c for c in changes(existing.config, config) if c.partition(":")[0] in shaping]
            if not changed:
                raise
            raise InputError(f"{error}; resume without the change of {'; '.join(changed)}") from error
        complete_best(newest, state.best)
    elif complaints:
        raise InputError("; ".join(complaints))
    elif (run.folder / ORIGIN).exists():
        raise InputError(f"{run.folder} ended before it saved the weights of --from; delete it and start it again")
    if change and state.step >= config.training.steps:
        raise InputError(
            f"{run.folder} is complete, so --new-data has no effect; add steps with --steps, or encode other images: "
            f"gan-zoo encode {run.folder} PATH"
        )
    notes = [f"skipped: {complaint}" for complaint in complaints]
    if before is None:
        notes += unrecorded(run)
    if change:
        notes.append(f"new data: {change}")
        state.best = None  # measured on the former data
    return newest.name if newest else "", notes + _differences(existing.config, config, state.step)


def _differences(before: Config, now: Config, step: int) -> list[str]:
    """The settings that differ from those of a run after `step` steps, and what follows from that."""
    differ = changes(before, now)
    if step >= now.training.steps:
        ignored = [change for change in differ if not change.startswith(("data.name:", "data.path:"))]
        return [f"ignored, since all steps are done: {change}" for change in ignored]
    notes = [f"changed: {change}" for change in differ]
    if before.logging.best and now.logging.best not in ("", before.logging.best):
        notes.append(f"the first evaluation replaces checkpoints/best, the best by {before.logging.best}")
    if step and before.seed != now.seed:
        notes.append(
            f"batches, latents and augmentation follow seed {now.seed} from here on; the weights were initialised with "
            f"seed {before.seed}"
        )
    then, here = (lr_factor(config.optimizer, step, config.training.steps) for config in (before, now))
    if step and not math.isclose(then, here):
        last = lr_factor(before.optimizer, step - 1, before.training.steps)
        notes.append(
            f"the learning rates change from {last:.3g} of their maximum in step {step:,} to {here:.3g} in the next: "
            f"the schedule ({now.optimizer.schedule}, warmup {now.optimizer.warmup:,}) now spans "
            f"{now.training.steps:,} steps"
        )
    return notes


def _complete(before: Config, now: Config) -> Config:
    """The configuration of a run without further steps: unchanged, except for the path of its data."""
    path = {"name": now.data.name, "path": now.data.path}
    return before.model_copy(update={"data": before.data.model_copy(update=path)})
