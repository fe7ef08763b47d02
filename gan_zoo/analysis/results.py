"""The results of `gan-zoo evaluate` as stored in a run: each metric with its step, samples and features."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import nn

from gan_zoo.errors import InputError, quoted
from gan_zoo.files import read_text, write_json
from gan_zoo.terminal import say

LOCK = ".evaluation.lock"
LONGEST = 2**24
"""Maximum size of a file in bytes."""
LONGEST_NOTE = 1000
"""Maximum length of a note in characters."""


@dataclass(frozen=True)
class Measurement:
    """The numbers of one metric, and how they were measured.

    Attributes:
        metric: Its name.
        numbers: By name, all finite.
        step: The checkpoint's step.
        weights: Digest of the model's weights (see `fingerprint`).
        n: Number of samples; None if the metric draws none.
        seed: Seed of the samples.
        features: The features that images were compared by; None if it compares none.
        note: A note on the numbers.
    """

    metric: str
    numbers: Mapping[str, float]
    step: int
    weights: str
    n: int | None
    seed: int
    features: str | None = None
    note: str = ""

    @property
    def kind(self) -> str:
        """What must be equal for a comparison with other models, in words; empty if there were no samples."""
        drawn = [] if self.n is None else [f"{self.n:,} samples"]
        return ", ".join([*drawn, *([f"{self.features} features"] if self.features else [])])

    @property
    def basis(self) -> str:
        """How the numbers were measured, except for the step, in words."""
        return ", ".join(filter(None, [self.kind, f"seed {self.seed}"]))


def fingerprint(model: nn.Module) -> str:
    """A digest of a model's weights, which distinguishes checkpoints of the same step."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def merge(before: Sequence[Measurement], fresh: Sequence[Measurement]) -> tuple[list[Measurement], list[str]]:
    """Keep one measurement for each metric, step and features: the one with more samples, else the fresh one.

    Fresh measurements replace those of other weights at the same step.

    Returns:
        The measurements, those of `fresh` last; and a line on each that was replaced or kept instead of a fresh one.
    """
    kept, messages = list(before), []
    for new in fresh:
        for old in [one for one in kept if one.step == new.step and one.weights != new.weights]:
            kept.remove(old)
            messages.append(f"{old.metric} ({old.basis}) replaced: other weights at step {old.step:,}")
    for new in fresh:
        chosen = new
        same = (new.metric, new.step, new.features)
        for old in [one for one in kept if (one.metric, one.step, one.features) == same]:
            kept.remove(old)
            if None not in (old.n, new.n) and old.n > new.n:  # type: ignore[operator]
                chosen = old
                messages.append(f"{old.metric} of {old.basis} kept: the new figures have only {new.n:,} samples")
            elif old.numbers != new.numbers and old.basis != new.basis:
                messages.append(f"{old.metric} of {new.basis} replaces that of {old.basis}")
        kept.append(chosen)
    return kept, messages


def save(result: Mapping[str, Any], path: Path) -> Path:
    """Merge an evaluation with the earlier ones in the same file, and print what was replaced or kept.

    Args:
        result: A result of `gan_zoo.analysis.evaluate`.
        path: The file. Its `metrics` and `notes` are those of the result's step.

    Raises:
        OSError: If it cannot be written.
    """
    with FileLock(path.parent / LOCK):  # concurrent evaluations of one run would lose results
        return _merge_into(path, result)


def _merge_into(path: Path, result: Mapping[str, Any]) -> Path:
    before = []
    if path.exists():
        path.open("rb").close()  # an unreadable file is not replaced
        try:
            before = read_measurements(path)
        except InputError as error:
            say(f"{error}, in its place")
    fresh = [Measurement(**one) for one in result["measurements"]]
    merged, messages = merge(before, fresh)
    shown = {one.metric: one for one in merged if one.step == result["step"]}  # of several features, the last requested
    record = {
        **{key: value for key, value in result.items() if key not in ("n", "seed")},  # each measurement has its own
        "metrics": {name: one.numbers for name, one in shown.items()},
        "notes": {name: one.note for name, one in shown.items() if one.note},
        "skipped": {name: reason for name, reason in result["skipped"].items() if name not in shown},
        "measurements": [asdict(one) for one in merged],
    }
    write_json(record, path)
    for line in messages:
        say(f"{path}: {line}")
    return path


def read_measurements(path: Path) -> list[Measurement]:
    """Read the measurements in a file.

    Raises:
        InputError: If it is not an evaluation.
    """
    try:
        return [_parsed(one) for one in json.loads(read_text(path, LONGEST))["measurements"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError | TypeError) else error
        raise InputError(f"{path} is not an evaluation: {reason}; `gan-zoo evaluate` writes a new one") from None


def measured(folder: Path) -> list[Measurement]:
    """All measurements of a run, later steps last; files that are not evaluations are skipped."""
    measurements: list[Measurement] = []
    for path in sorted(folder.glob("evaluation*.json")):
        try:
            measurements, _ = merge(measurements, read_measurements(path))
        except InputError:
            continue
    return sorted(measurements, key=lambda one: one.step)


def measured_at(folder: Path, checkpoint: str, step: int, weights: str) -> list[Measurement]:
    """The measurements of one checkpoint of a run.

    Raises:
        InputError: If a file with results is damaged.
    """
    measurements: list[Measurement] = []
    for name in (f"evaluation-{checkpoint}.json", "evaluation.json"):
        if (folder / name).is_file():
            stored = read_measurements(folder / name)
            measurements, _ = merge(measurements, [one for one in stored if (one.step, one.weights) == (step, weights)])
    return measurements


def newest(measurements: Sequence[Measurement]) -> list[Measurement]:
    """The latest measurement for each metric and features."""
    return list({(one.metric, one.features): one for one in sorted(measurements, key=lambda one: one.step)}.values())


def comparable(measurements: Sequence[Measurement]) -> list[Measurement]:
    """The comparable measurements of each metric: those with the last one's features and the most samples."""
    last = {one.metric: one.features for one in measurements}
    alike = [one for one in measurements if one.features == last[one.metric]]
    most = {one.metric: max(other.n or 0 for other in alike if other.metric == one.metric) for one in alike}
    return [one for one in alike if (one.n or 0) == most[one.metric]]


def _parsed(record: Any) -> Measurement:
    n, features = record["n"], record["features"]
    return Measurement(
        quoted(record["metric"]),
        _numbers(record["numbers"]),
        _count(record["step"]),
        quoted(record["weights"]),
        None if n is None else _count(n),
        _count(record["seed"]),
        None if features is None else quoted(features),
        quoted(record["note"], LONGEST_NOTE),
    )


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise TypeError("a step, n or seed is not a count")
    return value


def _numbers(values: Any) -> dict[str, float]:
    if any(type(value) not in (int, float) or not math.isfinite(value) for value in values.values()):
        raise TypeError("a metric is not a finite number")
    return {quoted(name): float(value) for name, value in values.items()}
