"""The input of every metric: checked tables of codes and factors.

Letters in shapes: n images, D dimensions of the representation, F factors.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gan_zoo.errors import InputError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Tables(NamedTuple):
    """A representation and the ground truth of the same images."""

    codes: Floats  # [n, D]
    factors: Integers  # [n, F], column k in 0..levels[k]-1, all of which occur
    levels: list[int]

    def rows(self, chosen: Integers) -> Tables:
        """The tables of some of the images."""
        return Tables(self.codes[chosen], self.factors[chosen], self.levels)

    def split(self, held_out: float, seed: int) -> tuple[Tables, Tables]:
        """Split the rows at random into training and held-out ones.

        Raises:
            InputError: If a part lacks a value of a factor.
        """
        order = np.random.default_rng(seed).permutation(len(self.codes))
        cut = len(order) - round(held_out * len(order))
        parts = self.rows(order[:cut]), self.rows(order[cut:])
        if any(len(np.unique(p.factors[:, k])) < levels for p in parts for k, levels in enumerate(self.levels)):
            raise InputError(
                f"{len(order)} images are too few to fit to {cut} and judge by the rest: of factors with "
                f"{', '.join(map(str, self.levels))} values, one is missing from a part"
            )
        return parts


def tables(codes: ArrayLike, factors: ArrayLike) -> Tables:
    """Check codes [n, D] and factors [n, F], and drop factors that do not vary.

    Raises:
        InputError: If they are not tables of the same images, not finite, or no factor varies.
    """
    z, v = np.asarray(codes, np.float64), np.asarray(factors)
    if z.ndim != 2 or v.ndim != 2 or len(z) != len(v) or not z.shape[1] or len(z) < 2:
        raise InputError(
            f"codes are [n, D] and factors [n, F] of the same n ≥ 2 images, not {[*z.shape]}, {[*v.shape]}"
        )
    if not np.isfinite(z).all():
        raise InputError("the codes hold numbers that are not finite")
    columns = [np.unique(column, return_inverse=True) for column in v.T]
    varied = [inverse for values, inverse in columns if len(values) > 1]
    if not varied:
        raise InputError("no factor varies in these images; two values of one are needed")
    factor_table = np.stack(varied, 1).astype(np.int64)
    return Tables(z, factor_table, [int(column.max()) + 1 for column in factor_table.T])


def standardised(codes: Floats) -> Floats:
    """Scale each dimension to mean 0 and deviation 1; one that does not vary becomes 0."""
    varies = np.ptp(codes, axis=0) > 0
    deviation = np.where(varies, codes.std(0), 1.0)
    return np.where(varies, (codes - codes.mean(0)) / deviation, 0.0)


def gap(scores: Floats) -> Floats:
    """The best score minus the second best, [F], from scores [D, F]; a single dimension's second best is 0."""
    ordered = np.sort(np.concatenate([np.zeros((1, scores.shape[1])), scores]), axis=0)
    leads: Floats = ordered[-1] - ordered[-2]
    return leads
