"""Which implementation a call takes, and why."""

from __future__ import annotations

import functools
import importlib.util
import os
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from .fused.tiles import MAX_COLUMNS

Implementation = Literal["auto", "reference", "triton"]
IMPLEMENTATIONS: tuple[str, ...] = get_args(Implementation)
ENVIRONMENT_VARIABLE = "GAN_ZOO_KERNELS"
TRITON_IS_INSTALLED = importlib.util.find_spec("triton") is not None  # found, not imported
MIN_CAPABILITY = (8, 0)  # the oldest NVIDIA architecture the kernels are compiled for in the tests


@dataclass(frozen=True)
class Choice:
    """The path a call takes ("reference" or "triton") and the reason, as a clause for a report."""

    path: Literal["reference", "triton"]
    reason: str


def implementation_for(
    device: torch.device | str,
    implementation: Implementation | None = None,
    *,
    dtype: torch.dtype | None = None,
    columns: int = 1,
) -> Choice:
    """The path that a call with tensors on `device` would take, and why.

    `implementation` is the argument of the call; None means the environment variable GAN_ZOO_KERNELS, and
    "auto" where that is unset. `dtype` is the widest floating-point dtype among the inputs, if known, and
    `columns` the largest number of classes.

    Raises ValueError for an unknown name, RuntimeError where "triton" is asked for and cannot run.
    """
    if not isinstance(device, torch.device):
        device = torch.device(device)
    environment = os.environ.get(ENVIRONMENT_VARIABLE) if implementation is None else None
    interpreted = device.type == "cpu" and interpreting()
    choose = _choose if torch.compiler.is_compiling() else choose_once  # a compiler cannot trace the cache
    return choose(device, implementation, environment, interpreted, dtype, columns)


def _choose(
    device: torch.device,
    implementation: Implementation | None,
    environment: str | None,
    interpreted: bool,
    dtype: torch.dtype | None,
    columns: int,
) -> Choice:
    """`implementation_for`, with everything that decides it as an argument, so that the answer can be cached."""
    wanted: str | None = implementation
    asked_by = f"implementation={implementation!r}"
    if implementation is None:
        wanted = environment or "auto"
        asked_by = f"{ENVIRONMENT_VARIABLE}={wanted}"
    if wanted not in IMPLEMENTATIONS:
        raise ValueError(f"{asked_by}: implementation must be one of {', '.join(IMPLEMENTATIONS)}")
    if wanted == "reference":
        return Choice("reference", f"{asked_by} selects it")
    obstacle = _obstacle(device, interpreted, dtype, columns)
    if wanted == "triton":
        if obstacle:
            raise RuntimeError(f"{asked_by} requires the Triton kernels, but {obstacle}")
        return Choice("triton", f"{asked_by} selects it")
    if obstacle:
        return Choice("reference", obstacle)
    if device.type == "cpu":
        return Choice("reference", "plain torch is the path on a CPU")
    properties = torch.cuda.get_device_properties(device)
    if torch.version.hip is None and (properties.major, properties.minor) < MIN_CAPABILITY:
        have, need = f"{properties.major}.{properties.minor}", ".".join(map(str, MIN_CAPABILITY))
        return Choice("reference", f"compute capability {have} is older than {need}")
    return Choice("triton", f"triton is installed and the tensors are on {device}")


choose_once = functools.lru_cache(maxsize=256)(_choose)


def interpreting() -> bool:
    """Whether Triton's interpreter is switched on, with which the kernels run on a CPU."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes", "y")


def _obstacle(device: torch.device, interpreted: bool, dtype: torch.dtype | None, columns: int) -> str:
    """Why the kernels cannot run at all; empty if they can."""
    if not TRITON_IS_INSTALLED:
        return "triton is not installed"
    if dtype == torch.float64:
        return "the kernels compute in float32 and a tensor is float64"
    if columns > MAX_COLUMNS:
        return f"{columns} classes exceed the kernels' limit of {MAX_COLUMNS}"
    if device.type == "cuda" or interpreted:
        return ""
    if device.type == "cpu":
        return "the tensors are on a CPU (TRITON_INTERPRET=1 interprets the kernels there)"
    return f"there is no kernel for a {device.type} device"
