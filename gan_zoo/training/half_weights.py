"""Weights in half precision, cast once per update; autocast casts them in every pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from gan_zoo.trunks.convolutions import ConvFromImage, ConvToImage
from gan_zoo.trunks.stages import StagedSequence

CAST = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, ConvFromImage, ConvToImage)
"""Layers whose weights autocast casts. Not their subclasses: those may compute with the float32 weights first."""


class HalfWeights:
    """Copies of weights in half precision, which the forward passes of a step read in their place.

    Optimizer, moving average and checkpoints use the float32 weights. Gradients arrive at the copies and are added to
    the weights' in float32.

    Args:
        networks: Their linear layers and convolutions get copies, but for stages that compute in fp32.
        dtype: Of the copies; float32 makes none.
    """

    def __init__(self, networks: Iterable[nn.Module], dtype: torch.dtype) -> None:
        modules = [module for network in networks for module in network.modules()]
        full = {layer for module in modules if isinstance(module, StagedSequence) for layer in module.layers_in_fp32()}
        layers = [module for module in modules if type(module) in CAST and module not in full]
        self.places = [
            (layer, name, weight)
            for layer in layers
            if dtype != torch.float32 and not (is_parametrized(layer) or layer._forward_pre_hooks)
            for name, weight in layer.named_parameters(recurse=False)
        ]
        self.copies: dict[Tensor, nn.Parameter] = {
            weight: nn.Parameter(weight.detach().to(dtype), weight.requires_grad) for _, _, weight in self.places
        }
        self.active = False

    @contextmanager
    def in_use(self, use: bool) -> Iterator[None]:
        """A context in which the layers compute with the copies, if `use`."""
        self.active = use
        for layer, name, weight in self.places:
            layer._parameters[name] = self.active_weight(weight)
        try:
            yield
        finally:
            self.active = False
            for layer, name, weight in self.places:
                layer._parameters[name] = weight

    def active_weight(self, weight: nn.Parameter) -> nn.Parameter:
        """What forward passes read: the weight or its copy."""
        return self.copies.get(weight, weight) if self.active else weight

    @torch.no_grad()
    def refresh(self, weights: Iterable[nn.Parameter]) -> None:
        """Cast updated weights to their copies, in one launch."""
        updated: list[Tensor] = [weight for weight in weights if weight in self.copies]
        if updated:
            torch._foreach_copy_([self.copies[weight] for weight in updated], updated)

    @torch.no_grad()
    def collect_gradients(self, weights: Iterable[nn.Parameter]) -> None:
        """Move the copies' gradients to the weights, in one launch."""
        arrived = [(weight, copy) for weight in weights if (copy := self.copies.get(weight)) is not None]
        arrived = [(weight, copy) for weight, copy in arrived if copy.grad is not None]
        first = [pair for pair in arrived if pair[0].grad is None]
        further = [pair for pair in arrived if pair[0].grad is not None]
        for weight, _ in first:
            weight.grad = torch.empty_like(weight)
        if first:
            torch._foreach_copy_(*_gradients(first))
        if further:
            torch._foreach_add_(*_gradients(further))
        for _, copy in arrived:
            copy.grad = None


NONE = HalfWeights((), torch.float32)


def _gradients(pairs: list[tuple[nn.Parameter, nn.Parameter]]) -> tuple[list[Tensor], list[Tensor]]:
    """The gradients of the first of each pair, and of the second."""
    both = [(weight.grad, copy.grad) for weight, copy in pairs]
    return [a for a, _ in both if a is not None], [b for _, b in both if b is not None]
