"""The Triton kernels, one file each: device code, launcher, autograd. Their modules import triton."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import (
        adam,
        batch_norm,
        binary_cross_entropy,
        consistency,
        cross_entropy,
        gaussian_nll,
        information,
        q_head_nll,
        random_warp,
        sample_latents,
    )

__all__ = [
    "adam",
    "batch_norm",
    "binary_cross_entropy",
    "consistency",
    "cross_entropy",
    "gaussian_nll",
    "information",
    "q_head_nll",
    "random_warp",
    "sample_latents",
]


def __getattr__(name: str) -> Any:
    """Import a kernel's module, and triton with it, where it is first used; from then on it is an attribute."""
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
