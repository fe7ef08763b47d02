"""Number formats and devices: weights and losses in fp32, autocast in between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Literal

import torch
from gan_zoo_kernels import Choice, implementation_for
from torch import nn

from gan_zoo.config import Training
from gan_zoo.errors import InputError, quoted
from gan_zoo.training.ranks import local_rank

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """Autocast and, for fp16, a gradient scaler.

    Args:
        name: fp32, bf16 or fp16.
        device: The model's.
    """

    def __init__(self, name: Literal["fp32", "bf16", "fp16"], device: torch.device) -> None:
        self.name = name
        self.device = device
        self.dtype = _DTYPES[name]
        self.scaler = torch.amp.GradScaler(device.type, enabled=name == "fp16")

    def autocast(self, *, penalised: bool = False) -> AbstractContextManager[object]:
        """The context of a forward pass.

        Args:
            penalised: Whether the pass is differentiated twice. Gradients of single pixels exceed the range of fp16,
                where such a pass is computed in fp32; bf16 has the range.
        """
        enabled = self.name != "fp32" and not (penalised and self.name == "fp16")
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=enabled)


def pick_precision(
    name: Literal["auto", "fp32", "bf16", "fp16"], device: torch.device
) -> Literal["fp32", "bf16", "fp16"]:
    """The precision `name`; `auto` is bf16 on a device with instructions for it, else fp32.

    A CPU without them emulates bf16, many times slower than fp32.
    """
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    supports = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "bf16" if device.type == "cpu" and (supports.get("amx_bf16") or supports.get("avx512_bf16")) else "fp32"


def pick_device(name: str, option: str = "--device") -> torch.device:
    """The device `name`; `cuda` is this rank's CUDA device, and `auto` the same if there is one, else the CPU.

    Raises:
        InputError: If the machine has no such device; the message begins with `option`, which names it.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{local_rank()}"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        here = ["cpu", *(f"cuda:{k}" for k in range(torch.cuda.device_count()))]
        usable = ", ".join(["auto", *here])
        raise InputError(f"{option} {quoted(name)!r}: not available on this machine; available: {usable}") from None
    if device.type == "meta":
        raise InputError(f"{option} 'meta': a meta device stores no values; choose another")
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # new streams and events belong to the current device
    return device


def stores_pixel_by_pixel(model: nn.Module, settings: Training, device: torch.device) -> bool:
    """Whether feature maps of `model` are stored channels-last (NHWC), by the setting `channels_last`."""
    if settings.channels_last != "auto":
        return settings.channels_last == "on"
    half = pick_precision(settings.precision, device) != "fp32"
    return device.type == "cuda" and half and any(isinstance(layer, nn.Conv2d) for layer in model.modules())


@contextmanager
def as_started() -> Iterator[None]:
    """A context with torch's defaults, whatever the calling program has set: gradients are recorded, new tensors are
    fp32 on the CPU, and autocast is off.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        torch.set_default_dtype(torch.float32)
        if torch.get_default_device().type != "cpu":  # only then: it makes every operation slower
            stack.enter_context(torch.device("cpu"))
        yield


@contextmanager
def tuned(settings: Training, device: torch.device) -> Iterator[None]:
    """A context with torch's process-wide options as `settings` want them.

    On CUDA convolution algorithms are chosen by timing, and fp32 products use TF32 or not. A simultaneous step
    differentiates compiled losses twice, which donated buffers do not allow.
    """
    with ExitStack() as stack:
        if settings.compile and settings.update == "simultaneous":
            stack.enter_context(torch._functorch.config.patch(donated_buffer=False))
        if device.type == "cuda":
            for module, attribute, value in (
                (torch.backends.cudnn, "benchmark", True),
                (torch.backends.cudnn, "allow_tf32", settings.tf32),
                (torch.backends.cuda.matmul, "allow_tf32", settings.tf32),
            ):
                stack.callback(setattr, module, attribute, getattr(module, attribute))
                setattr(module, attribute, value)
        yield


def kernel_path(device: torch.device) -> Choice:
    """The implementation of the kernels on `device`, and why.

    Raises:
        InputError: If GAN_ZOO_KERNELS is unknown or unavailable here.
    """
    try:
        return implementation_for(device)
    except (ValueError, RuntimeError) as error:
        raise InputError(str(error)) from None
