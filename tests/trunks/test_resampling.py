"""Resampling with [1, 3, 3, 1] against its definition, and differentiated twice."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

from gan_zoo.trunks.resampling import blurring, enlarging, shrinking

LAYERS = {
    "enlarge": enlarging(3).double(),
    "shrink": shrinking(3).double(),
    "blur": blurring(3, 2).double(),
    "blur of a border of 1": blurring(3, 1, gain=4.0).double(),
}


def filtered(x: Tensor, border: int) -> Tensor:
    """Each pixel of [n, C, h, w] by the sum over a window of 4×4, written out."""
    taps = (1, 3, 3, 1)
    x = functional.pad(x, (border,) * 4)
    h, w = x.shape[-2] - 3, x.shape[-1] - 3
    return sum(a * b * x[..., i : i + h, j : j + w] / 64 for i, a in enumerate(taps) for j, b in enumerate(taps))  # type: ignore[return-value]


@pytest.fixture
def maps() -> Tensor:
    return torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_each_is_its_definition(maps: Tensor) -> None:
    spaced = maps.new_zeros(2, 3, 8, 12)
    spaced[..., ::2, ::2] = maps
    torch.testing.assert_close(LAYERS["enlarge"](maps), 4 * filtered(spaced, 2)[..., :8, :12])
    torch.testing.assert_close(LAYERS["shrink"](maps), filtered(maps, 1)[..., ::2, ::2])
    torch.testing.assert_close(LAYERS["blur"](maps), filtered(maps, 2))
    torch.testing.assert_close(LAYERS["blur of a border of 1"](maps), 4 * filtered(maps, 1))


def test_a_constant_keeps_its_value_within_the_border() -> None:
    ones = torch.ones(1, 3, 8, 8, dtype=torch.float64)
    for name, inner in (("enlarge", slice(1, -1)), ("shrink", slice(1, -1))):
        inside = LAYERS[name](ones)[..., inner, inner]
        torch.testing.assert_close(inside, torch.ones_like(inside))


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_of_gradients(name: str, maps: Tensor) -> None:
    layer: Any = LAYERS[name]
    assert gradcheck(layer, maps.requires_grad_())
    assert gradgradcheck(layer, maps.requires_grad_())
    assert not layer.state_dict()
