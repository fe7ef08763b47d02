"""Low-pass resampling by 2 with the filter [1, 3, 3, 1], as StyleGAN2 and R3GAN resample.

Karras et al., 2020 (arXiv:1912.04958), appendix B; the filter is Zhang's, 2019 (arXiv:1904.11486), as [1, 2, 1]
convolved with [1, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d

TAPS = (1.0, 3.0, 3.0, 1.0)


class Resampling(nn.Module):
    """A depthwise convolution with the filter's outer product, of sum 1.

    Attributes:
        filter: [1, 1, 4, 4]; not in checkpoints.
    """

    filter: Tensor

    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor(TAPS) / sum(TAPS)
        self.register_buffer("filter", torch.outer(taps, taps)[None, None], persistent=False)

    def weight(self, x: Tensor) -> Tensor:
        """The filter for each channel of maps [n, C, h, w], [C, 1, 4, 4]."""
        return self.filter.to(x.dtype).expand(x.shape[1], 1, 4, 4)


class Enlarge(Resampling):
    """Maps [n, C, h, w] to [n, C, 2h, 2w]: zeros between the pixels, then the filter, which keeps the mean."""

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge."""
        return conv_transpose2d(x, 4 * self.weight(x), stride=2, padding=1, groups=x.shape[1])


class Shrink(Resampling):
    """Maps [n, C, h, w] of even sides to [n, C, h/2, w/2]: the filter, then every other pixel."""

    def forward(self, x: Tensor) -> Tensor:
        """Shrink."""
        return conv2d(x, self.weight(x), stride=2, padding=1, groups=x.shape[1])


class Blur(Resampling):
    """Maps [n, C, h, w] to [n, C, h + 2p - 3, w + 2p - 3]: the filter over a border of p zeros.

    Args:
        border: p.
        gain: A factor of the filter.
    """

    def __init__(self, border: int, gain: float = 1.0) -> None:
        super().__init__()
        self.border = border
        self.filter *= gain

    def forward(self, x: Tensor) -> Tensor:
        """Blur."""
        return conv2d(x, self.weight(x), padding=self.border, groups=x.shape[1])
