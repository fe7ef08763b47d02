"""How a kernel finds out what the columns of a code mean: by comparing its index with the groups of the layout.

The groups are constants of the compiled kernel. A table in device memory would cost a dependent load before anything
else, and a copy to the device that a captured graph forbids.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from .. import layout
from ..layout import CodeGroup

CATEGORICAL, UNIFORM, GAUSSIAN, BERNOULLI = (tl.constexpr(kind) for kind in range(len(layout.KINDS)))
KIND, SIZE, LOW, SPAN, ONES, LENGTH, FIRST_CODE, FIRST_COLUMN, FIRST_CLASS = (
    tl.constexpr(position) for position in range(len(CodeGroup._fields))
)


@triton.constexpr_function
def has(groups: Any, *kinds: int) -> bool:
    """Whether there is a code of one of these kinds; what only others need is not compiled."""
    return any(group[0] == kind for group in groups for kind in kinds)


@triton.constexpr_function
def has_learned_variance(groups: Any) -> bool:
    """Whether there is a Gaussian code with a mean and a log-variance."""
    return any(group[0] == layout.GAUSSIAN and group[1] == 2 for group in groups)


@triton.constexpr_function
def has_constant_variance(groups: Any) -> bool:
    """Whether there is a Gaussian code with a mean alone."""
    return any(group[0] == layout.GAUSSIAN and group[1] == 1 for group in groups)


@triton.jit
def is_class(c, classes):
    """Whether a target is a class index; losses and gradients of others are NaN."""
    return (c >= 0) & (c < classes) & (c == tl.floor(c))


@triton.jit
def of_group(code, GROUPS: tl.constexpr, FIELD: tl.constexpr):
    """A field of the group that a code belongs to."""
    value = GROUPS[0][FIELD]
    for i in tl.static_range(1, len(GROUPS)):
        value = tl.where(code >= GROUPS[i][FIRST_CODE], GROUPS[i][FIELD], value)
    return value


@triton.jit
def find_code(code, GROUPS: tl.constexpr):
    """(kind, number of columns, first column) of a code."""
    size = of_group(code, GROUPS, SIZE)
    column = of_group(code, GROUPS, FIRST_COLUMN) + (code - of_group(code, GROUPS, FIRST_CODE)) * size
    return of_group(code, GROUPS, KIND), size, column
