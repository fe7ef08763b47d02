"""StyleGAN2's own layers: convolutions modulated by a style, noise inputs, minibatch standard deviation.

Karras et al., 2020 (arXiv:1912.04958), section 2, and Karras et al., 2018 (arXiv:1710.10196), section 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d

from gan_zoo.draws import Draws
from gan_zoo.trunks.equalised import EqualLinear, scaled_leaky_relu
from gan_zoo.trunks.resampling import blurring

EPSILON = 1e-8


def modulated_convolution(
    x: Tensor, weight: Tensor, style: Tensor, *, demodulate: bool = True, enlarge: bool = False
) -> Tensor:
    """Convolve each image with weights whose input channels are scaled by its own style (eq. 1 to 3).

    Demodulation divides each output channel by the L2 norm of its scaled weights. As both factors are of whole
    channels, they apply to maps instead of weights: one convolution with the same weights serves all images.

    Args:
        x: Maps [n, C, h, w].
        weight: [D, C, k, k] with an odd k.
        style: [n, C].
        demodulate: Whether to demodulate.
        enlarge: Whether to convolve maps with zeros between their pixels; the result is [n, D, 2h + k - 2,
            2w + k - 2], not yet low-pass filtered.

    Returns:
        Maps [n, D, h, w].
    """
    kernel = weight.shape[-1]
    y = x * style[:, :, None, None].to(x.dtype)
    y = conv_transpose2d(y, weight.transpose(0, 1), stride=2) if enlarge else conv2d(y, weight, padding=kernel // 2)
    if not demodulate:
        return y
    with torch.autocast(x.device.type, enabled=False):  # squares underflow in fp16
        energy = _full(style).square() @ _full(weight).square().sum((2, 3)).T
        factor = (energy + EPSILON).rsqrt()
    return y * factor[:, :, None, None].to(y.dtype)


def _full(x: Tensor) -> Tensor:
    """`x` in float32, or float64 if it is that already."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class Modulated(nn.Module):
    """A modulated convolution whose style is a linear function of w.

    Args:
        w: Width of w.
        inputs: Channels of the input.
        outputs: Channels of the output.
        kernel: Side of the kernel.
    """

    def __init__(self, w: int, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.affine = EqualLinear(w, inputs, start=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = 1 / math.sqrt(inputs * kernel**2)

    def convolve(self, x: Tensor, w: Tensor, *, demodulate: bool = True, enlarge: bool = False) -> Tensor:
        """Maps [n, inputs, h, w] and w [n, width of w] to maps, without the bias."""
        style = self.affine(w) * self.scale
        return modulated_convolution(x, self.weight, style, demodulate=demodulate, enlarge=enlarge)


class StyledLayer(Modulated):
    """A 3×3 modulated convolution, noise, bias and leaky ReLU.

    Args:
        w: Width of w.
        inputs: Channels of the input.
        outputs: Channels of the output.
        enlarge: Whether it doubles the side.
    """

    def __init__(self, w: int, inputs: int, outputs: int, *, enlarge: bool) -> None:
        super().__init__(w, inputs, outputs, 3)
        self.blur = blurring(outputs, 1, gain=4.0) if enlarge else None

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        """Maps [n, inputs, h, w], w [n, width of w] and noise [n or 1, 1, h', w'] to [n, outputs, h', w']."""
        y = self.convolve(x, w, enlarge=self.blur is not None)
        if self.blur is not None:
            y = self.blur(y)
        return scaled_leaky_relu(y + noise.to(y.dtype) + self.bias[:, None, None].to(y.dtype))


class ToImage(Modulated):
    """A 1×1 modulated convolution to an image, without demodulation."""

    def __init__(self, w: int, inputs: int, channels: int) -> None:
        super().__init__(w, inputs, channels, 1)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Maps [n, inputs, h, w] and w [n, width of w] to images [n, channels, h, w], not in half precision."""
        return _full(self.convolve(x, w, demodulate=False)) + self.bias[:, None, None]


class NoiseInputs(nn.Module):
    """One plane of N(0, 1) for each layer, times a learned strength that starts at 0.

    The planes are drawn within `drawing`, and else fixed, so that images are a function of the latents alone.

    Args:
        sides: The sides of the layers' maps.

    Attributes:
        strength: [layers].
        fixed: The planes of all layers, [1, numbers].
    """

    fixed: Tensor

    def __init__(self, sides: Sequence[int]) -> None:
        super().__init__()
        self.sides = tuple(sides)
        self.random: Draws | None = None
        self.strength = nn.Parameter(torch.zeros(len(sides)))
        self.register_buffer("fixed", torch.randn(1, sum(side**2 for side in sides)))

    def forward(self, images: int) -> list[Tensor]:
        """The noise of each layer, [images, 1, side, side], or for all images alike [1, 1, side, side]."""
        planes = self.fixed
        if self.random is not None:
            planes = self.random.normal(images, planes.shape[1]).to(planes.dtype)
        parts = zip(planes.split([side**2 for side in self.sides], 1), self.strength.unbind(), self.sides, strict=True)
        return [strength * part.view(-1, 1, side, side) for part, strength, side in parts]


@contextmanager
def drawing(generator: nn.Module, random: Draws) -> Iterator[None]:
    """A context in which the noise inputs of a generator, if it has any, are drawn from `random`, in one draw."""
    inputs = [layer for layer in generator.modules() if isinstance(layer, NoiseInputs)]
    try:
        for layer in inputs:
            layer.random = random
        yield
    finally:
        for layer in inputs:
            layer.random = None


class MinibatchStd(nn.Module):
    """Appends a map with the standard deviation of a group of images, over the group, averaged over channels and space.

    Groups are four neighbours, or three or two if their number does not divide that of the images. In evaluation mode
    an image's features must not depend on its neighbours: there the map has the mean that was measured over batches,
    like a batch norm's statistics.

    Attributes:
        images: How many a pass has in training; the measured statistic is of groups of the same size.
        mean: float32 [], the statistic in evaluation mode.
        momentum: The share of a batch in it; 0 in training (see `gan_zoo.training.batch_norm.measure_statistics`).
    """

    group = 4
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.images, self.momentum = self.group, 0.0
        self.register_buffer("mean", torch.zeros(()))

    @classmethod
    def group_of(cls, images: int, most: int = group) -> int:
        """The images of a group, of so many: at most `most`."""
        return next(size for size in range(most, 0, -1) if images % size == 0)

    def forward(self, x: Tensor) -> Tensor:
        """[n, C, h, w] to [n, C + 1, h, w]."""
        n, _, h, w = x.shape
        if self.training:
            size = self.group_of(n, self.group_of(self.images) if self.momentum else self.group)
            deviation = (_full(x).unflatten(0, (-1, size)).var(1, correction=0) + EPSILON).sqrt().mean((1, 2, 3))
            if self.momentum:
                self.mean.lerp_(deviation.detach().mean(), self.momentum)
            statistic = deviation.repeat_interleave(size)
        else:
            statistic = self.mean.expand(n)
        return torch.cat([x, statistic[:, None, None, None].expand(n, 1, h, w).to(x.dtype)], 1)


def images_of_a_pass(networks: nn.Module) -> int:
    """How many images a training pass has, by the minibatch standard deviations; a group's if there are none."""
    layers = (layer for layer in networks.modules() if isinstance(layer, MinibatchStd))
    return next((layer.images for layer in layers), MinibatchStd.group)
