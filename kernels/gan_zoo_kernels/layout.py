"""What the columns of a Q head's output and of a generator's input mean.

`Layout` describes the parameters of Q(c | x), `PriorLayout` the latents they are compared with. Both are
immutable and hashable, import nothing heavy, and are checked when they are made, so that the code that
reads them can trust them.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from typing import Literal, get_args

LOG_VAR_MIN = -8.0
LOG_VAR_MAX = 8.0
MAX_CLASSES = 2**24  # a class index is stored as a float32, which is exact up to here


class Kind(enum.IntEnum):
    """The family of Q(c_i | x) for one code."""

    CATEGORICAL = 0  # K logits
    GAUSSIAN = 1  # mean, log-variance
    GAUSSIAN_FIXED = 2  # mean; the variance is 1
    BERNOULLI = 3  # one logit


_COLUMNS = {Kind.GAUSSIAN: 2, Kind.GAUSSIAN_FIXED: 1, Kind.BERNOULLI: 1}


@dataclass(frozen=True)
class Segment:
    """One code: columns `start : start + size` of the parameters are of family `kind`."""

    kind: Kind
    start: int
    size: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", Kind(self.kind))
        if self.start < 0:
            raise ValueError(f"a segment starts at column 0 or later, not at {self.start}")
        if self.kind is Kind.CATEGORICAL:
            if not 2 <= self.size <= MAX_CLASSES:
                raise ValueError(f"a categorical code has 2 to {MAX_CLASSES} classes, not {self.size}")
        elif self.size != _COLUMNS[self.kind]:
            name = self.kind.name.lower()
            raise ValueError(f"a {name} code has {_COLUMNS[self.kind]} column(s), not {self.size}")


@dataclass(frozen=True)
class Run:
    """`count` neighbouring codes of one kind and size whose columns follow each other without a gap."""

    kind: Kind
    size: int
    count: int
    first_code: int
    first_column: int


@dataclass(frozen=True)
class Layout:
    """All codes of a Q head: the segments cover columns 0 … width - 1, each exactly once, in any order.

    A learned log-variance is held between `log_var_min` and `log_var_max`; outside them its gradient is 0.
    Derived: `width` is P, the parameters of Q(c | x) for one image; `most_classes` the largest K of a
    categorical code, 1 if there is none; `runs` the segments with equal neighbours gathered; `numbers` the kind, start
    and size of each segment, one after another.
    """

    segments: tuple[Segment, ...]
    log_var_min: float = LOG_VAR_MIN
    log_var_max: float = LOG_VAR_MAX
    width: int = field(init=False, repr=False, compare=False)
    most_classes: int = field(init=False, repr=False, compare=False)
    runs: tuple[Run, ...] = field(init=False, repr=False, compare=False)
    numbers: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "segments", tuple(self.segments))
        if not self.segments:
            raise ValueError("a layout has at least one code")
        check_log_var_bounds(self.log_var_min, self.log_var_max)
        column = 0
        for segment in sorted(self.segments, key=lambda s: s.start):
            if segment.start != column:
                what = "overlap" if segment.start < column else "leave a gap"
                raise ValueError(
                    f"the segments {what}: expected one to start at column {column}, found {segment.start}"
                )
            column += segment.size
        categorical = [segment.size for segment in self.segments if segment.kind is Kind.CATEGORICAL]
        object.__setattr__(self, "width", column)
        object.__setattr__(self, "most_classes", max(categorical, default=1))
        object.__setattr__(self, "runs", self._gather())
        numbers = tuple(int(n) for s in self.segments for n in (s.kind, s.start, s.size))
        object.__setattr__(self, "numbers", numbers)

    @classmethod
    def of(
        cls,
        *codes: tuple[str, int],
        log_var_min: float = LOG_VAR_MIN,
        log_var_max: float = LOG_VAR_MAX,
    ) -> Layout:
        """Codes in consecutive columns, each `(name of the kind in lower case, number)`.

        The number is K for a categorical code. For the other kinds it is how many such codes follow each
        other: `Layout.of(("categorical", 10), ("gaussian", 2))` has three codes in 10 + 2 + 2 columns.
        """
        segments: list[Segment] = []
        column = 0
        for name, number in codes:
            try:
                kind = Kind[name.upper()]
            except KeyError:
                accepted = ", ".join(k.name.lower() for k in Kind)
                raise ValueError(f"unknown kind of code {name!r}: it is one of {accepted}") from None
            if number < 1:
                raise ValueError(f"the number of a {name} code is at least 1, not {number}")
            sizes = [number] if kind is Kind.CATEGORICAL else [_COLUMNS[kind]] * number
            for size in sizes:
                segments.append(Segment(kind, column, size))
                column += size
        return cls(tuple(segments), log_var_min, log_var_max)

    def _gather(self) -> tuple[Run, ...]:
        """Ten categorical codes in a row are one run."""
        runs: list[Run] = []
        for code, segment in enumerate(self.segments):
            if runs:
                last = runs[-1]
                end = last.first_column + last.count * last.size
                if (last.kind, last.size, end) == (segment.kind, segment.size, segment.start):
                    runs[-1] = Run(last.kind, last.size, last.count + 1, last.first_code, last.first_column)
                    continue
            runs.append(Run(segment.kind, segment.size, 1, code, segment.start))
        return tuple(runs)


CodeKind = Literal["categorical", "uniform", "gaussian", "bernoulli"]
CODE_KINDS: tuple[CodeKind, ...] = get_args(CodeKind)


@dataclass(frozen=True)
class PriorCode:
    """P(c_i): categorical over `size` classes, uniform(low, high), N(0, 1) or Bernoulli(probability)."""

    kind: CodeKind
    size: int = 1
    low: float = -1.0
    high: float = 1.0
    probability: float = 0.5

    def __post_init__(self) -> None:
        if self.kind not in CODE_KINDS:
            raise ValueError(
                f"unknown kind of code {self.kind!r}: it is one of categorical, uniform, gaussian, bernoulli"
            )
        if self.kind == "categorical":
            if not 2 <= self.size <= MAX_CLASSES:
                raise ValueError(f"a categorical code has 2 to {MAX_CLASSES} classes, not {self.size}")
        elif self.size != 1:
            raise ValueError(f"a {self.kind} code is one column wide, not {self.size}")
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"a uniform code needs finite low < high, not {self.low} and {self.high}")
        if not 0.0 <= self.probability <= 1.0:
            raise ValueError(f"a probability lies in [0, 1], not {self.probability}")

    @property
    def width(self) -> int:
        """Columns of the generator's input: K (one-hot) for a categorical code, else 1."""
        return self.size


@dataclass(frozen=True)
class PriorLayout:
    """The generator's input: `noise` columns of noise, then the codes in their order.

    `distribution` is that of the noise: "normal" is N(0, 1), "uniform" is uniform(-1, 1). Derived: `width` is
    the number of columns, `most_classes` and `runs` are as in `Layout`, and `numbers` is the layout taken apart: what
    the noise is and the codes' sizes, three floats for each code, and the index of its kind.
    """

    noise: int
    distribution: Literal["normal", "uniform"] = "normal"
    codes: tuple[PriorCode, ...] = ()
    width: int = field(init=False, repr=False, compare=False)
    most_classes: int = field(init=False, repr=False, compare=False)
    runs: tuple[PriorRun, ...] = field(init=False, repr=False, compare=False)
    numbers: tuple[tuple[int, ...], tuple[float, ...], tuple[int, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "codes", tuple(self.codes))
        if self.noise < 0:
            raise ValueError(f"the number of noise columns is at least 0, not {self.noise}")
        if self.distribution not in ("normal", "uniform"):
            raise ValueError(f"noise is 'normal' or 'uniform', not {self.distribution!r}")
        width = self.noise + sum(code.width for code in self.codes)
        if width == 0:
            raise ValueError("a prior has at least one column: noise, or a code")
        object.__setattr__(self, "width", width)
        object.__setattr__(self, "most_classes", max((code.size for code in self.codes), default=1))
        object.__setattr__(self, "runs", self._gather())
        integers = (self.noise, int(self.distribution == "normal"), *(code.size for code in self.codes))
        floats = tuple(float(x) for code in self.codes for x in (code.low, code.high, code.probability))
        kinds = tuple(CODE_KINDS.index(code.kind) for code in self.codes)
        object.__setattr__(self, "numbers", (integers, floats, kinds))

    def _gather(self) -> tuple[PriorRun, ...]:
        runs: list[PriorRun] = []
        column = self.noise
        for index, code in enumerate(self.codes):
            if runs and runs[-1].code == code:
                last = runs[-1]
                runs[-1] = PriorRun(code, last.count + 1, last.first_code, last.first_column)
            else:
                runs.append(PriorRun(code, 1, index, column))
            column += code.width
        return tuple(runs)


@dataclass(frozen=True)
class PriorRun:
    """`count` equal codes that follow each other."""

    code: PriorCode
    count: int
    first_code: int
    first_column: int


def check_log_var_bounds(low: float, high: float) -> None:
    """Refuse bounds of a log-variance that are out of order or whose exponential is not a float32."""
    if not -80.0 <= low < high <= 80.0:
        raise ValueError(f"the log-variance needs bounds -80 ≤ min < max ≤ 80, not {low} and {high}")
