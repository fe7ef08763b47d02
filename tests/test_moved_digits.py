"""What benchmarks/moved_digits.py measures: the motions are what they are called, and agreement is by rank."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import moved_digits


def moments(image: Tensor) -> tuple[float, float, float]:
    """Spread along x, spread along y and covariance of the ink of an image [1, H, W]."""
    ink = image[0] + 1
    at = torch.linspace(-1, 1, len(ink))
    mass, x, y = ink.sum(), at[None], at[:, None]
    return float((ink * x * x).sum() / mass), float((ink * y * y).sum() / mass), float((ink * x * y).sum() / mass)


@pytest.fixture
def bar() -> Tensor:
    """An upright bar, [1, 1, 28, 28]."""
    image = torch.full((1, 1, 28, 28), -1.0)
    image[:, :, 5:23, 12:16] = 1.0
    return image


def test_the_motions_do_what_they_are_called(bar: Tensor) -> None:
    across, along, tilt = moments(bar[0])
    assert tilt == pytest.approx(0, abs=1e-6)
    for name, (_, matrix) in moved_digits.MOTIONS.items():
        still, there = (moments(moved_digits.moved(bar, matrix(amount))[0]) for amount in (0.0, 0.2))
        assert still == pytest.approx((across, along, tilt), abs=1e-4)
        if "width" in name:
            assert there[0] > 1.3 * across
            assert there[1] == pytest.approx(along, rel=0.01)
        else:
            assert abs(there[2]) > 0.02
            assert (there[1] < 0.99 * along) == ("turn" in name)


def test_agreement_is_by_rank_digit_by_digit() -> None:
    rising = torch.arange(5.0).exp()
    wavering = torch.tensor([0.0, 1.0, 2.0, 1.5, 3.0])
    both = moved_digits.agreement(torch.stack([rising, wavering], 1))
    assert both["strictly monotonic"] == 0.5
    assert both["rank correlation"] == pytest.approx((1 + 0.9) / 2)
    assert moved_digits.agreement(-rising[:, None])["rank correlation"] == pytest.approx(-1)
