"""Resampling of feature maps by 2 with a low-pass filter: [1, 2, 1] convolved with [1, 1] along each axis.

Enlarging so interpolates linearly between pixels, and shrinking averages over 4×4 pixels. Outside of a map are zeros.
Used by R3GAN (Huang et al., 2024, arXiv:2501.05441) and StyleGAN2 (Karras et al., 2020, arXiv:1912.04958).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d

from gan_zoo.trunks.convolutions import computed_in

TAPS = (1.0, 3.0, 3.0, 1.0)


class Resampling(nn.Module):
    """Filters each channel by itself, a grouped convolution with a filter of sum `gain`.

    Args:
        channels: Of the maps.
        stride: Of the output's pixels; of the input's if it is transposed.
        padding: Zeros at each border.
        transposed: Whether the convolution is transposed.
        gain: The filter's sum.
    """

    kernel: Tensor

    def __init__(
        self, channels: int, *, stride: int = 2, padding: int = 1, transposed: bool = False, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.shape = (stride, padding, transposed)
        taps = torch.tensor(TAPS)
        kernel = torch.outer(taps, taps) / taps.sum() ** 2 * gain
        self.register_buffer("kernel", kernel.repeat(channels, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] to [n, channels, h', w']."""
        x = x.to(computed_in(x))
        resampled: Tensor = _Filter.apply(x, self.kernel.to(x.dtype), *self.shape)  # type: ignore[no-untyped-call]
        return resampled

    def extra_repr(self) -> str:
        """The channels, and the arguments of the convolution."""
        return "{}, stride={}, padding={}, transposed={}".format(len(self.kernel), *self.shape)


def enlarging(channels: int) -> Resampling:
    """Doubles the side of maps [n, channels, h, w]; keeps a constant."""
    return Resampling(channels, transposed=True, gain=4.0)


def shrinking(channels: int) -> Resampling:
    """Halves the side of maps [n, channels, 2h, 2w]; keeps a constant."""
    return Resampling(channels)


def blurring(channels: int, border: int, *, gain: float = 1.0) -> Resampling:
    """Filters maps [n, channels, h, w] with so many zeros at each border, to sides larger by 2·border - 3."""
    return Resampling(channels, stride=1, padding=border, gain=gain)


class _Filter(torch.autograd.Function):
    """A convolution and its transpose with the same kernel, each the other's derivative: derivatives of any order are
    forward passes. torch's second derivative of a grouped convolution takes about ten times as long on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, stride: int, padding: int, transposed: bool) -> Tensor:
        """Convolve with a kernel [c, 1, 4, 4] of the same number format."""
        ctx.save_for_backward(kernel)
        ctx.shape = (stride, padding, not transposed)
        convolve = conv_transpose2d if transposed else conv2d
        return convolve(x, kernel, stride=stride, padding=padding, groups=len(kernel))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """The transpose."""
        grad: Tensor = _Filter.apply(grads[0], *ctx.saved_tensors, *ctx.shape)  # type: ignore[no-untyped-call]
        return grad, None, None, None, None
