"""Launching a kernel: on its tensors' device, counted, and with the options that all kernels share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# A fused multiply-add rounds once where torch rounds twice: good for the losses, forbidden in the latents.
OPTIONS = {"num_stages": 1, "enable_fp_fusion": True}


@dataclass(frozen=True)
class Launch:
    """A kernel with everything it was, or would be, launched with."""

    kernel: Any
    programs: int
    arguments: tuple[Any, ...]
    options: dict[str, Any]


@dataclass
class _Plan:
    launches: list[Launch]
    warp_size: int


_counts: list[list[str]] = []
_plans: list[_Plan] = []


def launch(kernel: Any, programs: int, on: Tensor, *arguments: Any, **options: Any) -> None:
    """Run `programs` programs of `kernel` on the device of `on`; nothing is waited for."""
    options = {**OPTIONS, **options}
    if _plans:
        _plans[-1].launches.append(Launch(kernel, programs, arguments, options))
        return
    for names in _counts:
        names.append(kernel.__name__)
    if on.is_cuda and on.device.index != torch.cuda.current_device():
        with torch.cuda.device(on.device):
            kernel[(programs,)](*arguments, **options)
    else:
        kernel[(programs,)](*arguments, **options)


def warp_size() -> int:
    """Threads of a warp: 32 on NVIDIA GPUs, 64 on AMD's data-centre ones."""
    if _plans:
        return _plans[-1].warp_size
    return 64 if torch.version.hip else 32


@contextlib.contextmanager
def count_launches() -> Iterator[list[str]]:
    """The names of the kernels launched inside the block, in order."""
    names: list[str] = []
    _counts.append(names)
    try:
        yield names
    finally:
        _counts.pop()


@contextlib.contextmanager
def planned_launches(warp_size: int) -> Iterator[list[Launch]]:
    """The launches that the block would make on a device with such warps; none is made.

    Results inside the block are uninitialised memory. This is for compiling ahead of time: tensors on a CPU
    stand for those on the device.
    """
    plan = _Plan([], warp_size)
    _plans.append(plan)
    try:
        yield plan.launches
    finally:
        _plans.pop()
