"""Metrics on groups of images that share one factor's value: which dimension holds still tells which factor it was.

Groups are drawn from the images at hand, with replacement, where the papers draw new images for each. For every image
of a set this is the same; for a sample it spares encoding a set of its own for every group.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from gan_zoo.analysis.disentanglement.codes_and_factors import Floats, Integers, Tables, standardised, tables

GROUPS = 15_000
GROUP = 64
HELD_OUT = 1 / 3
"""disentanglement_lib's 10,000 groups to learn from and 5,000 to be judged by, of 64 (Locatello et al., 2019)."""

_CHUNK = 2**21


def factor_vae(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    seed: int = 0,
    groups: int = GROUPS,
    group: int = GROUP,
    held_out: float = HELD_OUT,
    inactive: float = 0.0,
) -> float:
    """The FactorVAE score: in how many groups that share one factor the dimension of least variance tells which.

    Kim & Mnih, 2018 (arXiv:1802.05983, section 4). Dimensions are divided by their deviation over all images; a
    majority vote of the groups learned from says which factor each dimension stands for. From about 1/F to 1. Sign,
    scale and place of a dimension do not matter, unless `inactive` is given.

    Args:
        codes: [n, D].
        factors: [n, F].
        seed: Decides the groups.
        groups: How many are drawn.
        group: Images in one.
        held_out: The part of the groups by which the vote is judged.
        inactive: Dimensions of at most this deviation are left out. disentanglement_lib has 0.05, on the scale of a
            VAE's prior; by default only a dimension that does not vary at all. Without any the score is 0.
    """
    data = tables(codes, factors)
    active = (np.ptp(data.codes, axis=0) > 0) & (data.codes.std(0) > inactive)
    if not active.any():
        return 0.0
    data = data._replace(codes=standardised(data.codes[:, active]))
    random = np.random.default_rng(seed)
    shared = random.integers(len(data.levels), size=groups)
    still = np.concatenate(
        [data.codes[_alike(data, part, group, random)].var(1).argmin(1) for part in _parts(data, shared, group)]
    )
    judged = round(held_out * groups)
    votes = np.zeros((data.codes.shape[1], len(data.levels)), np.int64)
    np.add.at(votes, (still[judged:], shared[judged:]), 1)
    return float((votes.argmax(1)[still[:judged]] == shared[:judged]).mean())


def beta_vae(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    seed: int = 0,
    groups: int = GROUPS,
    group: int = GROUP,
    held_out: float = HELD_OUT,
) -> float:
    """The β-VAE score: how often a linear classifier tells from mean |z - z'| which factor the pairs z, z' share.

    Higgins et al., 2017 (β-VAE, ICLR, section 3), with logistic regression as in disentanglement_lib, on dimensions of
    deviation 1, so that scale does not matter. From about 1/F to 1. It is lenient: a rotated code keeps still in a
    pattern of its own for each factor, which is enough for a linear classifier.

    Args:
        codes: [n, D].
        factors: [n, F].
        seed: Decides the pairs.
        groups: How many points the classifier is fitted to and judged by.
        group: Pairs of images in a point.
        held_out: The part of the points by which it is judged.
    """
    from sklearn.linear_model import LogisticRegression

    data = tables(codes, factors)
    data = data._replace(codes=standardised(data.codes))
    if len(data.levels) == 1:
        return 1.0
    random = np.random.default_rng(seed)
    shared = random.integers(len(data.levels), size=groups)
    points = np.concatenate([_differences(data, part, group, random) for part in _parts(data, shared, group)])
    judged = round(held_out * groups)
    classifier = LogisticRegression(max_iter=1000).fit(points[judged:], shared[judged:])
    return float(classifier.score(points[:judged], shared[:judged]))


def _parts(data: Tables, shared: Integers, group: int) -> list[Integers]:
    """`shared` in parts whose codes fill little memory."""
    return np.array_split(shared, -(-len(shared) * group * data.codes.shape[1] // _CHUNK))


def _alike(data: Tables, shared: Integers, group: int, random: np.random.Generator) -> Integers:
    """Rows [m, group] of m groups, group i alike in factor `shared[i]`, whose value is drawn from all it takes."""
    values = random.integers(np.array(data.levels)[shared])
    return _partners(data, shared[:, None], values[:, None], random.random((len(shared), group)))


def _differences(data: Tables, shared: Integers, group: int, random: np.random.Generator) -> Floats:
    """Mean |z - z'| [m, D] over `group` pairs each; the pairs of point i are alike in factor `shared[i]`."""
    ones = random.integers(len(data.codes), size=(len(shared), group))
    values = data.factors[ones, shared[:, None]]
    others = _partners(data, shared[:, None], values, random.random(ones.shape))
    apart: Floats = np.abs(data.codes[ones] - data.codes[others]).mean(1)
    return apart


def _partners(data: Tables, shared: Integers, values: Integers, drawn: Floats) -> Integers:
    """A row with the value `values` of factor `shared` each (of one shape with `drawn`, or broadcast to it).

    `drawn`, uniform in [0, 1), says which of them.
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
