"""FLOPs of convolutions: the backward pass costs twice the forward pass, in any number of groups."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gan_zoo.bench.flops import flop_counter


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("groups", [1, 4, 16])
def test_both_gradients_of_a_grouped_convolution_cost_what_the_forward_pass_does(
    kind: type[nn.Conv2d], groups: int
) -> None:
    layer, x = kind(64, 32, 4, stride=2, padding=1, groups=groups), torch.randn(2, 64, 8, 8)
    with flop_counter() as forward:
        y = layer(x.requires_grad_())
    with flop_counter() as backward:
        y.sum().backward()
    side = 4 if kind is nn.Conv2d else 8  # outputs of the one, inputs of the other, each times the kernel
    assert forward.get_total_flops() == 2 * 2 * side**2 * 64 * 32 // groups * 16
    assert backward.get_total_flops() == 2 * forward.get_total_flops()


def test_without_groups_and_for_other_operations_it_is_torch_s_count() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.LeakyReLU(), nn.Flatten(), nn.Linear(8 * 36, 5))
    counts = []
    for counter in (flop_counter(), FlopCounterMode(display=False)):
        with counter:
            network(torch.randn(2, 3, 8, 8)).sum().backward()
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0
