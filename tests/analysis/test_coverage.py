"""Mode coverage, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gan_zoo.analysis.coverage import coverage


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
