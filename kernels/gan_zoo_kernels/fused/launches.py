"""Launching a kernel: on its tensors' device, counted, with the options that all kernels share, and cheaply.

Triton's `kernel[grid](...)` inspects every argument and option of a call to find the compiled variant that fits, which
costs the host several times what the launch itself does. That variant is kept here, under a key at least as fine as
Triton's own, and later calls of the same key launch it without the search.
"""

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
_variants: dict[tuple[Any, ...], Any] = {}  # compiled kernels, by `_key`
_WARP_SIZE = 64 if torch.version.hip else 32
_KEEPS_VARIANTS = torch.version.hip is None  # on AMD, Triton also distinguishes storages of 2 GiB and more


def launch(kernel: Any, programs: int, on: Tensor, *arguments: Any, **constants: Any) -> None:
    """Run `programs` programs of `kernel` on the device of `on`; nothing is waited for.

    `arguments` are tensors, ints and floats, in the kernel's order; `constants` its constexprs and compiler options.
    """
    if _plans:
        _plans[-1].launches.append(Launch(kernel, programs, arguments, {**OPTIONS, **constants}))
        return
    for names in _counts:
        names.append(kernel.__name__)
    device = on.get_device()  # -1 on a CPU
    if device >= 0 and device != torch.cuda.current_device():
        with torch.cuda.device(device):
            _launch(kernel, programs, device, arguments, constants)
    else:
        _launch(kernel, programs, device, arguments, constants)


def _launch(kernel: Any, programs: int, device: int, arguments: tuple[Any, ...], constants: dict[str, Any]) -> None:
    key, values = _key(kernel, device, arguments, constants)
    variant = _variants.get(key)
    if variant is not None:
        variant[(programs, 1, 1)](*values)
        return
    variant = kernel[(programs,)](*arguments, **{**OPTIONS, **constants})
    if variant is not None and _KEEPS_VARIANTS:  # the interpreter returns None
        _variants[key] = variant


def _key(
    kernel: Any, device: int, arguments: tuple[Any, ...], constants: dict[str, Any]
) -> tuple[tuple[Any, ...], list[Any]]:
    """All that Triton compiles a variant for, and the values that a compiled kernel is launched with.

    Triton compiles anew for a tensor's dtype and whether its address is a multiple of 16; for an int that is 1, a
    multiple of 16 or wider than 32 bits; for any other constant. A tensor is passed as its address, which spares the
    launcher a call back and a query of the driver. Constants hold a place in the list; their values are compiled in.
    """
    key: list[Any] = [kernel.fn, device, *constants, *constants.values()]
    values: list[Any] = []
    for argument in arguments:
        kind = type(argument)
        if kind is int:
            key.append((argument == 1, argument % 16 == 0, -(2**31) <= argument < 2**31))
            values.append(argument)
        elif kind is float:
            key.append(float)
            values.append(argument)
        else:
            address = argument.data_ptr()
            key.append(argument.dtype)
            key.append(address % 16 == 0)
            values.append(address)
    values.extend([None] * (len(kernel.arg_names) - len(arguments)))
    return tuple(key), values


def warp_size() -> int:
    """Threads of a warp: 32 on NVIDIA GPUs, 64 on AMD's data-centre ones."""
    if _plans:
        return _plans[-1].warp_size
    return _WARP_SIZE


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
