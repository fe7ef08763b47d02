"""k-means clusters of features, compared with Q's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from commandline import zoo
from measured import opened, write_striped
from narrow import narrow_train, one_line

import gan_zoo
from gan_zoo.analysis.cluster import cluster, pooled
from gan_zoo.errors import InputError
from gan_zoo.models.gan.model import GAN


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on a labelled set, and a set without labels."""
    place = tmp_path_factory.mktemp("place")
    data = write_striped(place / "set.npz")
    write_striped(place / "bare.npz", labels=False, test=0)
    settings = {"data": str(data), "steps": 1, "trunk__name": "mlp", "trunk__discriminator_norm": "none"}
    narrow_train("infogan", place / "run", infogan__codes="categorical:4, uniform:1, categorical:2", **settings)
    narrow_train("gan", place / "plain", **settings)
    return place


@pytest.fixture(scope="module")
def model(place: Path) -> GAN:
    return gan_zoo.load(place / "run")


def test_classes_that_lie_apart_are_found(place: Path) -> None:
    found = cluster(gan_zoo.load(place / "plain"), opened(place / "set.npz"))
    assert list(found) == ["k-means"]
    told = found["k-means"]
    assert told["k"] == 3
    assert sorted(told["train"]["sizes"]) == [20, 20, 20]
    assert sorted(told["test"]["sizes"]) == [10, 10, 10]
    for part in ("train", "test"):
        assert told[part]["scores"] == pytest.approx({"accuracy": 1, "purity": 1, "nmi": 1, "ari": 1})


def test_every_categorical_code_stands_beside_them(model: GAN, place: Path) -> None:
    found = cluster(model, opened(place / "set.npz"), k=5, seed=3)
    assert [(name, told["k"]) for name, told in found.items()] == [("k-means", 5), ("c1", 4), ("c3", 2)]
    for told in found.values():
        assert (len(told["train"]["sizes"]), sum(told["train"]["sizes"]), sum(told["test"]["sizes"])) == (
            told["k"], 60, 30,
        )  # fmt: skip
        assert 0 < told["test"]["scores"]["accuracy"] <= 1


def test_without_labels_sizes_alone_are_told(model: GAN, place: Path) -> None:
    found = cluster(model, opened(place / "bare.npz"))
    assert found["k-means"]["k"] == 4
    assert found["k-means"]["train"].keys() == found["c1"]["train"].keys() == {"sizes"}
    assert "test" not in found["k-means"]


@pytest.mark.parametrize(("k", "word"), [(None, "--k"), (0, "--k 0"), (1, "--k 1"), (61, "between 2 clusters and 60")])
def test_a_number_of_clusters_that_cannot_be(k: int | None, word: str, place: Path) -> None:
    with pytest.raises(InputError) as error:
        cluster(gan_zoo.load(place / "plain"), opened(place / "bare.npz"), k=k)
    assert word in one_line(error)


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_features_are_pooled_over_space_as_evaluated(pool: str, place: Path) -> None:
    model = gan_zoo.create("dcgan", width=4, resolution=32, channels=1, classes=0)
    split = opened(place / "set.npz").train
    assert isinstance(split.images, torch.Tensor)
    split.images[0] = split.images[59]
    found = pooled(model, type(split)(torch.nn.functional.pad(split.images, (10,) * 4)), pool=pool, batch_size=7)  # type: ignore[arg-type]
    channels = model.discriminator.trunk.feature_map(torch.zeros(2, 1, 32, 32)).shape[1]
    assert found.shape == (60, channels)
    assert found[0] == pytest.approx(found[59], abs=1e-6)
    assert model.training


def test_the_command_shows_each_split_or_one_and_writes_json(place: Path, tmp_path: Path) -> None:
    ended = zoo("cluster", place / "run", "--out", tmp_path / "c.json")
    assert (ended.code, ended.err) == (0, "")
    told = json.loads((tmp_path / "c.json").read_text())
    assert told["clusterings"]["k-means"]["test"]["scores"]["accuracy"] == 1
    assert (told["checkpoint"], told["seed"]) == ("step-00000001", 0)
    for word in ("k-means", "c1", "c3", "train", "test", "accuracy", "purity", "nmi", "ari", "1.0000", "20 20 20"):
        assert word in ended.out
    alone = zoo("cluster", place / "run", "--split", "test").out
    assert "10 10 10" in alone
    assert "20 20 20" not in alone
    assert json.loads(zoo("cluster", place / "run", "--json").out) == told
