"""The metrics of a run, by name; and of several runs, summed up."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan_zoo.analysis.classifier import suits
from gan_zoo.analysis.clustering import scores
from gan_zoo.analysis.coverage import coverage
from gan_zoo.analysis.disentanglement import disentanglement, representation
from gan_zoo.analysis.encode import encoder
from gan_zoo.analysis.fidelity import LEAST, fidelity
from gan_zoo.analysis.information import information, informed
from gan_zoo.analysis.results import Measurement, fingerprint
from gan_zoo.analysis.subject import Reals, Subject
from gan_zoo.errors import InputError, TrainingError, reason, unknown
from gan_zoo.training.environment import environment
from gan_zoo.training.provenance import check_data, own_data
from gan_zoo.training.run import find, find_step, load

Numbers = dict[str, float]

NOT_ASKED = "not asked for"
FEATURES = ("auto", "classifier", "inception")
FAILURES = (InputError, TrainingError, MemoryError, torch.OutOfMemoryError)
"""What may end one metric, such as an image that cannot be read, and leaves the others alone."""


@dataclass(frozen=True)
class Metric:
    """A measurement.

    Args:
        measure: Its numbers, by name.
        refuse: Raises InputError, before anything is worked out, if it cannot be had of a subject.
        falling: Names of the numbers that are better when lower.
    """

    measure: Callable[[Subject], Numbers]
    refuse: Callable[[Subject], object]
    falling: frozenset[str] = frozenset()


def _clustering(subject: Subject) -> Numbers:
    data, codes = subject.dataset, {c.name: c.classes for c in subject.model.codes if c.kind == "categorical"}
    names = [name for name, k in codes.items() if k >= data.classes] or list(codes)[:1]
    train = subject.grouped(data.train)
    tested = data.test is not None and data.test.labels is not None
    told = subject.grouped(data.test) if data.test is not None and tested else train
    found = {name: scores(train[name], told[name], codes[name], data.classes) for name in names}
    fitted = {name: scores(train[name], train[name], codes[name], data.classes)["accuracy"] for name in names}
    best = max(names, key=fitted.__getitem__)
    where = "counted on the test split" if tested else "counted on the training split, too: there is no other"
    subject.notes["clustering"] = (
        f"{best}, of {codes[best]} values; codes assigned to classes on the training split, {where}"
    )
    if codes[best] > data.classes:
        subject.notes["clustering"] += f"; values beyond {data.classes} have no class and count as wrong"
    numbers = {**found[best], "train accuracy": fitted[best]}
    if len(names) > 1:
        numbers |= {f"{name}/{key}": value for name in names for key, value in found[name].items()}
    return numbers


def _information(subject: Subject) -> Numbers:
    subject.notes["information"] = "L_I in nats, on fresh samples; H(c) is a ceiling where the code is discrete"
    subject.drawn["information"] = subject.n
    return information(subject.model, n=subject.n, seed=subject.seed)


def _fidelity(subject: Subject) -> Numbers:
    reals = subject.reals
    real, fake, halves = reals.compared, subject.generated_features, reals.halves
    subject.features["fidelity"], subject.drawn["fidelity"] = Path(reals.features).name, len(fake)
    split, _ = reals.reference
    told = (
        f"a classifier's, right on {reals.classifier.accuracy:.1%}" if reals.features == "classifier" else "Inception's"
    )
    subject.notes["fidelity"] = (
        f"{len(fake)} samples and {len(real)} images of the {split} split; floor and ceiling: {len(halves[0][0])} "
        f"real images and {len(halves[0][1])} others, a mean over {len(halves)} divisions; features: {told}"
    )
    return fidelity(real, fake, halves, seed=subject.seed)


def _coverage(subject: Subject) -> Numbers:
    reals, data = subject.reals, subject.dataset
    assert data.train.labels is not None
    subject.features["coverage"], subject.drawn["coverage"] = "classifier", subject.n
    told = torch.cat([reals.classifier.tell(part).cpu() for part in subject.generated.split(500)])
    subject.notes["coverage"] = (
        f"{subject.n} samples; classes told by a classifier, right on {reals.classifier.accuracy:.1%}"
    )
    return coverage(*(np.bincount(labels.numpy(), minlength=data.classes) for labels in (told, data.train.labels)))


def _disentanglement(subject: Subject) -> Numbers:
    subject.notes["disentanglement"] = "a dimension for each code: the mean of Q, of a discrete code its mode"
    return disentanglement(representation(subject.model), subject.dataset, seed=subject.seed)


def _factors(subject: Subject) -> None:
    representation(subject.model)
    if subject.dataset.factors is None:
        raise InputError(f"data {subject.dataset.name!r} has no factors that are known; sprites and dsprites have")


def _labels(subject: Subject) -> None:
    if not subject.dataset.classes or subject.dataset.train.labels is None:
        raise InputError(f"data {subject.dataset.name!r} has no labels")


def _categorical(subject: Subject) -> None:
    if not any(code.kind == "categorical" for code in encoder(subject.model).codes):
        raise InputError(f"model {subject.model.config.model} has no categorical code")
    _labels(subject)


def _classified(subject: Subject) -> None:
    if reason := suits(subject.dataset):
        raise InputError(reason)


METRICS: dict[str, Metric] = {
    "clustering": Metric(_clustering, _categorical),
    "information": Metric(_information, lambda subject: informed(subject.model)),
    "fidelity": Metric(
        _fidelity, lambda subject: subject.reals.check(), frozenset({"frechet", "frechet/floor", "kid", "kid/floor"})
    ),
    "coverage": Metric(_coverage, _classified, frozenset({"kl"})),
    "disentanglement": Metric(_disentanglement, _factors),
}
"""The metrics by name, in the order in which they are told."""


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
        names: Of metrics; by default all. Those that a run does not have are skipped.
        n: How many samples are drawn.
        features: What images are compared by: auto, classifier, inception, or a file of Inception's weights.
        seed: Decides what is drawn.
        device: Where to compute.
        say: Takes a line before minutes pass.
        finished: Takes the index of a source and its result as soon as that is there.

    Returns:
        For each run what was measured and of what: `metrics` by name, `notes` on them, `skipped` with the reason why a
        metric is not there, and `measurements`, the same numbers as `gan_zoo.analysis.results` keeps them.

    Raises:
        InputError: For an unknown metric, before any work; if no run has any of those that are named, likewise;
            or if measuring failed for every metric.
    """
    for name in names or ():
        if name not in METRICS:
            raise unknown("metric", name, METRICS)
    if n < LEAST:
        raise InputError(f"n = {n}: {LEAST} samples or more are measured")
    if features not in FEATURES and not Path(features).is_file():
        raise InputError(f"features {features!r}: {', '.join(FEATURES)}, or a safetensors file of Inception's weights")
    place = torch.device(device)
    opened: dict[Any, Reals] = {}
    subjects = []
    for source in sources:
        run, checkpoint = find(source)
        data = run.config.data
        if data in opened:
            check_data(run, opened[data].dataset)
        else:
            opened[data] = Reals(own_data(run), features=features, n=n, seed=seed, device=place, say=say)
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
        raise InputError("; ".join(f"metric {name}: {reason(error)}" for name, error in failures.items()))
    return results


def _choose(subject: Subject, names: Sequence[str] | None) -> tuple[list[str], dict[str, str]]:
    """The metrics that a subject is measured by, and why the others are not."""
    chosen, skipped = [], {}
    for name, metric in METRICS.items():
        if names is not None and name not in names:
            skipped[name] = NOT_ASKED
            continue
        try:
            metric.refuse(subject)
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
    """What `evaluate` returns of one subject; metrics that failed are put into `failures` and skipped."""
    chosen, skipped = choice
    measured: dict[str, Numbers] = {}
    for name in chosen:
        say(f"{subject.run.folder}: {name}")
        try:
            numbers = METRICS[name].measure(subject)
        except FAILURES as error:
            failures[name], skipped[name] = error, reason(error)
            subject.notes.pop(name, None)
            continue
        measured[name] = {key: value for key, value in numbers.items() if math.isfinite(value)}
        skipped |= {f"{name}/{key}": f"is {numbers[key]}" for key in numbers.keys() - measured[name].keys()}
    data, splits = subject.run.config.data, (subject.dataset.train, subject.dataset.test)
    images = {part: len(split) for part, split in zip(("train", "test"), splits, strict=True) if split is not None}
    step, weights = find_step(subject.checkpoint), fingerprint(subject.model)
    measurements = [
        Measurement(
            name,
            numbers,
            step=step,
            weights=weights,
            n=subject.drawn.get(name),
            seed=subject.seed,
            features=subject.features.get(name),
            note=subject.notes.get(name, ""),
        )
        for name, numbers in measured.items()
        if numbers
    ]
    return {
        "run": str(subject.run.folder),
        "model": subject.run.config.model,
        "checkpoint": subject.checkpoint.name,
        "step": step,
        "config": {"seed": subject.run.config.seed, "data": data.model_dump(mode="json", exclude_none=True)},
        "images": images,
        "n": subject.n,
        "seed": subject.seed,
        "metrics": measured,
        "notes": subject.notes,
        "skipped": skipped,
        "measurements": [asdict(one) for one in measurements],
        "environment": environment(subject.model.device),
    }


def summary(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What several runs have in common: by `metric/number` its `mean`, `deviation` (of a sample; 0 of one run), `worst`
    and `values`, of the numbers that every run has, by the same features.
    """
    tables = [{(m, k): v for m, numbers in r["metrics"].items() for k, v in numbers.items()} for r in results]
    told, apart = {}, features_differ(results)
    for metric, key in tables[0]:
        if metric in apart or not all((metric, key) in table for table in tables):
            continue
        values = [table[metric, key] for table in tables]
        worst = max if key in METRICS[metric].falling else min
        told[f"{metric}/{key}"] = {
            "mean": statistics.mean(values),
            "deviation": statistics.stdev(values) if len(values) > 1 else 0.0,
            "worst": worst(values),
            "values": values,
        }
    return told


def features_differ(results: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Metrics by which runs cannot be compared, with the features that each compares images by."""
    found: dict[str, list[str]] = {}
    for result in results:
        for one in result.get("measurements", ()):
            if one["features"] not in found.setdefault(one["metric"], []):
                found[one["metric"]].append(one["features"])
    return {metric: features for metric, features in found.items() if len(features) > 1}
