"""Layers of trunks and heads: normalisation, spectral norm, DCGAN's initialisation."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Literal, TypeVar

import torch
from gan_zoo_kernels import batch_norm, leaky_relu
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import is_parametrized, register_parametrization

from gan_zoo.config import Norm

Module = TypeVar("Module", bound=nn.Module)


class LotNorm(_BatchNorm):
    """Batch norm (Ioffe & Szegedy, 2015) with separate statistics for each lot of `rows` rows, then leaky ReLU.

    Reals and fakes can thus share one pass of D and are normalised as in separate passes. In training each lot updates
    the running statistics, in order.

    Attributes:
        rows: Rows of a lot; None makes the whole batch one lot. The last lot may be smaller.
        slope: Slope of the leaky ReLU for negative numbers; 0 is ReLU, 1 the identity.
        once: Whether training passes are differentiated at most once, as the fused kernels require. Defaults to False,
            which uses plain torch.

    `num_batches_tracked` stays 0: a fixed momentum does not need it, and counting costs a launch for each layer.
    """

    rows: int | None = None
    slope: float = 1.0
    once: bool = False

    def forward(self, input: Tensor) -> Tensor:
        """Normalise and activate [n, C] or [n, C, h, w]."""
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        known = (self.running_mean, self.running_var)
        if not self.training:
            return leaky_relu(functional.batch_norm(input, *known, self.weight, self.bias, eps=self.eps), self.slope)
        if not self.track_running_stats:  # InfoGAN-CR's passes over pairs
            known = (None, None)
        assert self.momentum is not None
        return batch_norm(
            input,
            self.weight,
            self.bias,
            *known,
            rows=self.rows,
            momentum=self.momentum,
            eps=self.eps,
            slope=self.slope,
            implementation=None if self.once else "reference",
        )

    def extra_repr(self) -> str:
        """The norm's arguments and the slope."""
        return f"{super().extra_repr()}, slope={self.slope}"  # type: ignore[no-untyped-call]


def in_lots(network: nn.Module, *batches: Tensor) -> tuple[Tensor, ...]:
    """Apply `network` to batches [n, …], the last of which may be smaller: in one pass if it has no batch norm or its
    batch norms have lots of n rows.
    """
    norms = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    if not all(isinstance(norm, LotNorm) and norm.rows == len(batches[0]) for norm in norms):
        return tuple(network(batch) for batch in batches)
    output: Tensor = network(torch.cat(batches))
    return tuple(output.split([len(batch) for batch in batches]))


class LotNorm1d(LotNorm, nn.BatchNorm1d):
    """LotNorm for features [n, C]."""


class LotNorm2d(LotNorm, nn.BatchNorm2d):
    """LotNorm for feature maps [n, C, h, w]."""


_WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)


def norm(kind: Norm, channels: int, dims: Literal[1, 2]) -> nn.Module:
    """A normalisation layer with a learned gain and bias for each channel.

    Args:
        kind: ``batch``; ``layer``, which normalises every example over channels and space, at any spatial
            size; or ``none``, the identity.
        channels: Number of channels.
        dims: 1 for features [n, channels], 2 for feature maps [n, channels, h, w].
    """
    if kind == "none":
        return nn.Identity()
    if kind == "layer":
        return nn.LayerNorm(channels) if dims == 1 else nn.GroupNorm(1, channels)
    return LotNorm1d(channels) if dims == 1 else LotNorm2d(channels)


def activated(kind: Norm, channels: int, dims: Literal[1, 2], slope: float) -> list[nn.Module]:
    """`norm` and a leaky ReLU of `slope` for negative numbers (0: ReLU), as two layers of a sequence.

    A batch norm computes both; an identity replaces its activation, so that later layers keep their index.
    """
    layer = norm(kind, channels, dims)
    if isinstance(layer, LotNorm):
        layer.slope = slope
        return [layer, nn.Identity()]
    return [layer, nn.LeakyReLU(slope) if slope else nn.ReLU()]


def dense(inputs: int, outputs: int, kind: Norm, slope: float) -> list[nn.Module]:
    """A linear layer, `activated`. It has no bias if a norm follows."""
    return [nn.Linear(inputs, outputs, bias=kind == "none"), *activated(kind, outputs, 1, slope)]


def halving(inputs: int, outputs: int, kind: Norm, slope: float) -> list[nn.Module]:
    """A 4×4 convolution that halves the side, `activated`. It has no bias if a norm follows."""
    layer = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=kind == "none")
    return [layer, *activated(kind, outputs, 2, slope)]


def doubling(inputs: int, outputs: int, kind: Norm, slope: float) -> list[nn.Module]:
    """A 4×4 transposed convolution that doubles the side, `activated`. It has no bias if a norm follows."""
    layer = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=kind == "none")
    return [layer, *activated(kind, outputs, 2, slope)]


class Clip(nn.Module):
    """In evaluation mode, the nearest value in [-1, 1]; in training the identity.

    The last layer of a generator without tanh: D judges its images as they are, and everyone else gets images in range.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x if self.training else x.clamp(-1, 1)


class SpectralNorm(_SpectralNorm):
    """torch's spectral norm outside of autocast, since power iteration does not converge in half precision."""

    def forward(self, weight: Tensor) -> Tensor:
        """The weight, divided by its largest singular value."""
        device = weight.device.type
        with torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext():
            normalised: Tensor = super().forward(weight)
        return normalised


def spectral(module: Module, enabled: bool) -> Module:
    """Scale every linear and convolution weight in `module` to a largest singular value of about 1, if `enabled`.

    Miyato et al., 2018, eq. 8, by one step of power iteration in each forward pass in training mode. A convolution's
    kernel is the matrix [out, in·k·k]. Normalisation layers are not changed. Initialise weights before this call:
    afterwards ``layer.weight`` is computed, and the parameter is ``layer.parametrizations.weight.original``.

    Returns:
        `module`. Layers with spectral norm are not changed.
    """
    if enabled:
        for layer in list(module.modules()):
            if isinstance(layer, _WEIGHTED) and not is_parametrized(layer, "weight"):
                dim = 1 if isinstance(layer, nn.ConvTranspose2d) else 0  # of the outputs
                register_parametrization(layer, "weight", SpectralNorm(layer.weight, dim=dim))
    return module


def counts_passes(module: Module) -> bool:
    """Whether a pass in training mode changes the next one's weights: spectral norm iterates in each."""
    return any(isinstance(layer, SpectralNorm) for layer in module.modules())


def init_dcgan(module: Module) -> Module:
    """DCGAN's initial weights (Radford et al., 2016, section 4): N(0, 0.02²); gains N(1, 0.02²); biases 0.

    Returns:
        `module`.
    """
    for layer in module.modules():
        if not isinstance(layer, (*_WEIGHTED, *NORMS)):
            continue
        nn.init.normal_(layer.weight, 0.0 if isinstance(layer, _WEIGHTED) else 1.0, 0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return module
