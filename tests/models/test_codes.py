"""Latent codes: their grammar, names, entropies, values and traversals."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from narrow import one_line
from torch.distributions import Bernoulli, Categorical, Normal, Uniform

from gan_zoo.errors import InputError
from gan_zoo.models.gan.codes import MOST_CLASSES, MOST_CODES, Code, entropy, parse_codes


def facts(text: str) -> list[tuple[str, int, float]]:
    return [(c.kind, c.classes, c.probability) for c in parse_codes(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("categorical:10", [("categorical", 10, 0.5)]),
        ("categorical:20x3", [("categorical", 20, 0.5)] * 3),
        ("uniform:2", [("uniform", 1, 0.5)] * 2),
        ("gaussian:1", [("gaussian", 1, 0.5)]),
        ("bernoulli:3", [("bernoulli", 1, 0.5)] * 3),
        ("bernoulli(0.25):2", [("bernoulli", 1, 0.25)] * 2),
        ("bernoulli(2e-3):1", [("bernoulli", 1, 0.002)]),
        (" uniform:1 ,categorical:2, ", [("uniform", 1, 0.5), ("categorical", 2, 0.5)]),
    ],
)
def test_every_kind_of_term_is_read(text: str, expected: list[tuple[str, int, float]]) -> None:
    assert facts(text) == expected


def test_codes_are_named_in_their_order_across_terms() -> None:
    codes = parse_codes("categorical:10x4, uniform:2, gaussian:1, bernoulli:3")
    assert [c.name for c in codes] == [f"c{k}" for k in range(1, 11)]
    assert [c.kind for c in codes] == ["categorical"] * 4 + ["uniform"] * 2 + ["gaussian"] + ["bernoulli"] * 3


def test_a_term_may_set_the_weight_of_its_codes() -> None:
    codes = parse_codes("categorical:10x2@0.5, uniform:1, bernoulli(0.25):1@2, gaussian:1@0")
    assert [code.weight for code in codes] == [0.5, 0.5, None, 2.0, 0.0]


terms = st.one_of(
    st.tuples(st.just("categorical"), st.integers(2, 1000), st.just(0.5), st.integers(1, 9)),
    st.tuples(st.sampled_from(["uniform", "gaussian"]), st.just(1), st.just(0.5), st.integers(1, 9)),
    st.tuples(st.just("bernoulli"), st.just(1), st.floats(1e-6, 1 - 1e-6), st.integers(1, 9)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(terms, min_size=1, max_size=6))
def test_what_is_written_is_read_back(written: list[tuple[str, int, float, int]]) -> None:
    def line(kind: str, classes: int, p: float, count: int) -> str:
        if kind == "categorical":
            return f"categorical:{classes}x{count}"
        return f"bernoulli({p!r}):{count}" if kind == "bernoulli" else f"{kind}:{count}"

    text = ", ".join(line(*term) for term in written)
    assert facts(text) == [(kind, k, p) for kind, k, p, count in written for _ in range(count)]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="categoricluniformgsb:x@(),.0123456789e-+ é\n", max_size=40))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    told = ""
    try:
        found = parse_codes(text)
    except InputError as error:
        told = str(error)
    assert bool(told) or len(found) > 0
    assert "\n" not in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "names no code"),
        (" , ", "names no code"),
        ("categorical", "'categorical' is not understood"),
        ("categorial:10", "'categorial:10' is not understood"),
        ("Categorical:10", "'Categorical:10' is not understood"),
        ("categorical:1", "2 to 4096 classes, not 1"),
        ("categorical:0", "2 to 4096 classes, not 0"),
        ("categorical:5000", "2 to 4096 classes, not 5000"),
        ("categorical:10x0", "between 1 and 4096 codes, not 0"),
        ("categorical:-3", "is not understood"),
        ("categorical:2.5", "is not understood"),
        ("categorical:١٠", "is not understood"),
        ("uniform:0", "between 1 and 4096 codes, not 0"),
        ("uniform:2x3", "'uniform:2x3' is not understood"),
        ("gaussian(0.5):1", "'gaussian(0.5):1' is not understood"),
        ("bernoulli(0):1", "between 0 and 1, not 0"),
        ("bernoulli(1.0):1", "between 0 and 1, not 1"),
        ("bernoulli(7):1", "between 0 and 1, not 7"),
        ("bernoulli(1e):1", "is not understood"),
        ("uniform:1@", "'uniform:1@' is not understood"),
        ("uniform:1@1e", "is not understood"),
        ("uniform:1@-0.5", "λ must be a finite number of at least 0, not -0.5"),
        ("uniform:1@1e999", "λ must be a finite number of at least 0, not inf"),
        ("uniform:2; gaussian:1", "is not understood"),
        ("uniform:4000, gaussian:4000", "more than 4096 codes"),
    ],
)
def test_a_wrong_line_of_codes_is_refused_with_the_reason(text: str, told: str) -> None:
    with pytest.raises(InputError) as error:
        parse_codes(text)
    assert told in one_line(error)


def test_a_line_that_is_not_understood_is_answered_with_the_grammar() -> None:
    with pytest.raises(InputError, match=r"categorical:KxN.*uniform:N.*gaussian:N.*bernoulli\(p\):N"):
        parse_codes("normal:3")


def test_the_largest_counts_are_accepted() -> None:
    assert parse_codes(f"categorical:{MOST_CLASSES}")[0].classes == MOST_CLASSES
    assert len(parse_codes(f"bernoulli:{MOST_CODES}")) == MOST_CODES


@pytest.mark.parametrize(
    ("text", "distribution"),
    [
        ("categorical:10", Categorical(logits=torch.zeros(10, dtype=torch.float64))),
        ("categorical:2", Categorical(logits=torch.zeros(2, dtype=torch.float64))),
        ("uniform:1", Uniform(torch.tensor(-1.0).double(), torch.tensor(1.0).double())),
        ("gaussian:1", Normal(torch.tensor(0.0).double(), torch.tensor(1.0).double())),
        ("bernoulli:1", Bernoulli(torch.tensor(0.5).double())),
        ("bernoulli(0.1):1", Bernoulli(torch.tensor(0.1).double())),
    ],
)
def test_the_entropy_is_the_distribution_s(text: str, distribution: torch.distributions.Distribution) -> None:
    (code,) = parse_codes(text)
    assert code.entropy == pytest.approx(float(distribution.entropy()), rel=1e-7)


def test_the_entropy_of_independent_codes_is_the_sum() -> None:
    assert entropy(parse_codes("categorical:10, uniform:2")) == pytest.approx(math.log(10) + 2 * math.log(2))


def test_a_traversal_takes_all_values_of_a_discrete_code() -> None:
    categorical, bernoulli = parse_codes("categorical:4, bernoulli:1")
    assert categorical.traversal(10) == [0, 1, 2, 3]
    assert bernoulli.traversal(10) == [0, 1]


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        ("categorical:10", [0, 9], [-1, 10, 2.5, math.nan, math.inf]),
        ("bernoulli:1", [0, 1], [2, 0.5, math.nan]),
        ("uniform:1", [-2, 0.3, 2], [math.nan, math.inf]),
        ("gaussian:1", [-7.5], [-math.inf]),
    ],
)
def test_a_code_takes_its_own_values_only(text: str, good: list[float], bad: list[float]) -> None:
    (code,) = parse_codes(text)
    assert [code.check(value) for value in good] == good
    for value in bad:
        with pytest.raises(InputError) as error:
            code.check(value)
        assert "code c1 takes" in one_line(error)


def test_a_categorical_code_is_as_wide_as_its_classes_and_the_others_one_column() -> None:
    assert [c.width for c in parse_codes("categorical:7, uniform:1, gaussian:1, bernoulli:1")] == [7, 1, 1, 1]
    assert [c.discrete for c in parse_codes("categorical:7, uniform:1, gaussian:1, bernoulli:1")] == [
        True,
        False,
        False,
        True,
    ]
    assert Code("c1", "uniform").width == 1
