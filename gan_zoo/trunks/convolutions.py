"""The convolutions next to the image, each computed as one matrix product where that is faster.

cuDNN is slow at half-precision convolutions with one to three channels: it converts layouts and picks slow engines. The
windows of a one-channel image form a matrix of 16 columns, which is cheaper to write than these conversions. In a CUDA
graph on one H200 (bf16, infogan-mnist of width 64, batch 128, one channel) the products saved 150 µs of a step of
1,528 µs.

n images [n, c, 2h, 2w] have n·h·w windows of 4×4 pixels, two apart, over a border of one zero. `Unfold` copies them
out and `Fold`, its transpose, sums them back. Each is the other's derivative, to any order, and neither scatters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

MOST_CHANNELS = 1
"""Images with more channels use torch's convolutions; the products were measured for one channel."""

HALF = (torch.bfloat16, torch.float16)


class ConvFromImage(nn.Conv2d):
    """A 4×4 convolution of stride 2 and padding 1: images [n, channels, 2h, 2w] to maps [n, width, h, w].

    Parameters, initial values and results are `nn.Conv2d`'s. Where it is a product, the maps are channels-last.

    Attributes:
        forced: Whether to compute it as a product on every device and in every number format. Tests set it.
    """

    forced = False

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, width, 4, stride=2, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve images [n, channels, h, w]."""
        even = input.shape[-1] % 2 == input.shape[-2] % 2 == 0
        if not (even and is_product(input, self.in_channels, self.forced)):
            return super().forward(input)
        windows = Unfold.apply(input.permute(0, 2, 3, 1), computed_in(input))  # type: ignore[no-untyped-call]
        maps = linear(windows, self.weight.permute(0, 2, 3, 1).flatten(1), self.bias)
        return maps.permute(0, 3, 1, 2)


class ConvToImage(nn.ConvTranspose2d):
    """A 4×4 transposed convolution of stride 2 and padding 1: maps [n, width, h, w] to images [n, channels, 2h, 2w].

    Parameters, initial values and results are `nn.ConvTranspose2d`'s. Where it is a product, the images are
    channels-last.

    Attributes:
        forced: Whether to compute it as a product on every device and in every number format. Tests set it.
    """

    forced = False

    def __init__(self, width: int, channels: int) -> None:
        super().__init__(width, channels, 4, stride=2, padding=1)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Convolve maps [n, width, h, w]."""
        if output_size is not None or not is_product(input, self.out_channels, self.forced):
            return super().forward(input, output_size)  # type: ignore[arg-type]
        windows = input.permute(0, 2, 3, 1) @ self.weight.permute(0, 2, 3, 1).flatten(1)
        images: Tensor = Fold.apply(windows, self.bias, windows.dtype)  # type: ignore[no-untyped-call]
        return images.permute(0, 3, 1, 2)


def is_product(x: Tensor, channels: int, forced: bool) -> bool:
    """Whether the convolution of `x` to or from an image of `channels` channels is computed as a product."""
    if x.ndim != 4:
        return False
    return forced or (x.is_cuda and channels <= MOST_CHANNELS and computed_in(x) in HALF)


def computed_in(x: Tensor) -> torch.dtype:
    """The number format of a convolution of `x` under autocast."""
    device = x.device.type
    if x.dtype is not torch.float64 and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return x.dtype


class Unfold(torch.autograd.Function):
    """Maps images [n, 2h, 2w, c] to windows [n, h, w, 16·c], each in the order (row, column, channel)."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, dtype: torch.dtype) -> Tensor:
        """Copy the windows in the number format `dtype`."""
        ctx.dtype = images.dtype
        windows = bordered(images, dtype).unfold(1, 4, 2).unfold(2, 4, 2)  # [n, h, w, c, 4, 4]
        return windows.permute(0, 1, 2, 4, 5, 3).flatten(3)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """The transpose."""
        return Fold.apply(grads[0], None, ctx.dtype), None  # type: ignore[no-untyped-call]


class Fold(torch.autograd.Function):
    """Maps windows [n, h, w, 16·c] to images [n, 2h, 2w, c]: each pixel is the sum of four windows and a bias."""

    @staticmethod
    def forward(ctx: Any, windows: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
        """Sum the windows in fp32, and return the number format `dtype`."""
        ctx.dtype, ctx.bias_dtype = windows.dtype, None if bias is None else bias.dtype
        n, h, w, columns = windows.shape
        c = columns // 16
        wide = windows.dtype if windows.dtype == torch.float64 else torch.float32
        known = bordered(windows, wide)
        # Row 2m + p of the image is row 3 - p - 2a of window m - 1 + p + a, for a = 0 and 1. A step of m, p or a
        # thus is a fixed distance in memory, within the border, too. Columns likewise.
        down, right = (w + 2) * columns, columns
        sizes = (n, h, 2, w, 2, c)
        strides = ((h + 2) * down, down, down - 4 * c, right, right - c, 1)
        starts = (15 * c + a * (down - 8 * c) + b * (right - 2 * c) for a in range(2) for b in range(2))
        first, *others = (known.as_strided(sizes, strides, start) for start in starts)
        pixels = first.add(others[0]).add_(others[1]).add_(others[2])  # twice as fast as a reduction
        if bias is not None:
            pixels += bias  # in fp32, without a separate cast
        return pixels.view(n, 2 * h, 2 * w, c).to(dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """The transpose."""
        wanted = ctx.needs_input_grad
        windows = Unfold.apply(grads[0], ctx.dtype) if wanted[0] else None  # type: ignore[no-untyped-call]
        return windows, grads[0].sum((0, 1, 2), dtype=ctx.bias_dtype) if wanted[1] else None, None


def bordered(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Pad [n, h, w, c] with zeros to [n, h + 2, w + 2, c] and cast it in one operation."""
    n, h, w, c = x.shape
    padded = x.new_zeros(n, h + 2, w + 2, c, dtype=dtype)
    padded[:, 1:-1, 1:-1] = x
    return padded
