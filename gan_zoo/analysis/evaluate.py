"""Measure runs by the metrics, and summarise several runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gan_zoo.analysis.fidelity import LEAST
from gan_zoo.analysis.metrics import METRICS
from gan_zoo.analysis.results import Measurement, fingerprint
from gan_zoo.analysis.subject import Reals, Subject, check_features
from gan_zoo.errors import InputError, TrainingError, first_line, unknown
from gan_zoo.terminal import say
from gan_zoo.training.environment import environment
from gan_zoo.training.hub_download import written
from gan_zoo.training.provenance import check_data, open_training_data
from gan_zoo.training.run import find, find_step, load

NOT_ASKED = "not asked for"
FAILURES = (InputError, TrainingError, MemoryError, torch.OutOfMemoryError)
"""Errors that skip one metric, such as an unreadable image, and leave the others."""


def evaluate(
    sources: Sequence[Path],
    names: Sequence[str] | None = None,
    *,
    n: int = 5000,
    features: str = "auto",
    seed: int = 0,
    device: torch.device | str = "cpu",
    finished: Callable[[int, dict[str, Any]], object] = lambda index, result: None,
) -> list[dict[str, Any]]:
    """Measure runs.

    Args:
        sources: Run folders or checkpoints.
        names: Metrics to compute; defaults to all. Metrics that do not apply to a run are skipped. The data are opened
            only if a metric needs them.
        n: Number of samples.
        features: Features to compare images by: auto, classifier, inception, random, or a file with Inception's
            weights.
        seed: Seed of the samples.
        device: Where to compute.
        finished: Called with the index of a source and its result, as soon as it is measured.

    Returns:
        For each run `metrics` by name, `notes` on them, `skipped` with the reason for each metric that is missing, and
        `measurements`, the same numbers as `gan_zoo.analysis.results` keeps them.

    Raises:
        InputError: If a metric is unknown or none of `names` applies to any run, before any work; or if every metric
            failed.
    """
    for name in names or ():
        if name not in METRICS:
            raise unknown("metric", name, METRICS)
    if n < LEAST:
        raise InputError(f"n must be at least {LEAST}, not {n}")
    check_features(features, "features")
    place = torch.device(device)
    opened: dict[Any, Reals] = {}
    subjects: list[Subject] = []
    for source in sources:
        run, checkpoint = find(source)
        if any(checkpoint.samefile(other.checkpoint) for other in subjects):
            raise InputError(f"{written(source)}: this run is given twice")
        data = run.config.data
        known = data in opened
        if not known:
            opened[data] = Reals(partial(open_training_data, run), features, n, seed, place)
        if any(METRICS[name].needs_data for name in names or METRICS):
            dataset = opened[data].dataset  # opens it, and checks it against the run, before any work
            if known:
                check_data(run, dataset)
        subjects.append(Subject(run, checkpoint, load(checkpoint, device=place), opened[data], n=n, seed=seed))
        if features != "auto" and (names is None or "fidelity" in names):
            opened[data].check()
    chosen = [_choose(subject, names) for subject in subjects]
    if names and not any(chosen):
        raise InputError("; ".join(f"metric {name}: {subjects[0].skipped[name]}" for name in dict.fromkeys(names)))
    results, failed = [], dict[str, str]()
    for index, (subject, metrics) in enumerate(zip(subjects, chosen, strict=True)):
        results.append(_record(subject, [*_measure(subject, metrics)]))
        finished(index, results[-1])
        failed |= {name: subject.skipped[name] for name in metrics if name in subject.skipped}
    if failed and not any(result["metrics"] for result in results):
        raise InputError("; ".join(f"metric {name}: {reason}" for name, reason in failed.items()))
    return results


def _choose(subject: Subject, names: Sequence[str] | None) -> list[str]:
    """The metrics that apply to a subject; `subject.skipped` gets the reasons why the others are skipped."""
    chosen = []
    for name, metric in METRICS.items():
        if names is not None and name not in names:
            subject.skipped[name] = NOT_ASKED
            continue
        try:
            metric.check(subject)
        except InputError as error:
            subject.skipped[name] = str(error)
        else:
            chosen.append(name)
    return chosen


def _measure(subject: Subject, metrics: Sequence[str]) -> Iterator[Measurement]:
    """Measure one subject; a metric that fails is skipped."""
    step, weights = find_step(subject.checkpoint), fingerprint(subject.model)
    for name in metrics:
        say(f"{subject.run.folder}: {name}")
        try:
            numbers, note, n, features = METRICS[name].measure(subject)
        except FAILURES as error:
            subject.skipped[name] = first_line(error)
            continue
        finite = {key: value for key, value in numbers.items() if math.isfinite(value)}
        subject.skipped |= {f"{name}/{key}": f"is {numbers[key]}" for key in numbers.keys() - finite.keys()}
        yield Measurement(name, finite, step, weights, n, subject.seed, features, note)


def _record(subject: Subject, measurements: Sequence[Measurement]) -> dict[str, Any]:
    """An entry of what `evaluate` returns."""
    config = subject.run.config
    return {
        "run": str(subject.run.folder),
        "model": config.model,
        "checkpoint": subject.checkpoint.name,
        "step": find_step(subject.checkpoint),
        "config": {"seed": config.seed, "data": config.data.model_dump(mode="json", exclude_none=True)},
        "images": subject.reals.sizes,
        "n": subject.n,
        "seed": subject.seed,
        "metrics": {one.metric: one.numbers for one in measurements},
        "notes": {one.metric: one.note for one in measurements if one.note},
        "skipped": subject.skipped,
        "measurements": [asdict(one) for one in measurements if one.numbers],
        "environment": environment(subject.model.device),
    }


def summary(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Statistics over runs, by `metric/number`: `mean`, sample `deviation` (0 for one run), `worst` and `values` of the
    numbers that every run has, with the same features.
    """
    tables = [{(m, k): v for m, numbers in r["metrics"].items() for k, v in numbers.items()} for r in results]
    rows, apart = {}, features_differ(results)
    for metric, key in tables[0]:
        if metric in apart or not all((metric, key) in table for table in tables):
            continue
        values = [table[metric, key] for table in tables]
        worst = max if key in METRICS[metric].lower_is_better else min
        rows[f"{metric}/{key}"] = {
            "mean": statistics.mean(values),
            "deviation": statistics.stdev(values) if len(values) > 1 else 0.0,
            "worst": worst(values),
            "values": values,
        }
    return rows


def features_differ(results: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Metrics that runs measured with different features, with these features."""
    features: dict[str, list[str]] = {}
    for result in results:
        for one in result.get("measurements", ()):
            if one["features"] not in features.setdefault(one["metric"], []):
                features[one["metric"]].append(one["features"])
    return {metric: several for metric, several in features.items() if len(several) > 1}
