"""Measure runs by the metrics, and summarise several runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gan_zoo.analysis.fidelity import LEAST
from gan_zoo.analysis.metrics import METRICS, Numbers
from gan_zoo.analysis.results import Measurement, fingerprint
from gan_zoo.analysis.subject import Reals, Subject
from gan_zoo.errors import InputError, TrainingError, first_line, unknown
from gan_zoo.training.environment import environment
from gan_zoo.training.provenance import check_data, open_training_data
from gan_zoo.training.run import find, find_step, load

NOT_ASKED = "not asked for"
FEATURES = ("auto", "classifier", "inception")
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
    say: Callable[[str], None] = lambda line: None,
    finished: Callable[[int, dict[str, Any]], object] = lambda index, result: None,
) -> list[dict[str, Any]]:
    """Measure runs.

    Args:
        sources: Run folders or checkpoints.
        names: Metrics to compute; defaults to all. Metrics that do not apply to a run are skipped. The data are opened
            only if a metric needs them.
        n: Number of samples.
        features: Features to compare images by: auto, classifier, inception, or a file with Inception's weights.
        seed: Seed of the samples.
        device: Where to compute.
        say: Called with a line before each longer step.
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
    if features not in FEATURES and not Path(features).is_file():
        raise InputError(
            f"features must be {', '.join(FEATURES)}, or a safetensors file with Inception's weights, not {features!r}"
        )
    place = torch.device(device)
    opened: dict[Any, Reals] = {}
    subjects: list[Subject] = []
    for source in sources:
        run, checkpoint = find(source)
        if any(checkpoint.samefile(other.checkpoint) for other in subjects):
            raise InputError(f"{source}: this run is given twice")
        data = run.config.data
        known = data in opened
        if not known:
            opening = partial(open_training_data, run)
            opened[data] = Reals(opening, features=features, n=n, seed=seed, device=place, say=say)
        if any(METRICS[name].needs_data for name in names or METRICS):
            dataset = opened[data].dataset  # opens it, and checks it against the run, before any work
            if known:
                check_data(run, dataset)
        subjects.append(Subject(run, checkpoint, load(checkpoint, device=place), opened[data], n=n, seed=seed))
        if features != "auto" and (names is None or "fidelity" in names):
            opened[data].check()
    chosen = [_choose(subject, names) for subject in subjects]
    if names and not any(metrics for metrics, _ in chosen):
        raise InputError("; ".join(f"metric {name}: {chosen[0][1][name]}" for name in dict.fromkeys(names)))
    results, failures = [], dict[str, Exception]()
    for index, pair in enumerate(zip(subjects, chosen, strict=True)):
        results.append(_measure(*pair, failures, say))
        finished(index, results[-1])
    if failures and not any(result["metrics"] for result in results):
        raise InputError("; ".join(f"metric {name}: {first_line(error)}" for name, error in failures.items()))
    return results


def _choose(subject: Subject, names: Sequence[str] | None) -> tuple[list[str], dict[str, str]]:
    """The metrics that apply to a subject, and the reasons why the others are skipped."""
    chosen, skipped = [], {}
    for name, metric in METRICS.items():
        if names is not None and name not in names:
            skipped[name] = NOT_ASKED
            continue
        try:
            metric.check(subject)
        except InputError as error:
            skipped[name] = str(error)
        else:
            chosen.append(name)
    return chosen, skipped


def _measure(
    subject: Subject,
    choice: tuple[list[str], dict[str, str]],
    failures: dict[str, Exception],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Measure one subject; a metric that fails is added to `failures` and skipped.

    Returns:
        An entry of what `evaluate` returns.
    """
    chosen, skipped = choice
    measured: dict[str, Numbers] = {}
    for name in chosen:
        say(f"{subject.run.folder}: {name}")
        try:
            numbers = METRICS[name].measure(subject)
        except FAILURES as error:
            failures[name], skipped[name] = error, first_line(error)
            subject.notes.pop(name, None)
            continue
        measured[name] = {key: value for key, value in numbers.items() if math.isfinite(value)}
        skipped |= {f"{name}/{key}": f"is {numbers[key]}" for key in numbers.keys() - measured[name].keys()}
    return _record(subject, measured, skipped)


def _record(subject: Subject, measured: Mapping[str, Numbers], skipped: Mapping[str, str]) -> dict[str, Any]:
    config, step, weights = subject.run.config, find_step(subject.checkpoint), fingerprint(subject.model)
    measurements = [
        Measurement(
            name,
            numbers,
            step=step,
            weights=weights,
            n=subject.sample_counts.get(name),
            seed=subject.seed,
            features=subject.features.get(name),
            note=subject.notes.get(name, ""),
        )
        for name, numbers in measured.items()
        if numbers
    ]
    return {
        "run": str(subject.run.folder),
        "model": config.model,
        "checkpoint": subject.checkpoint.name,
        "step": step,
        "config": {"seed": config.seed, "data": config.data.model_dump(mode="json", exclude_none=True)},
        "images": subject.reals.sizes,
        "n": subject.n,
        "seed": subject.seed,
        "metrics": measured,
        "notes": subject.notes,
        "skipped": skipped,
        "measurements": [asdict(one) for one in measurements],
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
