"""What is measured: a run's model beside the data that it learned from, each part worked out when first asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from gan_zoo.analysis.classifier import Classifier, classifier, suits
from gan_zoo.analysis.clustering import Grouped, grouped
from gan_zoo.analysis.encode import encoder
from gan_zoo.analysis.fidelity import LEAST
from gan_zoo.analysis.inception import default_weights, inception
from gan_zoo.data.dataset import Dataset, Split
from gan_zoo.errors import InputError
from gan_zoo.images import to_uint8
from gan_zoo.models.gan.model import GAN
from gan_zoo.training.run import Run

BATCH = 250
DIVISIONS = 5
"""Into halves of the real images, for the floor of a distance."""


class Extractor(Protocol):
    """A network whose features images are compared by."""

    def features(self, images: Tensor) -> Tensor:
        """Features [n, d] of uint8 images [n, C, R, R]."""


class Reals:
    """A set of real images, as runs on it are measured against it.

    Args:
        opening: Opens the set, when first needed.
        features: `auto`, `classifier`, `inception`, or a safetensors file with Inception's weights.
        n: How many images are compared, at most.
        seed: Decides which.
        device: Where to compute.
        say: Takes a line before minutes pass.
    """

    def __init__(
        self,
        opening: Callable[[], Dataset],
        *,
        features: str,
        n: int,
        seed: int,
        device: torch.device,
        say: Callable[[str], None],
    ) -> None:
        self._opening = opening
        self.device = device
        self._features, self._n, self._seed, self._say = features, n, seed, say

    @cached_property
    def dataset(self) -> Dataset:
        """The set.

        Raises:
            InputError: If it cannot be opened.
        """
        return self._opening()

    @property
    def sizes(self) -> dict[str, int]:
        """The number of images by split; empty if no metric needed the data."""
        if "dataset" not in vars(self):
            return {}
        return {name: len(split) for name, split in self.dataset.splits.items()}

    @cached_property
    def classifier(self) -> Classifier:
        """The classifier of the set's labels."""
        return classifier(self.dataset, device=self.device, say=self._say)

    @cached_property
    def features(self) -> str:
        """Which features are compared: of a grey set with labels the classifier's, of any other Inception's.

        Raises:
            InputError: If there are none.
        """
        if self._features != "auto":
            return self._features
        unclassified = suits(self.dataset)
        if not unclassified and (self.dataset.image.channels == 1 or not default_weights().is_file()):
            return "classifier"
        if not default_weights().is_file():
            raise InputError(f"{unclassified}, and Inception's weights are not at {default_weights()}")
        return "inception"

    def check(self) -> None:
        """Refuse a set that samples cannot be compared with, before anything is worked out.

        Raises:
            InputError: If it is too small, or the features that are asked for cannot be had.
        """
        name, split = self.reference
        if len(split) < LEAST:
            raise InputError(
                f"data {self.dataset.name!r}: the {name} split has {len(split)} images to compare with; {LEAST} or more"
            )
        if self.features != "classifier":
            _ = self.extractor
        elif reason := suits(self.dataset):
            raise InputError(reason)

    @cached_property
    def extractor(self) -> Extractor:
        """The network that makes the features.

        Raises:
            InputError: If it cannot be had.
        """
        if self.features == "classifier":
            return self.classifier
        return inception(None if self.features == "inception" else Path(self.features), device=self.device)

    @cached_property
    def reference(self) -> tuple[str, Split]:
        """The split that samples are compared with: test if it has n images, else train."""
        test = self.dataset.test
        return ("test", test) if test is not None and len(test) >= self._n else ("train", self.dataset.train)

    @cached_property
    def compared(self) -> Tensor:
        """Features [n, d] of n images of the reference, or of all if it has fewer."""
        return self._drawn[: self._n]

    @cached_property
    def halves(self) -> list[tuple[Tensor, Tensor]]:
        """Features of real images in two parts, n each if the reference has so many, else its halves; divided anew
        a few times, since a single division says little.
        """
        size = min(self._n, len(self._drawn) // 2)
        random = torch.Generator().manual_seed(self._seed)
        orders = [torch.randperm(len(self._drawn), generator=random) for _ in range(DIVISIONS)]
        return [(self._drawn[order[:size]], self._drawn[order[size : 2 * size]]) for order in orders]

    @cached_property
    def _drawn(self) -> Tensor:
        _, split = self.reference
        random = torch.Generator().manual_seed(self._seed)
        chosen = split.choose(torch.randperm(len(split), generator=random)[: 2 * self._n])
        return self.features_of(chosen)

    def features_of(self, split: Split) -> Tensor:
        """Features [n, d] of the images of a split, on the CPU."""
        parts = torch.arange(len(split)).split(BATCH)
        return torch.cat([self.extractor.features(split.pixels(part)).float().cpu() for part in parts])


class Subject:
    """A trained model and the set that it learned from.

    Args:
        run: The run.
        checkpoint: The checkpoint that `model` is of.
        model: The model, ready to evaluate.
        reals: The run's data.
        n: How many samples are drawn.
        seed: Decides them, and whatever else a metric draws.

    Attributes:
        notes: What a reader of a metric's numbers should know, by the metric's name.
        features: What images were compared by, by the name of a metric that compares them.
        drawn: How many samples were measured, by the name of a metric that draws them.
    """

    def __init__(self, run: Run, checkpoint: Path, model: GAN, reals: Reals, *, n: int, seed: int) -> None:
        self.run, self.checkpoint, self.model, self.reals = run, checkpoint, model, reals
        self.n, self.seed = n, seed
        self.notes: dict[str, str] = {}
        self.features: dict[str, str] = {}
        self.drawn: dict[str, int] = {}

    @property
    def dataset(self) -> Dataset:
        """The set that the run learned from."""
        return self.reals.dataset

    @cached_property
    def generated(self) -> Tensor:
        """n samples, uint8 [n, C, R, R]."""
        return torch.cat([to_uint8(part) for part in self.model.draw(self.n, seed=self.seed)])

    @cached_property
    def generated_features(self) -> Tensor:
        """Features [m, d] of as many samples as there are real images to compare them with."""
        return self.reals.features_of(Split(self.generated[: len(self.reals.compared)]))

    def grouped(self, split: Split) -> dict[str, Grouped]:
        """The modes of Q's categorical codes on a labelled split, beside its labels."""
        return grouped(encoder(self.model), split)
