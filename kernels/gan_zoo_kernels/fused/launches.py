"""Launching a kernel: on its tensors' device, counted, and with the options that all kernels share."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

_counts: list[list[str]] = []

# A fused multiply-add rounds once where torch rounds twice: good for the losses, forbidden in the latents.
OPTIONS = {"num_stages": 1, "enable_fp_fusion": True}


def launch(kernel: Any, programs: int, on: Tensor, *arguments: Any, **options: Any) -> None:
    """Run `programs` programs of `kernel` on the device of `on`; nothing is waited for."""
    for names in _counts:
        names.append(kernel.__name__)
    options = {**OPTIONS, **options}
    if on.is_cuda and on.device.index != torch.cuda.current_device():
        with torch.cuda.device(on.device):
            kernel[(programs,)](*arguments, **options)
    else:
        kernel[(programs,)](*arguments, **options)


@contextlib.contextmanager
def count_launches() -> Iterator[list[str]]:
    """The names of the kernels launched inside the block, in order, for tests."""
    names: list[str] = []
    _counts.append(names)
    try:
        yield names
    finally:
        _counts.remove(names)


@functools.cache
def warp_size() -> int:
    """Threads of a warp: 32 on NVIDIA GPUs, 64 on AMD's data-centre ones."""
    return 64 if torch.version.hip else 32
