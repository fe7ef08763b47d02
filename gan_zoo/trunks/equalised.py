"""Layers with an equalised learning rate: Karras et al., 2018 (arXiv:1710.10196), section 4.1.

Weights start at N(0, 1) and are scaled by 1 / √fan-in whenever they are used, so that Adam, whose steps do not depend
on the scale of a gradient, changes all of them at the same relative speed.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu, linear


class EqualLinear(nn.Linear):
    """A linear layer with the weight W · m / √inputs and the bias m · b.

    Args:
        inputs: Columns of the input.
        outputs: Columns of the output.
        bias: Whether there is a bias b.
        start: Its initial value.
        multiplier: m, of the learning rate; W starts at N(0, 1 / m²).
    """

    def __init__(
        self, inputs: int, outputs: int, bias: bool = True, *, start: float = 0.0, multiplier: float = 1.0
    ) -> None:
        super().__init__(inputs, outputs, bias)
        self.scale, self.multiplier = multiplier / math.sqrt(inputs), multiplier
        nn.init.normal_(self.weight, 0, 1 / multiplier)
        if bias:
            nn.init.constant_(self.bias, start)

    def forward(self, input: Tensor) -> Tensor:
        """[n, inputs] to [n, outputs]."""
        bias = self.bias if self.bias is None or self.multiplier == 1 else self.bias * self.multiplier
        return linear(input, self.weight * self.scale, bias)


class EqualConv2d(nn.Conv2d):
    """A convolution with the weight W · gain / √(inputs · kernel²).

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        kernel: Side of the kernel.
        stride: Of the output's pixels.
        padding: Zeros at each border.
        bias: Whether there is a bias, which starts at 0.
        gain: A factor of the weight.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        gain: float = 1.0,
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, padding=padding, bias=bias)
        self.scale = gain / math.sqrt(inputs * kernel**2)
        nn.init.normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """[n, inputs, h, w] to [n, outputs, h', w']."""
        return conv2d(input, self.weight * self.scale, self.bias, self.stride, self.padding)


class ScaledLeakyReLU(nn.Module):
    """√2 times the leaky ReLU of slope 0.2, which about keeps the second moment of N(0, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        """Activate."""
        return scaled_leaky_relu(x)


def scaled_leaky_relu(x: Tensor) -> Tensor:
    """As the layer."""
    return leaky_relu(x, 0.2) * math.sqrt(2)
