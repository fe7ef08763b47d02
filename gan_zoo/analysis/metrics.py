"""The metrics of a trained model, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from gan_zoo.analysis.classifier import suits
from gan_zoo.analysis.clustering import scores
from gan_zoo.analysis.coverage import coverage
from gan_zoo.analysis.disentanglement.measure import disentanglement, representation
from gan_zoo.analysis.encode import encoder
from gan_zoo.analysis.fidelity import fidelity
from gan_zoo.analysis.mutual_information import information, informed
from gan_zoo.analysis.subject import CLASSIFIER, RANDOM, Subject
from gan_zoo.errors import InputError


class Outcome(NamedTuple):
    """The numbers of a metric by name, and how they were measured; see `gan_zoo.analysis.results.Measurement`."""

    numbers: dict[str, float]
    note: str
    n: int | None = None
    features: str | None = None


@dataclass(frozen=True)
class Metric:
    """A metric of a trained model.

    Args:
        measure: Computes its numbers, by name.
        check: Raises InputError, before any work, if the metric does not apply to a subject.
        lower_is_better: Names of the numbers that are better when lower.
        needs_data: Whether it reads the training data.
    """

    measure: Callable[[Subject], Outcome]
    check: Callable[[Subject], object]
    lower_is_better: frozenset[str] = frozenset()
    needs_data: bool = True


def _clustering(subject: Subject) -> Outcome:
    data, codes = subject.dataset, {c.name: c.classes for c in subject.model.codes if c.kind == "categorical"}
    names = [name for name, k in codes.items() if k >= data.classes] or list(codes)[:1]
    train = subject.grouped(data.train)
    tested = data.test is not None and data.test.labels is not None
    evaluated = subject.grouped(data.test) if data.test is not None and tested else train
    agreement = {name: scores(train[name], evaluated[name], codes[name], data.classes) for name in names}
    train_accuracy = {name: scores(train[name], train[name], codes[name], data.classes)["accuracy"] for name in names}
    best = max(names, key=train_accuracy.__getitem__)
    where = "counted on the test split" if tested else "counted on the training split, too: there is no other"
    note = f"{best}, of {codes[best]} values; codes assigned to classes on the training split, {where}"
    if codes[best] > data.classes:
        note += f"; values beyond {data.classes} have no class and count as wrong"
    numbers = {**agreement[best], "train accuracy": train_accuracy[best]}
    if len(names) > 1:
        numbers |= {f"{name}/{key}": value for name in names for key, value in agreement[name].items()}
    return Outcome(numbers, note)


def _information(subject: Subject) -> Outcome:
    note = "L_I in nats, on fresh samples; its maximum is H(c) (entropy) where the code is discrete"
    return Outcome(information(subject.model, n=subject.n, seed=subject.seed), note, subject.n)


def _fidelity(subject: Subject) -> Outcome:
    reals = subject.reals
    real, fake, halves = reals.reference_features, subject.generated_features, reals.halves
    split, _ = reals.reference
    networks = {CLASSIFIER: "a classifier's", RANDOM: "a random network's"}
    network = networks.get(reals.features, "Inception's")
    if reals.features == CLASSIFIER:
        network += f", right on {reals.classifier.accuracy:.1%}"
    note = (
        f"{len(fake)} samples and {len(real)} images of the {split} split; floor and ceiling: {len(halves[0][0])} "
        f"real images and {len(halves[0][1])} others, a mean over {len(halves)} divisions; features: {network}"
    )
    return Outcome(fidelity(real, fake, halves, seed=subject.seed), note, len(fake), Path(reals.features).name)


def _coverage(subject: Subject) -> Outcome:
    reals, data = subject.reals, subject.dataset
    assert data.train.labels is not None
    classes = torch.cat([reals.classifier.predict(part).cpu() for part in subject.generated.split(500)])
    note = f"{subject.n} samples; classes predicted by a classifier, right on {reals.classifier.accuracy:.1%}"
    generated, real = (np.bincount(labels, minlength=data.classes) for labels in (classes, data.train.labels))
    numbers = coverage(generated, real)
    if (asked := subject.labels) is not None:
        numbers["label accuracy"] = (classes == asked).float().mean().item()
        note += "; label accuracy: share of samples that it reads as the label they were drawn for"
    return Outcome(numbers, note, subject.n, CLASSIFIER)


def _disentanglement(subject: Subject) -> Outcome:
    note = "a dimension for each code: the mean of Q, of a discrete code its mode"
    return Outcome(disentanglement(representation(subject.model), subject.dataset, seed=subject.seed), note)


def _factors(subject: Subject) -> None:
    representation(subject.model)
    if subject.dataset.factors is None:
        raise InputError(f"data {subject.dataset.name!r} has no factors that are known; sprites and dsprites have")


def _categorical(subject: Subject) -> None:
    if not any(code.kind == "categorical" for code in encoder(subject.model).codes):
        raise InputError(f"model {subject.model.config.model} has no categorical code")
    if not subject.dataset.classes or subject.dataset.train.labels is None:
        raise InputError(f"data {subject.dataset.name!r} has no labels")


def _classified(subject: Subject) -> None:
    if reason := suits(subject.dataset):
        raise InputError(reason)


METRICS: dict[str, Metric] = {
    "clustering": Metric(_clustering, _categorical),
    "information": Metric(_information, lambda subject: informed(subject.model), needs_data=False),
    "fidelity": Metric(
        _fidelity, lambda subject: subject.reals.check(), frozenset({"frechet", "frechet/floor", "kid", "kid/floor"})
    ),
    "coverage": Metric(_coverage, _classified, frozenset({"kl"})),
    "disentanglement": Metric(_disentanglement, _factors),
}
"""The metrics by name, in the order of reports."""
