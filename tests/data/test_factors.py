"""Index arithmetic of factors, and the sets that carry them."""

from __future__ import annotations

from itertools import product
from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gan_zoo.config import Data
from gan_zoo.data.dataset import Dataset, Split, open_dataset
from gan_zoo.data.factors import Factors
from gan_zoo.errors import InputError
from gan_zoo.registry import Entry, datasets
from gan_zoo.shapes import ImageShape

SIZES = st.lists(st.integers(1, 7), min_size=1, max_size=5)


def named(sizes: list[int]) -> Factors:
    return Factors(tuple(f"f{k}" for k in range(len(sizes))), tuple(sizes))


@given(SIZES)
def test_images_are_counted_as_nested_loops_count(sizes: list[int]) -> None:
    factors = named(sizes)
    table = torch.tensor(list(product(*map(range, sizes))))
    assert factors.count == len(table)
    assert torch.equal(factors.values(torch.arange(factors.count)), table)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=5), st.data())
def test_values_are_the_digits_of_an_index(sizes: list[int], data: st.DataObject) -> None:
    factors = named(sizes)
    indices = torch.tensor(data.draw(st.lists(st.integers(0, factors.count - 1), max_size=9)), dtype=torch.int64)
    values = factors.values(indices)
    assert values.dtype == torch.int64 and values.shape == (len(indices), len(sizes))
    steps = torch.tensor([prod(sizes[k + 1 :]) for k in range(len(sizes))])
    assert torch.equal((values * steps).sum(1), indices)


@pytest.mark.parametrize(
    ("names", "sizes"), [((), ()), (("a",), (2, 3)), (("a", "a"), (2, 3)), (("a", "b"), (2, 0)), (("a",), (-1,))]
)
def test_factors_without_a_name_or_a_size_are_refused(names: tuple[str, ...], sizes: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="different names"):
        Factors(names, sizes)


def test_what_no_image_has_is_refused() -> None:
    factors = named([2, 3])
    for index in (-1, 6):
        with pytest.raises(InputError, match="accepted: 0 to 5"):
            factors.values(torch.tensor([0, index]))


def test_a_set_has_as_many_images_as_its_factors_say(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(settings: Data) -> Dataset:
        return Dataset("made", ImageShape(1, 4), 0, Split(torch.zeros(5, 1, 4, 4).byte()), factors=named([2, 3]))

    monkeypatch.setitem(datasets.entries, "made", Entry("made", "", "gan-zoo", "made:made"))
    monkeypatch.setattr(datasets, "get", lambda name: made)
    with pytest.raises(InputError, match="5 training images, but factors with 6"):
        open_dataset(Data(name="made"))


def test_a_set_without_known_factors_says_so() -> None:
    assert open_dataset(Data(name="mnist-5k")).factors is None
