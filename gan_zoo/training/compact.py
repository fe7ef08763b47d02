"""Weights in fewer bits than fp32, for exported models; they are read as fp32 again.

In `int8` every matrix is rounded to 255 levels with a scale for each of its rows, the row's largest value / 127
(absmax quantisation; Dettmers et al., 2022, arXiv:2208.07339, section 2.1), and all else is fp16. Scales are bf16, so
that 127 times a scale is exact, and tensors that were read are stored as the same bytes again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from gan_zoo.errors import InputError

Precision = Literal["fp32", "fp16", "int8"]
LEVELS = 127
SMALLEST = 2.0**-100
"""The scale of a row of zeros."""
SCALE = ".scale"
"""After a tensor's name, the name of the scales of its rows."""


def compact(tensors: Mapping[str, Tensor], precision: Precision) -> dict[str, Tensor]:
    """Tensors in fewer bits, by name; integers, and values that fp16 cannot represent, stay as they are."""
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        if precision == "fp32" or not tensor.is_floating_point():
            stored[name] = tensor
        elif precision == "int8" and tensor.ndim > 1:
            rows = tensor.float().flatten(1)
            scale = (rows.abs().amax(1) / LEVELS).clamp(min=SMALLEST).bfloat16()
            stored[name] = (rows / scale.float()[:, None]).round().to(torch.int8).reshape(tensor.shape)
            stored[name + SCALE] = scale
        else:
            half = tensor.half()
            stored[name] = half if half.isfinite().all() else tensor
    return stored


def expand(stored: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """The tensors that `compact` stored, those of int8 as fp32.

    Raises:
        InputError: If one has no scales, or they do not fit it; the message begins with `where`.
    """
    tensors = dict(stored)
    for name in [name for name, tensor in stored.items() if tensor.dtype == torch.int8]:
        scale = tensors.pop(name + SCALE, None)
        rows = stored[name]
        if scale is None or not scale.is_floating_point() or scale.shape != rows.shape[:1] or rows.ndim < 2:
            raise InputError(f"{where}: {name} is int8 and requires a scale for each of its rows in {name}{SCALE}")
        tensors[name] = (rows.flatten(1) * scale.float()[:, None]).reshape(rows.shape)
    return tensors
