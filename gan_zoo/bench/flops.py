"""The FLOPs of a step, as torch counts them, with grouped convolutions counted right."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count


def flop_counter() -> FlopCounterMode:
    """torch's counter, which by itself counts the weight gradient of a grouped convolution as if it had one group."""
    return FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.convolution_backward: convolution_backward_flops}
    )


def convolution_backward_flops(
    grad_out_shape: list[int], x_shape: list[int], w_shape: list[int], *rest: Any, **_: Any
) -> int:
    """The gradients of input and weight cost as much as the forward pass, each; that of the bias is not counted."""
    transposed, output_mask = rest[4], rest[7]
    forward: int = conv_flop_count(x_shape, w_shape, grad_out_shape, transposed)
    gradients: int = output_mask[0] + output_mask[1]
    return forward * gradients
