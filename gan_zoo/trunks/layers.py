"""Layers that trunks and heads share: normalisation, spectral norm, DCGAN's initialisation."""

from __future__ import annotations

from typing import Literal, TypeVar

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from gan_zoo.config import Norm

Module = TypeVar("Module", bound=nn.Module)

_WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)


def norm(kind: Norm, channels: int, dims: Literal[1, 2]) -> nn.Module:
    """A normalisation layer with a learned gain and bias for each channel.

    Args:
        kind: ``batch``; ``layer``, which normalises every example by itself (over channels and space, at any
            spatial size); or ``none``, the identity.
        channels: Number of channels.
        dims: 1 for features [n, channels], 2 for feature maps [n, channels, h, w].
    """
    if kind == "none":
        return nn.Identity()
    if kind == "layer":
        return nn.LayerNorm(channels) if dims == 1 else nn.GroupNorm(1, channels)
    return nn.BatchNorm1d(channels) if dims == 1 else nn.BatchNorm2d(channels)


def spectral(module: Module, enabled: bool) -> Module:
    """Give every linear and convolution weight in `module` a largest singular value of about 1, if `enabled`.

    Miyato et al., 2018, eq. 8, by one step of power iteration at each forward pass in training mode. A
    convolution's kernel counts as the matrix [out, in·k·k]. Gains of normalisation layers stay as they are.
    Initialise before this call: afterwards ``layer.weight`` is computed, and the parameter is
    ``layer.parametrizations.weight.original``.

    Returns:
        `module` itself. What is normalised already stays so.
    """
    if enabled:
        for layer in list(module.modules()):
            if isinstance(layer, _WEIGHTED) and not is_parametrized(layer, "weight"):
                spectral_norm(layer)
    return module


def init_dcgan(module: nn.Module) -> None:
    """DCGAN's initial weights (Radford et al., 2016, section 4): N(0, 0.02²); gains N(1, 0.02²); biases 0."""
    for layer in module.modules():
        if not isinstance(layer, (*_WEIGHTED, *_NORMS)):
            continue
        nn.init.normal_(layer.weight, 0.0 if isinstance(layer, _WEIGHTED) else 1.0, 0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
