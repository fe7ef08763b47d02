"""Metrics on the mutual information between single dimensions and single factors."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from gan_zoo.analysis.disentanglement.codes_and_factors import Floats, Integers, gap, tables

BINS = 20
"""Bins of a continuous dimension, as in disentanglement_lib (Locatello et al., 2019, arXiv:1811.12359, appendix)."""


def mig(codes: ArrayLike, factors: ArrayLike, *, bins: int = BINS) -> float:
    """Mutual information gap: mean over k of (I(z_j; v_k) - I(z_j'; v_k)) / H(v_k), j best and j' second best for k.

    Chen et al., 2018 (arXiv:1802.04942, section 4), I from a histogram of `bins` equal bins, as in disentanglement_lib.
    From 0 to 1 for factors of up to `bins` equally frequent values; at most 0.85 for 32 values in 20 bins. Invariant to
    sign, scale and offset of a dimension, and to permutations of a discrete dimension's values.

    Args:
        codes: [n, D].
        factors: [n, F].
        bins: Bins of a continuous dimension; a dimension of up to `bins` distinct values is not binned.
    """
    data = tables(codes, factors)
    information = mutual_information(discretise(data.codes, bins), data.factors)
    entropy = np.array([mutual_information(column[:, None], column[:, None])[0, 0] for column in data.factors.T])
    return float((gap(information) / entropy).mean())


def modularity(codes: ArrayLike, factors: ArrayLike) -> float:
    """Whether each dimension depends on one factor: 1 - Σ_k≠k* I(z_j; v_k)² / (I(z_j; v_k*)² (F - 1)), mean over j.

    Ridgeway & Mozer, 2018 (arXiv:1802.05312, section 3), with k* the most informative factor for dimension j, and I as
    in `mig`. From 0 to 1; an uninformative dimension counts 0, as in disentanglement_lib. Only ratios of informations
    matter, so a nearly uninformative dimension can have any score.

    Args:
        codes: [n, D].
        factors: [n, F].
    """
    data = tables(codes, factors)
    squares = mutual_information(discretise(data.codes), data.factors) ** 2
    best = squares.max(1)
    others = (squares.sum(1) - best) / (np.where(best > 0, best, 1) * max(squares.shape[1] - 1, 1))
    return float(np.where(best > 0, 1 - others, 0).mean())


def discretise(codes: Floats, bins: int = BINS) -> Integers:
    """Bin codes [n, D] into equal bins between a dimension's smallest and largest value.

    A dimension of up to `bins` distinct values keeps them.
    """
    columns = []
    for column in codes.T:
        values, inverse = np.unique(column, return_inverse=True)
        if len(values) > bins:
            edges = np.linspace(values[0], values[-1], bins + 1)[1:-1]
            inverse = np.digitize(column, edges)
        columns.append(inverse)
    return np.stack(columns, 1).astype(np.int64)


def mutual_information(codes: Integers, factors: Integers) -> Floats:
    """I(z_j; v_k) in nats, [D, F], of the empirical distribution of discrete codes [n, D] and factors [n, F]."""
    from sklearn.metrics import mutual_info_score

    return np.array([[max(0.0, mutual_info_score(v, z)) for v in factors.T] for z in codes.T])
