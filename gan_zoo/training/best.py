"""The checkpoint with the best evaluation of a run: `checkpoints/best`, a copy of the checkpoint of its step.

state.json of each checkpoint records the best evaluation so far. An evaluation that improves on it saves a checkpoint
first and then copies it, so wherever a run is killed, its newest checkpoint states which one is the best, and that one
is there: as `best`, or still as the checkpoint of its step.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from gan_zoo.errors import DamagedCheckpointWarning, InputError
from gan_zoo.files import atomic_folder, write
from gan_zoo.training.checkpoint import BEST, name_of, newest_whole, read_facts, read_state, verify_written


@dataclass(frozen=True)
class Best:
    """The best evaluation of a run so far.

    Attributes:
        measure: What was measured, with its features: `mi`, `mi/c1`, `frechet/random`.
        value: The value.
        step: The step.
    """

    measure: str
    value: float
    step: int


def keep_best(checkpoint: Path) -> Path:
    """Copy a checkpoint to `best` beside it, atomically; the copy is verified before it replaces the former one.

    Raises:
        OSError: If it cannot be written.
        TrainingError: If the disk returns other bytes than were written.
    """
    target = checkpoint.with_name(BEST)
    with atomic_folder(target) as partial:
        for file in sorted(checkpoint.iterdir()):
            write(partial / file.name, file.read_bytes())
        verify_written(partial)
    return target


def complete_best(checkpoint: Path, best: Best | None) -> None:
    """Copy a checkpoint that a run resumes from to `best`, if it is the best and the run was killed before that."""
    if best and best.step == read_facts(checkpoint)["step"] and not _is_of(checkpoint.with_name(BEST), best.step):
        keep_best(checkpoint)


def recorded_best(folder: Path) -> Best | None:
    """The best evaluation that the newest undamaged checkpoint in a folder records; only lengths are checked."""
    newest, _ = newest_whole(folder, hashed=False)
    record = read_facts(newest).get("best") if newest else None
    return Best(record["measure"], record["value"], record["step"]) if record else None


def find_best(folder: Path) -> Path:
    """The checkpoint with the best evaluation, among the checkpoints in a folder.

    Raises:
        InputError: If no evaluation was recorded, or the checkpoint is damaged.
    """
    if not (best := recorded_best(folder)):
        if (folder / BEST).is_dir():
            raise InputError(f"{folder / BEST} is of former data, and no evaluation on the present data is recorded")
        raise InputError(
            f"{folder / BEST} does not exist: train with logging.evaluate_every and logging.best to keep the best "
            "checkpoint, e.g. --logging.evaluate-every 500 --logging.best mi"
        )
    if _is_of(folder / BEST, best.step):
        return folder / BEST
    if _is_of(same := folder / name_of(best.step), best.step):
        if (folder / BEST).is_dir():
            warnings.warn(f"skipped: {folder / BEST}; using {same}", DamagedCheckpointWarning, stacklevel=2)
        return same
    read_state(folder / BEST)  # says what is damaged
    raise InputError(f"{folder / BEST} is not of step {best.step}, the best one, whose checkpoint is missing")


def _is_of(checkpoint: Path, step: int) -> bool:
    """Whether a checkpoint is there, undamaged and of this step."""
    try:
        return bool(read_state(checkpoint)["step"] == step)
    except InputError:
        return False
