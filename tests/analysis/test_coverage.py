"""Mode coverage, by hand."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from narrow import Game

from gan_zoo.analysis.coverage import coverage
from gan_zoo.analysis.metrics import METRICS
from gan_zoo.analysis.subject import Subject
from gan_zoo.models.gan.prior import SHOWN


def test_equal_shares_are_covered_without_divergence() -> None:
    told = coverage(np.array([10, 20, 30]), np.array([100, 200, 300]))
    assert told == {"coverage": 1.0, "modes": 3, "classes": 3, "kl": pytest.approx(0)}


def test_a_dropped_class_is_seen() -> None:
    told = coverage(np.array([50, 50, 0]), np.array([100, 100, 100]))
    assert (told["modes"], told["coverage"]) == (2, pytest.approx(2 / 3))
    assert told["kl"] == pytest.approx(math.log(1.5))


@pytest.mark.parametrize(("count", "modes"), [(49, 1), (50, 2)])
def test_a_class_counts_from_a_tenth_of_its_share(count: int, modes: int) -> None:
    assert coverage(np.array([1000 - count, count]), np.array([500, 500]))["modes"] == modes


def test_a_single_mode_diverges_by_the_log_of_its_share() -> None:
    told = coverage(np.array([0, 7, 0, 0]), np.array([5, 5, 5, 5]))
    assert (told["modes"], told["kl"]) == (1, pytest.approx(math.log(4)))


def test_a_class_that_the_data_does_not_have_is_no_mode() -> None:
    told = coverage(np.array([5, 5, 2]), np.array([9, 9, 0]))
    assert told["classes"] == told["modes"] == 2
    assert told["kl"] == pytest.approx(0)


@pytest.mark.parametrize("model", ["acgan", "projection-gan", "gan"])
def test_samples_are_compared_with_the_labels_that_they_were_drawn_for(model: str) -> None:
    """Of labels 0 to 9, a classifier that sees 3 everywhere is right on those that were drawn for 3."""
    made = Game(model, trunk__name="mlp").model
    blind = SimpleNamespace(predict=lambda images: torch.full((len(images),), 3), accuracy=1.0)
    dataset = SimpleNamespace(classes=10, train=SimpleNamespace(labels=torch.arange(10)))
    reals: Any = SimpleNamespace(classifier=blind, dataset=dataset)
    outcome = METRICS["coverage"].measure(Subject(Any, Path(), made, reals, n=300, seed=5))  # type: ignore[arg-type]
    if model == "gan":
        assert "label accuracy" not in outcome.numbers and "label" not in outcome.note
        return
    drawn = made.prior.sample(300, seed=5, stream=SHOWN).codes[:, 0]
    share = (drawn == 3).float().mean().item()
    assert 0 < share < 0.2
    assert outcome.numbers["label accuracy"] == pytest.approx(share)
    assert "label accuracy" in outcome.note
    images = made.sample(300, {"label": drawn}, seed=5)
    assert torch.equal(torch.cat([*made.draw(300, seed=5)]), images), "the samples are those of these labels"
