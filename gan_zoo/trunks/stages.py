"""Networks in stages, each of which computes maps of one side: number formats by stage, and gradient checkpointing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


class Staged(nn.Module):
    """A network that passes its maps through `stage`.

    Attributes:
        fp32_below: Stages of smaller sides compute in fp32 even within autocast, as in the released configurations of
            StyleGAN2-ADA (Karras et al., 2020, arXiv:2006.06676). 0 leaves all stages to autocast.
        recompute: Whether, in training, autograd keeps a stage's inputs alone, and the backward pass computes the stage
            again (Chen et al., 2016, arXiv:1604.06174).
    """

    fp32_below = 0
    recompute = False

    def stage(self, side: int, layers: Sequence[nn.Module], *inputs: Tensor) -> Tensor:
        """Pass maps through layers that follow each other.

        Args:
            side: Of the largest maps in the stage.
            layers: The first takes all inputs.
            inputs: Maps [n, c, h, w] or features [n, c], and further inputs.

        Returns:
            Maps or features.
        """

        def forward(*inputs: Tensor) -> Tensor:
            x: Tensor = layers[0](*inputs)
            for layer in layers[1:]:
                x = layer(x)
            return x

        full = side < self.fp32_below
        if full:
            inputs = tuple(x.float() for x in inputs)
        with torch.autocast(inputs[0].device.type, enabled=False) if full else nullcontext():
            if not (self.recompute and self.training and torch.is_grad_enabled()):
                return forward(*inputs)
            contexts = (nullcontext(), _AsNow(layers))
            options: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}
            recomputed: Tensor = checkpoint(forward, *inputs, context_fn=lambda: contexts, **options)
            return recomputed


class StagedSequence(Staged, nn.Sequential):
    """Layers that follow each other.

    Args:
        stages: The side of the largest maps of each stage, and its layers.
    """

    def __init__(self, *stages: tuple[int, Sequence[nn.Module]]) -> None:
        super().__init__(*(layer for _, layers in stages for layer in layers))
        self.plan = [(side, len(layers)) for side, layers in stages]

    def forward(self, x: Tensor) -> Tensor:
        """Maps [n, c, h, w] or features [n, c] to others."""
        for side, layers in self.stages():
            x = self.stage(side, layers, x)
        return x

    def stages(self) -> Iterator[tuple[int, list[nn.Module]]]:
        """The side and the layers of each stage."""
        layers = iter(self)
        for side, count in self.plan:
            yield side, list(islice(layers, count))

    def layers_in_fp32(self) -> set[nn.Module]:
        """The modules of the stages that are below `fp32_below`."""
        return {
            module
            for side, layers in self.stages()
            if side < self.fp32_below
            for layer in layers
            for module in layer.modules()
        }


class _AsNow:
    """A context, to be entered any number of times, in which layers compute what they would now and batch norms record
    their statistics into copies.

    Until the backward pass a model may change its layers' attributes: modes, rows of a lot, classes.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self.modules = [module for layer in layers for module in layer.modules()]
        self.attributes = [_attributes(module) for module in self.modules]
        self.norms = [module for module in self.modules if isinstance(module, _BatchNorm)]

    def __enter__(self) -> None:
        self.before = [_attributes(module) for module in self.modules]
        self.buffers = [dict(norm._buffers) for norm in self.norms]
        self._set(self.attributes)
        for norm, buffers in zip(self.norms, self.buffers, strict=True):
            norm._buffers.update(
                {name: buffer if buffer is None else buffer.clone() for name, buffer in buffers.items()}
            )

    def __exit__(self, *exception: object) -> None:
        self._set(self.before)
        for norm, buffers in zip(self.norms, self.buffers, strict=True):
            norm._buffers.update(buffers)

    def _set(self, attributes: Sequence[dict[str, object]]) -> None:
        for module, values in zip(self.modules, attributes, strict=True):
            vars(module).update(values)


def _attributes(module: nn.Module) -> dict[str, object]:
    """A module's own attributes, without parameters, buffers and submodules."""
    return {name: value for name, value in vars(module).items() if not name.startswith("_")}
