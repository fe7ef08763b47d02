"""What the columns of a Q head's output and of a generator's input mean, written in one line.

"categorical:10|gaussian:2x2" describes the parameters of Q(c | x) for a code of ten classes and two Gaussian ones with
a learned variance; "noise(normal):62|categorical:10|uniform:1x2" the latents that they are compared with.
No torch here.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, field
from typing import NamedTuple

LOG_VAR_MIN = -8.0
LOG_VAR_MAX = 8.0
MAX_CLASSES = 2**24  # a class index is stored as a float32, which is exact up to here

KINDS = ("categorical", "uniform", "gaussian", "bernoulli")
CATEGORICAL, UNIFORM, GAUSSIAN, BERNOULLI = range(4)  # a group's `kind`, in device code too

GRAMMAR = (
    "accepted, separated by '|', each with an optional xCOUNT: noise(normal):N or noise(uniform):N (first), "
    "categorical:K, gaussian:1, gaussian:2 (mean, log-variance), uniform(LOW,HIGH):1, bernoulli(P):1"
)
_TERM = re.compile(r"([a-z]+)(?:\(([^()]*)\))?:([0-9]{1,9})(?:x([1-9][0-9]{0,8}))?", re.ASCII)


class CodeGroup(NamedTuple):
    """`length` equal codes side by side; device code reads the fields by their positions (`fused.codes`)."""

    kind: int
    size: int  # columns of each code: K of a categorical one
    low: float  # a uniform code is low + u · span, u uniform in [0, 1)
    span: float
    ones: int  # how many of 2**24 equally likely draws make a Bernoulli code 1
    length: int
    first_code: int
    first_column: int
    first_class: int  # counted over the classes of all categorical codes

    @property
    def columns(self) -> slice:
        """The columns of all codes of the group."""
        return slice(self.first_column, self.first_column + self.length * self.size)

    @property
    def codes(self) -> slice:
        """The codes of the group, counted over the layout."""
        return slice(self.first_code, self.first_code + self.length)


@dataclass(frozen=True)
class Layout:
    """Noise and codes in consecutive columns, in the order of `spec`.

    A term `kind:columns` is one code, `kind:columnsxcount` so many equal ones; a number of columns means the same for
    every kind. Of Q, `categorical:K` has K logits, `gaussian:2` a mean and a log-variance, `gaussian:1` a mean (the
    variance is 1), `bernoulli:1` a logit. Of latents, `noise(normal):N` and `noise(uniform):N` are N columns of N(0, 1)
    or of uniform(-1, 1), `categorical:K` is one-hot, and `uniform(low,high):1` (default -1, 1), `gaussian:1` and
    `bernoulli(p):1` (default 0.5) are the value.

    Args:
        spec: The terms, separated by "|".
        log_var_min, log_var_max: A learned log-variance is clamped to them; outside its gradient is 0.

    Attributes:
        noise: Columns of noise, before those of the codes; `normal`: whether they are N(0, 1).
        groups: The codes, equal neighbours together: ten categorical codes in a row are one group.
        columns: The columns of each code.
        width: All columns.
        most_classes: The largest K of a categorical code; 1 if there is none.
        is_posterior, is_prior: Whether `q_head_nll` or `sample_latents` takes it.

    Raises: ValueError for a term outside the grammar, or numbers out of range.
    """

    spec: str
    log_var_min: float = LOG_VAR_MIN
    log_var_max: float = LOG_VAR_MAX
    noise: int = field(init=False, repr=False, compare=False)
    normal: bool = field(init=False, repr=False, compare=False)
    groups: tuple[CodeGroup, ...] = field(init=False, repr=False, compare=False)
    columns: tuple[slice, ...] = field(init=False, repr=False, compare=False)
    width: int = field(init=False, repr=False, compare=False)
    most_classes: int = field(init=False, repr=False, compare=False)
    is_posterior: bool = field(init=False, repr=False, compare=False)
    is_prior: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_log_var_bounds(self.log_var_min, self.log_var_max)
        noise, normal, groups = self._parse()
        columns = tuple(
            slice(start, start + group.size)
            for group in groups
            for start in range(group.columns.start, group.columns.stop, group.size)
        )
        kinds = {group.kind for group in groups}
        facts = {
            "noise": noise,
            "normal": normal,
            "groups": groups,
            "columns": columns,
            "width": columns[-1].stop if columns else noise,
            "most_classes": max((group.size for group in groups if group.kind == CATEGORICAL), default=1),
            "is_posterior": bool(groups) and noise == 0 and UNIFORM not in kinds,
            "is_prior": not any(group.kind == GAUSSIAN and group.size == 2 for group in groups),
        }
        if not facts["width"]:
            raise ValueError(f"layout {self.spec!r} has no columns; {GRAMMAR}")
        for name, value in facts.items():
            object.__setattr__(self, name, value)

    def _parse(self) -> tuple[int, bool, tuple[CodeGroup, ...]]:
        noise, normal = 0, True
        groups: list[CodeGroup] = []
        codes = classes = 0
        for position, term in enumerate(self.spec.split("|")):
            match = _TERM.fullmatch(term)
            if not match:
                raise ValueError(f"layout {self.spec!r}: cannot read {term!r}; {GRAMMAR}")
            kind, arguments, columns, count = match[1], match[2], int(match[3]), int(match[4] or 1)
            if kind == "noise" and position == 0 and arguments in ("normal", "uniform"):
                noise, normal = columns * count, arguments == "normal"
                continue
            try:
                code = _code(kind, columns, arguments)
            except ValueError as error:
                raise ValueError(f"layout {self.spec!r}: {term!r}: {error}") from None
            first_column = groups[-1].columns.stop if groups else noise
            if groups and groups[-1][:5] == code:
                groups[-1] = groups[-1]._replace(length=groups[-1].length + count)
            else:
                groups.append(CodeGroup(*code, count, codes, first_column, classes))
            codes += count
            classes += columns * count if kind == "categorical" else 0
        return noise, normal, tuple(groups)


def _code(kind: str, columns: int, arguments: str | None) -> tuple[int, int, float, float, int]:
    """The first five fields of a group."""
    defaults = {"uniform": (-1.0, 1.0), "bernoulli": (0.5,)}.get(kind, ())
    if kind not in KINDS or (arguments is not None and arguments.count(",") + 1 != len(defaults)):
        raise ValueError(GRAMMAR)
    numbers = tuple(map(float, arguments.split(","))) if arguments is not None else defaults
    least, most = {"categorical": (2, MAX_CLASSES), "gaussian": (1, 2)}.get(kind, (1, 1))
    if not least <= columns <= most:
        accepted = f"{least} to {most} columns" if most > 1 else "1 column"
        raise ValueError(f"a {kind} code must have {accepted}, not {columns}")
    low, span, ones = 0.0, 0.0, 0
    if kind == "uniform":
        low, high = numbers
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError("a uniform code must have finite low < high")
        span = high - low
    if kind == "bernoulli":
        (probability,) = numbers
        if not 0.0 <= probability <= 1.0:
            raise ValueError("a probability must lie in [0, 1]")
        ones = round(probability * 2**24)
    return KINDS.index(kind), columns, low, span, ones


parse_layout = functools.lru_cache(maxsize=256)(Layout)
"""A layout by the arguments with which an operator receives it."""


def check_log_var_bounds(low: float, high: float) -> None:
    """Refuse bounds of a log-variance that are out of order or whose exponential is not a float32."""
    if not -80.0 <= low < high <= 80.0:
        raise ValueError(f"log_var_min and log_var_max must satisfy -80 ≤ min < max ≤ 80, not {low} and {high}")
