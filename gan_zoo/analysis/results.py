"""What `gan-zoo evaluate` measured, as it is kept in a run: each metric with what it is of."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gan_zoo.errors import InputError, shown
from gan_zoo.files import text_of, write_json

LONGEST = 2**24
"""Bytes of JSON beyond which a file is no evaluation."""
LONGEST_NOTE = 1000
"""Characters of a note that are kept."""
UNDRAWN = ("clustering", "disentanglement")
"""Metrics that are of the data's images and draw no samples."""
_FEATURES = {"a classifier": "classifier", "Inception's": "inception"}
"""What earlier releases wrote in a note, and which features it stands for."""


@dataclass(frozen=True)
class Measurement:
    """The numbers of one metric, and what they are of.

    Attributes:
        metric: Its name.
        numbers: By name, all finite.
        step: The checkpoint's.
        weights: Digest of the model's weights (see `fingerprint`); None in files of earlier releases.
        n: How many samples were drawn; None of a metric that draws none.
        seed: Decided what was drawn.
        features: What images were compared by; None of a metric that compares none, and where it is not known.
        note: What a reader of the numbers should know.
    """

    metric: str
    numbers: Mapping[str, float]
    step: int
    weights: str | None
    n: int | None
    seed: int
    features: str | None = None
    note: str = ""

    @property
    def kind(self) -> str:
        """What makes the numbers comparable with those of other models, in words; empty if nothing was drawn."""
        drawn = [] if self.n is None else [f"{self.n:,} samples"]
        return ", ".join([*drawn, *([f"{self.features} features"] if self.features else [])])

    @property
    def basis(self) -> str:
        """What the numbers are of, but for the step, in words."""
        return ", ".join(filter(None, [self.kind, f"seed {self.seed}"]))


def fingerprint(model: nn.Module) -> str:
    """A digest of a model's weights: equal steps of two trainings are two checkpoints."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def merge(held: Sequence[Measurement], fresh: Sequence[Measurement]) -> tuple[list[Measurement], list[str]]:
    """One measurement for each metric, step and features: of two the one of more samples, else the fresh one.

    Measurements of other weights at the same step give way to fresh ones.

    Returns:
        The measurements, those that `fresh` names last; and a line on each that gave way or stayed.
    """
    kept, told = list(held), []
    for new in fresh:
        for old in [one for one in kept if one.step == new.step and None not in (one.weights, new.weights)]:
            if old.weights != new.weights:
                kept.remove(old)
                told.append(f"{old.metric} ({old.basis}) gave way: measured of other weights at step {old.step:,}")
    for new in fresh:
        chosen = new
        for old in [one for one in kept if (one.metric, one.step) == (new.metric, new.step)]:
            if old.features not in (None, new.features):
                continue
            kept.remove(old)
            if None not in (old.n, new.n) and old.n > new.n:  # type: ignore[operator]
                chosen = old
                told.append(f"{old.metric} of {old.basis} stays: the new figures are of {new.n:,} samples only")
            elif old.numbers != new.numbers and old.basis != new.basis:
                told.append(f"{old.metric} of {new.basis} replaces that of {old.basis}")
        kept.append(chosen)
    return kept, told


def keep(result: Mapping[str, Any], path: Path, *, say: Callable[[str], None] = lambda line: None) -> Path:
    """Write an evaluation down beside what was measured before and stands in the same file.

    Args:
        result: What `gan_zoo.analysis.evaluate` returns.
        path: The file. `metrics` and `notes` in it are of the result's step alone.
        say: Takes a line on what stayed or gave way.

    Raises:
        OSError: If it cannot be written.
    """
    held = []
    if path.exists():
        path.open("rb").close()  # what may not be read is not replaced
        try:
            held = read_measurements(path)
        except InputError as error:
            say(f"{error}, in its place")
    fresh = [Measurement(**one) for one in result["measurements"]]
    merged, told = merge(held, fresh)
    shown = {one.metric: one for one in merged if one.step == result["step"]}  # of several features the last asked for
    record = {
        **{key: value for key, value in result.items() if key not in ("n", "seed")},  # each measurement has its own
        "metrics": {name: one.numbers for name, one in shown.items()},
        "notes": {name: one.note for name, one in shown.items() if one.note},
        "skipped": {name: reason for name, reason in result["skipped"].items() if name not in shown},
        "measurements": [asdict(one) for one in merged],
    }
    write_json(record, path)
    for line in told:
        say(f"{path}: {line}")
    return path


def read_measurements(path: Path) -> list[Measurement]:
    """The measurements in a file, also of one that an earlier release wrote.

    Raises:
        InputError: If it is no evaluation.
    """
    try:
        if path.stat().st_size > LONGEST:
            raise ValueError(f"it is longer than {LONGEST:,} bytes")
        return list(_parsed(json.loads(text_of(path.read_bytes()))))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError | TypeError) else error
        raise InputError(f"{path} is no evaluation: {reason}; `gan-zoo evaluate` writes a new one") from None


def measured(folder: Path) -> list[Measurement]:
    """All that was measured of a run, later steps last; files that are no evaluation are left out."""
    found: list[Measurement] = []
    for path in sorted(folder.glob("evaluation*.json")):
        try:
            found, _ = merge(found, read_measurements(path))
        except InputError:
            continue
    return sorted(found, key=lambda one: one.step)


def measured_at(folder: Path, checkpoint: str, step: int, weights: str) -> list[Measurement]:
    """What was measured of one checkpoint of a run.

    Raises:
        InputError: If a file that would hold it is damaged.
    """
    found: list[Measurement] = []
    for name in (f"evaluation-{checkpoint}.json", "evaluation.json"):
        if (folder / name).is_file():
            own = [one for one in read_measurements(folder / name) if one.step == step]
            found, _ = merge(found, [one for one in own if one.weights in (None, weights)])
    return found


def newest(found: Sequence[Measurement]) -> list[Measurement]:
    """Of each metric and features the measurement of the latest step."""
    return list({(one.metric, one.features): one for one in sorted(found, key=lambda one: one.step)}.values())


def comparable(found: Sequence[Measurement]) -> list[Measurement]:
    """Of each metric those that can be compared: by the features of its last one, and of the most samples."""
    last = {one.metric: one.features for one in found}
    alike = [one for one in found if one.features == last[one.metric]]
    most = {one.metric: max(other.n or 0 for other in alike if other.metric == one.metric) for one in alike}
    return [one for one in alike if (one.n or 0) == most[one.metric]]


def _parsed(told: Any) -> Iterator[Measurement]:
    if "measurements" not in told:
        step, n, seed = (_count(told[key]) for key in ("step", "n", "seed"))
        notes = told.get("notes", {})
        for metric, numbers in told["metrics"].items():
            note = shown(notes.get(metric, ""), LONGEST_NOTE)
            features = next((name for word, name in _FEATURES.items() if word in note), None)
            drawn = None if metric in UNDRAWN else n
            yield Measurement(shown(metric), _numbers(numbers), step, None, drawn, seed, features, note)
        return
    for one in told["measurements"]:
        yield Measurement(
            shown(one["metric"]),
            _numbers(one["numbers"]),
            _count(one["step"]),
            _text(one["weights"]),
            None if one["n"] is None else _count(one["n"]),
            _count(one["seed"]),
            _text(one["features"]),
            shown(one["note"], LONGEST_NOTE),
        )


def _text(value: Any) -> str | None:
    return None if value is None else shown(value)


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise TypeError("a step, n or seed is no count")
    return value


def _numbers(told: Any) -> dict[str, float]:
    if any(type(value) not in (int, float) or not math.isfinite(value) for value in told.values()):
        raise TypeError("a metric is no finite number")
    return {shown(name): float(value) for name, value in told.items()}
