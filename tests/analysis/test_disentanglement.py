"""Disentanglement metrics: their extremes, order and invariances, and values computed by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from math import log, sqrt
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

from gan_zoo.analysis.disentanglement.groups import beta_vae, factor_vae
from gan_zoo.analysis.disentanglement.mutual_information_gap import discretise, mig, modularity, mutual_information
from gan_zoo.analysis.disentanglement.predictors import DCI, dci, explicitness, sap
from gan_zoo.errors import InputError

Table = NDArray[np.float64]

SIZES = (3, 4, 5, 6)
FACTORS = np.tile(list(product(*map(range, SIZES))), (5, 1))
RANDOM = np.random.default_rng(0)
STANDARD = (FACTORS - FACTORS.mean(0)) / FACTORS.std(0)

PERFECT = FACTORS.astype(float)
NOISE = RANDOM.normal(size=FACTORS.shape)
SOFT = STANDARD + 0.3 * RANDOM.normal(size=FACTORS.shape)
TURNED = (STANDARD + 0.05 * NOISE) @ np.kron(np.eye(2), [[1, 1], [-1, 1]]) / sqrt(2)
"""The first two and the last two dimensions, each pair rotated by 45°: each depends equally on two factors."""

METRICS: dict[str, Callable[[Table, Table], float | DCI]] = {
    "factor_vae": partial(factor_vae, groups=1500),
    "beta_vae": partial(beta_vae, groups=1500),
    "mig": mig,
    "sap": sap,
    "dci": partial(dci, trees=5),
    "modularity": modularity,
    "explicitness": explicitness,
}
CHANCE = float(np.mean([1 / size for size in SIZES]))
MOST = dict.fromkeys(METRICS, 1.0) | {"sap": 1 - CHANCE, "dci": (1, 1, 1)}
FLOOR = {"factor_vae": 1 / 4, "beta_vae": 1 / 4, "mig": 0, "sap": 0, "dci": (0, 0, CHANCE), "explicitness": 0.5}


@pytest.mark.parametrize("name", METRICS)
def test_the_factors_themselves_score_the_most(name: str) -> None:
    assert METRICS[name](PERFECT, FACTORS) == pytest.approx(MOST[name], abs=0.015)


@pytest.mark.parametrize("name", FLOOR)
def test_noise_scores_the_floor(name: str) -> None:
    assert METRICS[name](NOISE, FACTORS) == pytest.approx(FLOOR[name], abs=0.05)


@pytest.mark.parametrize(
    ("name", "score"), [("factor_vae", 1 / 2), ("beta_vae", 1 / 2), ("mig", 0), ("sap", 0), ("modularity", 0.8)]
)
def test_dimensions_that_tell_two_factors_alike_are_told_from_those_that_tell_one(name: str, score: float) -> None:
    assert METRICS[name](TURNED, FACTORS) == pytest.approx(score, abs=0.08)


def test_dci_sees_two_factors_in_a_dimension_and_two_dimensions_for_a_factor() -> None:
    found = dci(TURNED, FACTORS)
    assert (found.disentanglement, found.completeness) == pytest.approx((1 / 2, 1 / 2), abs=0.15)


@pytest.mark.parametrize("name", METRICS)
def test_order_sign_scale_and_place_of_dimensions_do_not_matter(name: str) -> None:
    changed = SOFT[:, [2, 0, 3, 1]] * [-3, 0.02, 700, -1] + [5, -9, 0, 1e3]
    assert METRICS[name](changed, FACTORS) == pytest.approx(METRICS[name](SOFT, FACTORS), abs=0.03)


@pytest.mark.parametrize("name", METRICS)
def test_names_of_values_and_factors_that_do_not_vary_do_not_matter(name: str) -> None:
    renamed = np.concatenate([FACTORS * 7 - 3, np.full((len(FACTORS), 1), 4)], 1)
    assert METRICS[name](SOFT, renamed) == METRICS[name](SOFT, FACTORS)


@pytest.mark.parametrize("name", METRICS)
def test_a_dead_dimension_and_a_dead_code_have_a_score(name: str) -> None:
    dead = np.concatenate([PERFECT, np.full((len(PERFECT), 1), 0.1)], 1)
    most = 4 / 5 if name == "modularity" else MOST[name]
    assert METRICS[name](dead, FACTORS) == pytest.approx(most, abs=0.015)
    least = FLOOR | {"factor_vae": 0, "modularity": 0}
    assert METRICS[name](dead[:, 4:], FACTORS) == pytest.approx(least[name], abs=0.05)


@pytest.mark.parametrize(
    "metric", [partial(factor_vae, groups=300), partial(beta_vae, groups=300), explicitness, partial(dci, trees=2)]
)
def test_the_seed_decides_what_is_drawn(metric: Callable[..., object]) -> None:
    first, again, other = (metric(NOISE, FACTORS, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


# FactorVAE and β-VAE


def test_factor_vae_misses_the_groups_of_a_factor_without_a_dimension() -> None:
    """Two of four factors have a dimension: half of the groups are classified, the others at random."""
    assert factor_vae(PERFECT[:, :2], FACTORS, groups=6000) == pytest.approx(1 / 2, abs=0.04)
    assert factor_vae(PERFECT[:, :1], FACTORS, groups=6000) == pytest.approx(1 / 4, abs=0.04)


def test_factor_vae_counts_a_factor_that_two_dimensions_share() -> None:
    twice = np.concatenate([PERFECT, PERFECT[:, :1] + 0.1 * NOISE[:, :1]], 1)
    assert factor_vae(twice, FACTORS, groups=1500) == 1


def test_factor_vae_leaves_inactive_dimensions_out() -> None:
    faint = np.concatenate([PERFECT[:, :2], PERFECT[:, 2:] * 1e-3], 1)
    assert factor_vae(faint, FACTORS, groups=1500) == 1
    assert factor_vae(faint, FACTORS, groups=1500, inactive=0.05) == factor_vae(faint[:, :2], FACTORS, groups=1500)
    assert factor_vae(faint, FACTORS, groups=1500, inactive=9) == 0


def test_a_group_is_drawn_from_all_values_of_its_factor() -> None:
    """A dimension that is constant for one rare value only cannot win the other groups of its factor."""
    factors = np.stack([np.repeat([0, 1, 2, 3], [10, 300, 300, 390]), np.arange(1000) % 4], 1)
    codes = np.stack([np.where(factors[:, 0] == 0, 0, NOISE[:1000, 0]), factors[:, 1]], 1)
    score = factor_vae(codes, factors, groups=6000)
    assert score == pytest.approx(0.5 + 0.5 * (1 / 4 + 3 / 4 * 0.5), abs=0.1)


def test_beta_vae_tells_two_factors_from_one_dimension() -> None:
    assert beta_vae(np.stack([FACTORS[:, 0], NOISE[:, 0]], 1), FACTORS[:, :2], groups=1500) == 1
    assert beta_vae(NOISE[:, :2], FACTORS[:, :2], groups=1500) == pytest.approx(0.5, abs=0.05)


# Mutual information


def by_hand(z: list[int], v: list[int]) -> float:
    """I(z; v) in nats, Σ p(a, b) log p(a, b) / p(a) p(b)."""
    n, both = len(z), list(zip(z, v, strict=True))
    return sum(both.count((a, b)) / n * log(n * both.count((a, b)) / (z.count(a) * v.count(b))) for a, b in {*both})


def test_mutual_information_is_that_of_the_table() -> None:
    z, v = [0, 0, 1, 1, 1, 2, 2, 0], [0, 1, 1, 1, 0, 2, 2, 0]
    found = mutual_information(np.array([z, v]).T, np.array([v, z]).T)
    assert found == pytest.approx(np.array([[by_hand(z, v), by_hand(z, z)], [by_hand(v, v), by_hand(v, z)]]))


def test_mig_is_the_gap_over_the_entropy_worked_out_by_hand() -> None:
    codes = [[0, 0, 1, 1, 1, 2, 2, 0], [0, 1, 0, 1, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0, 1, 1]]
    factors = [[0, 0, 1, 1, 0, 2, 2, 0], [1, 0, 0, 1, 0, 1, 1, 0]]
    expected = 0.0
    for v in factors:
        best, second, _ = sorted((by_hand(z, v) for z in codes), reverse=True)
        expected += (best - second) / by_hand(v, v) / 2
    assert mig(np.array(codes).T, np.array(factors).T) == pytest.approx(expected)
    assert expected > 0.1


@pytest.mark.parametrize(("levels", "most"), [(20, 1.0), (32, 1 - 12 * 2 / 32 * log(2) / log(32)), (40, None)])
def test_mig_of_a_factor_with_more_levels_than_bins_is_capped(levels: int, most: float | None) -> None:
    v = np.arange(levels)[:, None]
    found = mig(v * 0.1, v)
    assert found == pytest.approx(most) if most else found < 0.9
    assert mig(v * 0.1, v, bins=levels) == pytest.approx(1)


def test_bins_are_even_and_values_of_a_discrete_dimension_are_kept() -> None:
    column = np.linspace(0, 1, 201) ** 2
    assert np.bincount(discretise(column[:, None], 4)[:, 0]).tolist() == [
        int(((column >= low) & (column < low + 0.25)).sum()) for low in (0, 0.25, 0.5)
    ] + [int((column >= 0.75).sum())]
    assert discretise(np.array([[0.0], [1e-9], [1e9]]), 3)[:, 0].tolist() == [0, 1, 2]


def test_a_discrete_dimension_may_name_its_values_as_it_likes() -> None:
    names = np.array([0.0, 900.0, -3.0, 7.5, 7.6])
    renamed = np.concatenate([PERFECT[:, :2], names[FACTORS[:, 2:3]], PERFECT[:, 3:]], 1)
    assert mig(renamed, FACTORS) == pytest.approx(1)
    assert modularity(renamed, FACTORS) == pytest.approx(1)


def test_modularity_is_its_closed_form() -> None:
    """A dimension that depends equally on two of three factors has 1 - 1/2, on one 1, a constant one 0."""
    v = np.array(list(product(range(2), range(2), range(4))))
    two, one, none = 2 * v[:, 0] + v[:, 1], v[:, 2], np.zeros(len(v))
    assert modularity(two[:, None], v) == pytest.approx(1 / 2)
    assert modularity(one[:, None], v) == pytest.approx(1)
    assert modularity(np.stack([two, one, none], 1), v) == pytest.approx((1 / 2 + 1 + 0) / 3)
    uneven = 4 * v[:, 0] + v[:, 2]  # tells log 2 of one factor, log 4 of another
    assert modularity(uneven[:, None], v) == pytest.approx(1 - (log(2) / log(4)) ** 2 / 2)


# Predictors


def test_sap_is_the_gap_of_balanced_accuracies_worked_out_by_hand() -> None:
    v = np.array([0, 0, 0, 0, 1, 1, 1, 1])[:, None]
    most = [0, 0, 0, 1, 1, 1, 1, 1]  # one threshold: 3 of 4 zeros and 4 of 4 ones are told
    half = [0, 0, 1, 1, 0, 0, 1, 1]
    assert sap(np.array([most, half]).T, v) == pytest.approx((3 / 4 + 1) / 2 - 1 / 2)
    rare = np.array([0, 0, 1, 1, 1, 1, 1, 1])[:, None]  # told with 7 of 8 right, but only 1 of the 2 zeros
    assert sap(np.array([[0, 1, 1, 1, 1, 1, 1, 1], [0] * 8]).T, rare) == pytest.approx((1 / 2 + 1) / 2)


def test_sap_has_as_many_thresholds_as_a_factor_needs() -> None:
    v = np.tile(np.arange(5), 20)[:, None]
    assert sap(v * 1.0, v) == pytest.approx(1)
    assert sap(np.minimum(v, 3), v) == pytest.approx(4 / 5)


def test_dci_disentanglement_is_lost_where_a_dimension_tells_two_factors() -> None:
    v = np.tile(list(product(range(3), range(3), range(3))), (40, 1))
    both = np.stack([3 * v[:, 0] + v[:, 1], v[:, 2]], 1)
    found = dci(both, v)
    assert found.disentanglement == pytest.approx(2 / 3 * (1 - log(2) / log(3)) + 1 / 3 * 1, abs=1e-3)
    assert found.completeness == pytest.approx(1, abs=1e-3)
    assert found.informativeness == 1


def test_dci_completeness_is_lost_where_two_dimensions_tell_a_factor() -> None:
    """The forest splits on either dimension first, with a third of the importance, then on the other."""
    v = np.tile(list(product(range(4), range(2))), (100, 1))
    spread = np.stack([v[:, 0] // 2, v[:, 0] % 2, v[:, 1]], 1)
    found = dci(spread, v)
    even, uneven = (1 + sum(p * log(p) for p in shares) / log(3) for shares in ((1 / 2, 1 / 2), (1 / 3, 2 / 3)))
    assert (even + 1) / 2 - 1e-3 < found.completeness < (uneven + 1) / 2 + 1e-3
    assert found.disentanglement == pytest.approx(1, abs=1e-3)


def test_explicitness_is_the_area_under_the_curve() -> None:
    """Of two normal distributions one deviation apart it is Φ(1 / √2)."""
    v = np.arange(9000)[:, None] % 2
    z = v + np.random.default_rng(1).normal(size=v.shape)
    assert explicitness(z, v) == pytest.approx(NormalDist().cdf(1 / sqrt(2)), abs=0.02)


# Bad input


@pytest.mark.parametrize(
    ("codes", "factors", "says"),
    [
        (np.zeros(5), np.zeros((5, 2)), "codes are [n, D]"),
        (np.zeros((5, 2)), np.zeros(5), "codes are [n, D]"),
        (np.zeros((5, 2)), np.zeros((4, 2)), "not [5, 2], [4, 2]"),
        (np.zeros((5, 0)), np.zeros((5, 2)), "not [5, 0]"),
        (np.array([[0.0], [np.nan]]), np.array([[0], [1]]), "not finite"),
        (np.zeros((5, 2)), np.zeros((5, 2)), "no factor varies"),
    ],
)
@pytest.mark.parametrize("name", METRICS)
def test_what_is_no_table_is_refused(name: str, codes: Table, factors: Table, says: str) -> None:
    with pytest.raises(InputError) as caught:
        METRICS[name](codes, factors)
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("metric", [dci, explicitness])
def test_too_few_images_to_hold_some_out_are_refused(metric: Callable[[Table, Table], object]) -> None:
    with pytest.raises(InputError, match="6 images are too few to fit to 4 and judge by the rest"):
        metric(np.arange(6.0)[:, None], np.arange(6)[:, None])
