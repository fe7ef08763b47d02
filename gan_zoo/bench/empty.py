"""A Triton kernel that does nothing: what a launch costs by itself."""

from __future__ import annotations

import triton
from torch import Tensor


@triton.jit
def _empty(pointer):  # device code is untyped
    pass


def launch_empty(tensor: Tensor) -> None:
    """Launch one program of it, with one argument."""
    _empty[(1,)](tensor)
