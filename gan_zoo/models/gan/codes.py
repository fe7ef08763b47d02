"""Latent codes: a product of named distributions, written in a line such as `categorical:10, uniform:2`.

The same specification drives sampling, the Q head, the information term, traversals and encoding. No torch here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from gan_zoo.config import Data
from gan_zoo.errors import InputError, cut

Kind = Literal["categorical", "uniform", "gaussian", "bernoulli"]

GRAMMAR = (
    "accepted, separated by commas: categorical:K or categorical:KxN (N codes of K classes), uniform:N, gaussian:N, "
    "bernoulli:N or bernoulli(p):N; each may end with @WEIGHT, its λ"
)
LABEL = "label"
"""The name of the code that stands for the data's labels."""
MOST_CLASSES = 4096
MOST_CODES = 4096
MOST_COLUMNS = 65536

_TERM = re.compile(
    r"(?P<kind>[a-z]+)(\((?P<p>[0-9.eE+-]+)\))?:(?P<first>[0-9]{1,9})(x(?P<second>[0-9]{1,9}))?"
    r"(@(?P<weight>[0-9.eE+-]+))?",
    re.ASCII,
)


@dataclass(frozen=True)
class Code:
    """One latent code.

    Attributes:
        name: How the code is called in metrics, pictures and arguments: `c1`, `c2`, …
        kind: categorical, uniform in (-1, 1), standard gaussian, or bernoulli.
        classes: K of a categorical code; 1 for the others.
        probability: P(c = 1) of a bernoulli code.
        weight: λ of this code; None: the model's λ for codes of its kind.
        conditions: Whether both networks are conditioned on it; only a label, which is the last code.
    """

    name: str
    kind: Kind
    classes: int = 1
    probability: float = 0.5
    weight: float | None = None
    conditions: bool = False

    @property
    def discrete(self) -> bool:
        """Whether the code takes one of finitely many values."""
        return self.kind in ("categorical", "bernoulli")

    @property
    def width(self) -> int:
        """Columns of the generator's input: K of a one-hot categorical code, 1 of the others."""
        return self.classes

    @property
    def spec(self) -> str:
        """The code as a term of `gan_zoo_kernels.Layout`."""
        argument = f"({self.probability})" if self.kind == "bernoulli" else ""
        return f"{self.kind}{argument}:{self.width}"

    @property
    def entropy(self) -> float:
        """H(c) in nats; differential entropy for a continuous code."""
        match self.kind:
            case "categorical":
                return math.log(self.classes)
            case "uniform":
                return math.log(2.0)
            case "gaussian":
                return 0.5 * math.log(2 * math.pi * math.e)
            case "bernoulli":
                p = self.probability
                return -sum(q * math.log(q) for q in (p, 1 - p))

    @property
    def variance(self) -> float:
        """Var(c) of a continuous code; 1 for a discrete one."""
        return 1 / 3 if self.kind == "uniform" else 1.0

    def check(self, value: float) -> float:
        """`value` if the code can take it.

        Raises:
            InputError: If a discrete code has no such value, or a continuous one is not finite.
        """
        count = 2 if self.kind == "bernoulli" else self.classes
        if self.discrete and value not in range(count):
            raise InputError(f"code {self.name} takes whole numbers from 0 to {count - 1}, not {value:g}")
        if not math.isfinite(value):
            raise InputError(f"code {self.name} takes finite numbers, not {value:g}")
        return value

    def traversal(self, count: int = 10, *, overshoot: bool = False) -> list[float]:
        """The values along a traversal: all of a discrete code, `count` over the trained range of a continuous one.

        This is -1 to 1 of a uniform code and two standard deviations of a gaussian one; with `overshoot` twice that, as
        in figure 2 of the paper.
        """
        if self.kind == "categorical":
            return [float(k) for k in range(self.classes)]
        if self.kind == "bernoulli":
            return [0.0, 1.0]
        if count < 2:
            raise InputError(f"a traversal of {self.name} has 2 or more values, not {count}")
        end = (1 if self.kind == "uniform" else 2) * (2 if overshoot else 1)
        return [end * (2 * k / (count - 1) - 1) for k in range(count)]


def label_code(who: str, data: Data, *, conditions: bool = False) -> Code:
    """The code `label`, with the data's classes as values.

    Args:
        who: What requires labels, for the message.
        data: The table [data], with the data's facts.
        conditions: See `Code`.

    Raises:
        InputError: If the data has no labels, or a single class.
    """
    if not data.classes or data.classes < 2:
        raise InputError(f"{who} requires labels of 2 or more classes; {data.name!r} has {data.classes or 'none'}")
    return Code(LABEL, "categorical", classes=data.classes, conditions=conditions)


def parse_codes(text: str) -> tuple[Code, ...]:
    """The codes of a line such as `categorical:10x4, uniform:2, gaussian:1, bernoulli:3`, named c1, c2, … in order.

    Raises:
        InputError: If a term is none of the grammar's, or counts are out of range.
    """
    codes: list[Code] = []
    columns = 0
    for term in filter(None, (part.strip() for part in text.split(","))):
        parsed = _parse_term(term)
        codes += [Code(f"c{len(codes) + k + 1}", *facts) for k, facts in enumerate(parsed)]
        columns += sum(classes for _, classes, *_ in parsed)
        if len(codes) > MOST_CODES:
            raise InputError(f"codes {cut(text)!r}: more than {MOST_CODES} codes")
        if columns > MOST_COLUMNS:
            raise InputError(f"codes {cut(text)!r}: more than {MOST_COLUMNS} classes and values in all")
    if not codes:
        raise InputError(f"codes {cut(text)!r} names no code; {GRAMMAR}")
    return tuple(codes)


def _parse_term(term: str) -> list[tuple[Kind, int, float, float | None]]:
    match = _TERM.fullmatch(term)
    kind = next((kind for kind in get_args(Kind) if match and match["kind"] == kind), None)
    if not match or not kind:
        raise InputError(f"code {cut(term)!r} is not understood; {GRAMMAR}")
    first, second, p = int(match["first"]), match["second"], match["p"]
    if (second and kind != "categorical") or (p and kind != "bernoulli"):
        raise InputError(f"code {cut(term)!r} is not understood; {GRAMMAR}")
    classes, count = (first, int(second or 1)) if kind == "categorical" else (1, first)
    if kind == "categorical" and not 2 <= classes <= MOST_CLASSES:
        raise InputError(f"code {cut(term)!r}: a categorical code has 2 to {MOST_CLASSES} classes, not {classes}")
    if not 1 <= count <= MOST_CODES:
        raise InputError(f"code {cut(term)!r}: between 1 and {MOST_CODES} codes, not {count}")
    try:
        probability = float(p) if p else 0.5
        weight = float(match["weight"]) if match["weight"] else None
    except ValueError:
        raise InputError(f"code {cut(term)!r} is not understood; {GRAMMAR}") from None
    if not 0 < probability < 1:
        raise InputError(f"code {cut(term)!r}: a probability must be between 0 and 1, not {probability:g}")
    if weight is not None and not 0 <= weight < math.inf:
        raise InputError(f"code {cut(term)!r}: λ must be a finite number of at least 0, not {weight:g}")
    return [(kind, classes, probability, weight)] * count


def entropy(codes: Iterable[Code]) -> float:
    """H(c) of a product of independent codes, in nats."""
    return sum(code.entropy for code in codes)
