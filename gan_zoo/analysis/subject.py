"""The subject of an evaluation: a run's model and its training data, each part computed on first use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from gan_zoo.analysis.classifier import Classifier, classifier, suits
from gan_zoo.analysis.clustering import Grouped, grouped
from gan_zoo.analysis.encode import encoder
from gan_zoo.analysis.fidelity import LEAST
from gan_zoo.analysis.inception import Inception, default_weights, inception
from gan_zoo.analysis.random_features import random_network
from gan_zoo.data.dataset import Dataset, Split
from gan_zoo.errors import InputError
from gan_zoo.files import path_from_text
from gan_zoo.images import to_uint8
from gan_zoo.models.gan.model import GAN
from gan_zoo.models.gan.prior import SHOWN
from gan_zoo.training.run import Run

AUTO, CLASSIFIER, INCEPTION, RANDOM = FEATURES = ("auto", "classifier", "inception", "random")
"""The features that images are compared by; any other text is a file with Inception's weights."""
BATCH = 250
DIVISIONS = 5
"""Random splits of the real images into halves, for the floor of a distance."""


@dataclass(eq=False)
class Reals:
    """The real images that samples are compared with.

    Args:
        opening: Opens the dataset, on first use.
        requested: The features: one of `FEATURES`, or a safetensors file with Inception's weights.
        n: Maximum number of images to compare.
        seed: Seed of their choice.
        device: Where to compute.
        train_only: Whether to compare with training images even if there is a test split of n images.
    """

    opening: Callable[[], Dataset]
    requested: str
    n: int
    seed: int
    device: torch.device
    train_only: bool = False

    @cached_property
    def dataset(self) -> Dataset:
        """The dataset.

        Raises:
            InputError: If it cannot be opened.
        """
        return self.opening()

    @property
    def sizes(self) -> dict[str, int]:
        """The number of images by split; empty if no metric needed the data."""
        if "dataset" not in vars(self):
            return {}
        return {name: len(split) for name, split in self.dataset.splits.items()}

    @cached_property
    def classifier(self) -> Classifier:
        """The classifier of the dataset's labels."""
        return classifier(self.dataset, device=self.device)

    @cached_property
    def features(self) -> str:
        """The features to compare. `auto` is the classifier's for grey images, else Inception's; or the available one.

        Raises:
            InputError: If neither is available.
        """
        if self.requested != AUTO:
            return self.requested
        unclassified = suits(self.dataset)
        if not unclassified and (self.dataset.image.channels == 1 or not default_weights().is_file()):
            return CLASSIFIER
        if not default_weights().is_file():
            raise InputError(f"{unclassified}, and Inception's weights are not at {default_weights()}")
        return INCEPTION

    def check(self) -> None:
        """Check, before any work, that samples can be compared with the dataset.

        Raises:
            InputError: If it is too small, or the requested features are unavailable.
        """
        name, split = self.reference
        if len(split) < LEAST:
            raise InputError(
                f"data {self.dataset.name!r}: the {name} split has {len(split)} images to compare with; {LEAST} or more"
            )
        if self.features != CLASSIFIER:
            _ = self.extractor
        elif reason := suits(self.dataset):
            raise InputError(reason)

    @cached_property
    def extractor(self) -> Classifier | Inception:
        """The network that computes the features.

        Raises:
            InputError: If it is unavailable.
        """
        if self.features == CLASSIFIER:
            return self.classifier
        if self.features == RANDOM:
            return random_network(self.dataset.image, self.device)
        return inception(None if self.features == INCEPTION else path_from_text(self.features), device=self.device)

    @cached_property
    def reference(self) -> tuple[str, Split]:
        """The split to compare samples with: test if it has n images, else train."""
        test = None if self.train_only else self.dataset.test
        return ("test", test) if test is not None and len(test) >= self.n else ("train", self.dataset.train)

    @cached_property
    def reference_features(self) -> Tensor:
        """Features [n, d] of n images of the reference split, or of all if it has fewer."""
        return self._sampled[: self.n]

    @cached_property
    def halves(self) -> list[tuple[Tensor, Tensor]]:
        """Pairs of disjoint sets of real images' features, n each, or half of the reference split; several random
        pairs, since a single one is noisy.
        """
        size = min(self.n, len(self._sampled) // 2)
        random = torch.Generator().manual_seed(self.seed)
        orders = [torch.randperm(len(self._sampled), generator=random) for _ in range(DIVISIONS)]
        return [(self._sampled[order[:size]], self._sampled[order[size : 2 * size]]) for order in orders]

    @cached_property
    def _sampled(self) -> Tensor:
        _, split = self.reference
        random = torch.Generator().manual_seed(self.seed)
        chosen = split.choose(torch.randperm(len(split), generator=random)[: 2 * self.n])
        return self.features_of(chosen)

    def features_of(self, split: Split) -> Tensor:
        """Features [n, d] of the images of a split, on the CPU."""
        parts = torch.arange(len(split)).split(BATCH)
        return torch.cat([self.extractor.features(split.pixels(part)).float().cpu() for part in parts])


def check_features(features: str, key: str) -> None:
    """Check the name of features, or that their file exists.

    Raises:
        InputError: If it is neither; the message begins with `key`, the setting.
    """
    if features not in FEATURES and not path_from_text(features).is_file():
        raise InputError(
            f"{key} must be {', '.join(FEATURES)}, or a safetensors file with Inception's weights, not {features!r}"
        )


class Subject:
    """A trained model and its training data.

    Args:
        run: The run.
        checkpoint: The model's checkpoint.
        model: The model, in evaluation mode.
        reals: The run's data.
        n: Number of samples.
        seed: Seed of the samples and of all random choices of a metric.

    Attributes:
        skipped: By metric, why it was not measured, or by `metric/number`, why that number is missing.
    """

    def __init__(self, run: Run, checkpoint: Path, model: GAN, reals: Reals, *, n: int, seed: int) -> None:
        self.run, self.checkpoint, self.model, self.reals = run, checkpoint, model, reals
        self.n, self.seed = n, seed
        self.skipped: dict[str, str] = {}

    @property
    def dataset(self) -> Dataset:
        """The run's training data."""
        return self.reals.dataset

    @cached_property
    def generated(self) -> Tensor:
        """n samples, uint8 [n, C, R, R]."""
        return torch.cat([to_uint8(part) for part in self.model.draw(self.n, seed=self.seed)])

    @property
    def labels(self) -> Tensor | None:
        """The labels that the samples were drawn for, int64 [n]; None if the model has none."""
        prior = self.model.prior
        return prior.labels(prior.sample(self.n, seed=self.seed, stream=SHOWN).codes)

    @cached_property
    def generated_features(self) -> Tensor:
        """Features [m, d] of as many samples as `Reals.reference_features` has images."""
        return self.reals.features_of(Split(self.generated[: len(self.reals.reference_features)]))

    def grouped(self, split: Split) -> dict[str, Grouped]:
        """The modes of Q's categorical codes on a labelled split, with its labels."""
        return grouped(encoder(self.model), split)
