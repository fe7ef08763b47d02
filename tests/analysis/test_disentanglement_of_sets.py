"""Disentanglement of datasets and models: samples, representations, and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import gan_zoo
from gan_zoo.analysis.disentanglement.groups import factor_vae
from gan_zoo.analysis.disentanglement.measure import disentanglement, encoded, representation
from gan_zoo.config import Data
from gan_zoo.data.dataset import Dataset, Split, open_dataset
from gan_zoo.data.factors import Factors
from gan_zoo.errors import InputError
from gan_zoo.shapes import ImageShape

NAMES = {
    "factor_vae", "beta_vae", "mig", "sap", "dci_disentanglement", "dci_completeness", "dci_informativeness",
    "modularity", "explicitness",
}  # fmt: skip
KNOWN = Factors(("a", "b", "c"), (5, 6, 7))
CODES = "categorical:3, uniform:1, bernoulli:1, gaussian:1"


def table_set(factors: Factors | None = KNOWN) -> Dataset:
    """One pixel for each factor, with ten times the factor's value."""
    images = torch.zeros(KNOWN.count, 1, 4, 4, dtype=torch.uint8)
    images[:, 0, 0, :3] = (KNOWN.values(torch.arange(KNOWN.count)) * 10).to(torch.uint8)
    return Dataset("table", ImageShape(1, 4), 0, Split(images), factors=factors)


def read(images: Tensor) -> Any:
    return images[:, 0, 0, :3].numpy()


def test_codes_stand_beside_the_factors_of_their_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_zoo.analysis.disentanglement.measure.BATCH", 32)
    codes, factors = encoded(read, table_set(), samples=100)
    assert codes.shape == factors.shape == (100, 3)
    assert np.allclose((codes + 1) * 127.5 / 10, factors, atol=1e-4)
    assert len(np.unique(factors, axis=0)) == 100, "each image once"
    again, other = (encoded(read, table_set(), seed=seed, samples=100)[1] for seed in (0, 1))
    assert np.array_equal(factors, again)
    assert not np.array_equal(factors, other)


def test_the_whole_set_is_taken_where_it_has_no_more() -> None:
    _, factors = encoded(read, table_set())
    assert len(np.unique(factors, axis=0)) == len(factors) == KNOWN.count


def test_all_metrics_are_given_by_name() -> None:
    found = disentanglement(read, table_set(), groups=600)
    assert found.keys() == NAMES
    assert found.pop("sap") == pytest.approx(1 - np.mean([1 / 5, 1 / 6, 1 / 7]), abs=0.01)
    for name, score in found.items():
        assert score == pytest.approx(1, abs=0.02), name
    assert all(isinstance(score, float) for score in found.values())


def test_measures_of_sprites_tell_what_they_measure() -> None:
    """Area, and centre of mass: three of five factors have a dimension, shape and orientation have none."""
    where = (torch.arange(32) + 0.5) / 32

    def measure(images: Tensor) -> Any:
        mass = (images[:, 0] + 1) / 2
        area = mass.sum((1, 2))
        right, down = ((mass.sum(dim) * where).sum(1) / area for dim in (1, 2))
        return torch.stack([area, right, down], 1).numpy()

    codes, factors = encoded(measure, open_dataset(Data(name="sprites", resolution=32)), samples=3000)
    assert 3 / 5 - 0.03 < factor_vae(codes, factors, groups=1500) < 4 / 5
    assert np.corrcoef(codes[:, 1], factors[:, 3])[0, 1] > 0.999
    assert np.corrcoef(codes[:, 2], factors[:, 4])[0, 1] > 0.999
    assert np.corrcoef(np.sqrt(codes[:, 0]), factors[:, 1])[0, 1] > 0.99


@pytest.mark.parametrize("factors", [None, Factors(("a", "b"), (210, 1))])
def test_a_set_without_two_factors_is_refused(factors: Factors | None) -> None:
    with pytest.raises(InputError, match="'table' has no two factors that are known and vary; sets that have: sprites"):
        disentanglement(read, table_set(factors))


@pytest.mark.parametrize(
    "represent",
    [
        lambda images: np.zeros(len(images)),
        lambda images: np.zeros((len(images) + 1, 2)),
        lambda images: np.full((len(images), 2), np.nan),
    ],
)
def test_a_representation_that_is_no_table_is_refused(represent: Any) -> None:
    with pytest.raises(InputError, match="not a finite table of as many rows"):
        disentanglement(represent, table_set())


def test_too_few_images_are_refused() -> None:
    with pytest.raises(InputError, match="samples must be at least 2"):
        disentanglement(read, table_set(), samples=1)
    with pytest.raises(InputError, match="6 images are too few"):
        disentanglement(read, table_set(), samples=6)


def test_a_model_has_a_dimension_for_each_code() -> None:
    model = gan_zoo.create("infogan", codes=CODES, width=2, resolution=28, channels=1, classes=0).eval()
    images = torch.rand(12, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        model.q[-1].bias.zero_()
        model.q[-1].weight.normal_(generator=torch.Generator().manual_seed(1))
    found = representation(model)(images)
    posterior = model.encode(images)
    assert found.shape == (12, 4)
    assert found[:, 0].tolist() == posterior["c1"].argmax(1).tolist()
    assert np.allclose(found[:, 1], posterior["c2"].mean)
    assert found[:, 2].tolist() == posterior["c3"].round().tolist()
    assert np.allclose(found[:, 3], posterior["c4"].mean)
    assert len({*found[:, 0]}) > 1 and len({*found[:, 2]}) > 1, "images that Q takes for different ones"


def test_a_model_without_codes_is_refused() -> None:
    model = gan_zoo.create("gan", width=2, resolution=28, channels=1, classes=0)
    with pytest.raises(InputError, match="model gan reads no codes from images"):
        representation(model)
