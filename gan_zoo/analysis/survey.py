"""The state, progress and best figures of runs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Literal

from gan_zoo.analysis.metrics import METRICS
from gan_zoo.analysis.results import Measurement, comparable, measured
from gan_zoo.errors import InputError
from gan_zoo.training.best import Best, recorded_best
from gan_zoo.training.checkpoint import newest_whole, read_facts
from gan_zoo.training.hub_download import hub_model, written
from gan_zoo.training.lock import is_locked
from gan_zoo.training.run import CONFIG, Run, open_run

State = Literal["running", "done", "interrupted", "failed", "damaged"]


@dataclass(frozen=True)
class Standing:
    """The state and figures of a run.

    Attributes:
        run: Its folder.
        state: running: a process holds its lock. done: its last step is saved. interrupted: an earlier step is saved.
            failed: an error ended it, or nothing is saved. damaged: its configuration cannot be read, or no checkpoint
            is intact; only the lengths of files are checked.
        why: The cause of the state, if something is wrong.
        step: The last saved step; for a running run, the last logged one.
        best: By `metric/number`, the best value and its step.
        measured: By metric, the samples and features of these values.
        origin: The model at whose weights it started; empty if at random ones.
        kept: The evaluation that `checkpoints/best` was kept for: its `measure`, `value` and `step`.
    """

    run: str
    state: State
    why: str = ""
    model: str = ""
    data: str = ""
    seed: int | None = None
    step: int = 0
    steps: int | None = None
    best: dict[str, dict[str, float]] = field(default_factory=dict)
    measured: dict[str, str] = field(default_factory=dict)
    origin: str = ""
    kept: Best | None = None


def survey(folders: Sequence[Path]) -> list[Standing]:
    """The runs in folders, sorted by name; a folder may also be a run itself.

    Raises:
        InputError: If a folder does not exist.
    """
    return [standing(path) for folder in folders for path in _runs(folder)]


def standing(folder: Path) -> Standing:
    """The state and figures of one run."""
    try:
        run = open_run(folder)
    except (InputError, OSError) as error:
        return Standing(str(folder), "damaged", str(error))
    newest, complaints = newest_whole(run.checkpoints, hashed=False)
    saved = read_facts(newest)["step"] if newest else 0
    steps = run.config.training.steps
    state: State
    why = "; ".join(complaints)
    if is_locked(folder):
        state, saved = "running", max([saved, *(record["step"] for record in run.metrics()[-1:])])
    elif newest is None:
        state, why = ("damaged", why) if why else ("failed", run.failure or "it ended before anything was saved")
    elif saved >= steps:
        state = "done"
    else:
        state, why = ("failed", run.failure) if run.failure else ("interrupted", why)
    config = run.config
    figures = comparable(measured(folder))
    return Standing(
        str(folder),
        state,
        why,
        config.model,
        config.data.name,
        config.seed,
        saved,
        steps,
        best=best_figures(run, figures),
        measured={one.metric: one.kind for one in figures if one.kind},
        origin=str(run.origin or ""),
        kept=recorded_best(run.checkpoints),
    )


def best_figures(run: Run, figures: Sequence[Measurement]) -> dict[str, dict[str, float]]:
    """The best `value` of each number of a run and its `step`, by `metric/number`; and `log/mi`, the best logged L_I of
    the discrete codes, or of all codes if none is discrete, in nats.
    """
    values: dict[str, list[dict[str, float]]] = defaultdict(list)
    for one in figures:
        for key, value in one.numbers.items():
            values[f"{one.metric}/{key}"].append({"value": value, "step": one.step})
    for record in run.metrics():
        codes = [name.partition("/")[2] for name in record if name.startswith("entropy/")]  # the discrete ones
        logged = [record.get(f"mi/{code}") for code in codes] or [record.get("mi")]
        bounds = [bound for bound in logged if isinstance(bound, float) and math.isfinite(bound)]
        if len(bounds) == len(logged):  # the file may contain anything
            values["log/mi"].append({"value": sum(bounds), "step": record["step"]})
    lower = {f"{name}/{key}" for name, metric in METRICS.items() for key in metric.lower_is_better}
    return {name: (min if name in lower else max)(several, key=itemgetter("value")) for name, several in values.items()}


def _runs(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        why = "is a file" if folder.exists() else "is a model on the Hub" if hub_model(folder) else "does not exist"
        raise InputError(f"{written(folder)} is not a folder of runs: it {why}")
    if (folder / CONFIG).exists():
        yield folder
    else:
        yield from (path for path in sorted(folder.iterdir()) if (path / CONFIG).exists())
