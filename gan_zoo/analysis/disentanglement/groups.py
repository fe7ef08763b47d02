"""Metrics on groups of images that share one factor's value: the dimension that varies least identifies the factor.

Groups are drawn with replacement from the given images; the papers draw new images for each group. With all images of a
dataset this is the same; with a sample it avoids encoding new images for every group.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from gan_zoo.analysis.disentanglement.codes_and_factors import Floats, Integers, Tables, standardised, tables

GROUPS = 15_000
GROUP = 64
HELD_OUT = 1 / 3
"""As in disentanglement_lib: 10,000 groups for training, 5,000 for evaluation, of 64 (Locatello et al., 2019)."""

_CHUNK = 2**21


def factor_vae(
    codes: ArrayLike, factors: ArrayLike, *, seed: int = 0, groups: int = GROUPS, inactive: float = 0.0
) -> float:
    """The FactorVAE score: how accurately the dimension of least variance in a group identifies the shared factor.

    Kim & Mnih, 2018 (arXiv:1802.05983, section 4). Dimensions are divided by their deviation over all images; a
    majority vote of the training groups assigns a factor to each dimension. From about 1/F to 1. Invariant to sign,
    scale and offset of a dimension, unless `inactive` is given.

    Args:
        codes: [n, D].
        factors: [n, F].
        seed: Seed of the groups.
        groups: Number of groups.
        inactive: Dimensions of at most this deviation are dropped; by default only constant ones, while
            disentanglement_lib uses 0.05 on the scale of a VAE's prior. If none is left, the score is 0.
    """
    data = tables(codes, factors)
    active = (np.ptp(data.codes, axis=0) > 0) & (data.codes.std(0) > inactive)
    if not active.any():
        return 0.0
    data = data._replace(codes=standardised(data.codes[:, active]))
    random = np.random.default_rng(seed)
    shared = random.integers(len(data.levels), size=groups)
    still = np.concatenate([data.codes[_alike(data, part, random)].var(1).argmin(1) for part in _parts(data, shared)])
    judged = round(HELD_OUT * groups)
    votes = np.zeros((data.codes.shape[1], len(data.levels)), np.int64)
    np.add.at(votes, (still[judged:], shared[judged:]), 1)
    return float((votes.argmax(1)[still[:judged]] == shared[:judged]).mean())


def beta_vae(codes: ArrayLike, factors: ArrayLike, *, seed: int = 0, groups: int = GROUPS) -> float:
    """The β-VAE score: how accurately a linear classifier predicts from mean |z - z'| the factor that z and z' share.

    Higgins et al., 2017 (β-VAE, ICLR, section 3), with logistic regression as in disentanglement_lib, on dimensions of
    deviation 1, hence invariant to scale. From about 1/F to 1. It is lenient: a rotated code gives each factor its own
    pattern of small differences, which suffices for a linear classifier.

    Args:
        codes: [n, D].
        factors: [n, F].
        seed: Seed of the pairs.
        groups: Number of points for training and evaluation.
    """
    from sklearn.linear_model import LogisticRegression

    data = tables(codes, factors)
    data = data._replace(codes=standardised(data.codes))
    if len(data.levels) == 1:
        return 1.0
    random = np.random.default_rng(seed)
    shared = random.integers(len(data.levels), size=groups)
    points = np.concatenate([_differences(data, part, random) for part in _parts(data, shared)])
    judged = round(HELD_OUT * groups)
    classifier = LogisticRegression(max_iter=1000).fit(points[judged:], shared[judged:])
    return float(classifier.score(points[:judged], shared[:judged]))


def _parts(data: Tables, shared: Integers) -> list[Integers]:
    """`shared` in chunks whose codes take little memory."""
    return np.array_split(shared, -(-len(shared) * GROUP * data.codes.shape[1] // _CHUNK))


def _alike(data: Tables, shared: Integers, random: np.random.Generator) -> Integers:
    """Rows [m, GROUP] of m groups; group i shares a random value of factor `shared[i]`."""
    values = random.integers(np.array(data.levels)[shared])
    return _partners(data, shared[:, None], values[:, None], random.random((len(shared), GROUP)))


def _differences(data: Tables, shared: Integers, random: np.random.Generator) -> Floats:
    """Mean |z - z'| [m, D] over `GROUP` pairs per point; the pairs of point i share factor `shared[i]`."""
    ones = random.integers(len(data.codes), size=(len(shared), GROUP))
    values = data.factors[ones, shared[:, None]]
    others = _partners(data, shared[:, None], values, random.random(ones.shape))
    apart: Floats = np.abs(data.codes[ones] - data.codes[others]).mean(1)
    return apart


def _partners(data: Tables, shared: Integers, values: Integers, drawn: Floats) -> Integers:
    """Rows in which factor `shared` has the value `values` (both broadcast to the shape of `drawn`).

    `drawn`, uniform in [0, 1), selects one of the matching rows.
    """
    rows = np.empty(drawn.shape, np.int64)
    shared, values = (np.broadcast_to(array, drawn.shape) for array in (shared, values))
    for k, levels in enumerate(data.levels):
        here = shared == k
        order = np.argsort(data.factors[:, k], kind="stable")
        count = np.bincount(data.factors[:, k], minlength=levels)
        first = np.cumsum(count) - count
        value = values[here]
        rows[here] = order[first[value] + (drawn[here] * count[value]).astype(np.int64)]
    return rows
