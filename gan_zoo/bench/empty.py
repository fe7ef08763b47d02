"""A Triton kernel that does nothing, to measure the cost of a launch."""

from __future__ import annotations

import triton
from torch import Tensor


@triton.jit
def _empty(pointer):  # device code is untyped
    pass


def launch_empty(tensor: Tensor) -> None:
    """Launch one program of the empty kernel, with one argument."""
    _empty[(1,)](tensor)
