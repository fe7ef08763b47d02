"""Shares of classes: how many images stay, which, and what is refused."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from commandline import TINY, write_set, zoo
from hypothesis import given
from hypothesis import strategies as st

from gan_zoo.config import Data
from gan_zoo.data.balance import balanced_indices
from gan_zoo.data.batches import in_order
from gan_zoo.data.dataset import Dataset, LazyImages, open_dataset
from gan_zoo.errors import InputError
from gan_zoo.resolve import resolve

SHARES = (1, 0.5, 0.02, 0.1, 0.333, 1, 0.9, 0.001, 0.25, 0.7)


def counts(dataset: Dataset) -> tuple[list[int], list[int]]:
    assert dataset.test is not None
    train, test = dataset.train.labels, dataset.test.labels
    assert train is not None and test is not None
    return torch.bincount(train).tolist(), torch.bincount(test).tolist()


def test_both_splits_keep_the_stated_share_of_each_class() -> None:
    train, test = counts(open_dataset(Data(balance=SHARES)))
    assert train == [450, 225, 9, 45, 150, 450, 405, 1, 112, 315]
    assert test == [50, 25, 1, 5, 17, 50, 45, 1, 12, 35]


def test_no_balance_keeps_every_image() -> None:
    whole, shares = open_dataset(Data()), open_dataset(Data(balance=(1.0,) * 10))
    assert counts(whole) == counts(shares) == ([450] * 10, [50] * 10)
    assert torch.equal(whole.train.pixels(torch.arange(4500)), shares.train.pixels(torch.arange(4500)))


def test_images_stay_with_their_labels_whether_held_or_streamed() -> None:
    whole = open_dataset(Data())
    held, streamed = open_dataset(Data(balance=SHARES)), open_dataset(Data(balance=SHARES, memory=0))
    assert whole.train.labels is not None and held.train.labels is not None and streamed.train.labels is not None
    chosen = balanced_indices(whole.train.labels, SHARES)
    assert isinstance(held.train.images, torch.Tensor)
    assert not isinstance(streamed.train.images, torch.Tensor)
    for found in (held, streamed):
        assert torch.equal(found.train.labels, whole.train.labels[chosen])
        assert torch.equal(found.train.pixels(torch.arange(len(chosen))), whole.train.pixels(chosen))
    again = pickle.loads(pickle.dumps(streamed.train.images))
    assert torch.equal(again[torch.tensor([700])], held.train.images[700:701])
    batch = next(in_order(streamed.train, batch_size=9, device="cpu", workers=0))
    assert torch.equal(batch.images, next(in_order(held.train, batch_size=9, device="cpu")).images)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=60), st.lists(st.floats(0.01, 1), min_size=3, max_size=3))
def test_what_stays_is_in_order_spread_and_of_the_nearest_count(labels: list[int], shares: list[float]) -> None:
    every = torch.tensor(labels)
    chosen = balanced_indices(every, shares)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    for label, share in enumerate(shares):
        own = (every == label).nonzero()[:, 0].tolist()
        places = [own.index(k) for k in chosen.tolist() if labels[k] == label]
        assert len(places) == (max(1, round(len(own) * share)) if own else 0)
        gaps = {b - a for a, b in pairwise(places)}
        assert not gaps or max(gaps) - min(gaps) <= 1


def test_wrong_shares_and_sets_without_labels_are_refused_in_one_line(tmp_path: Path) -> None:
    def refused(settings: Data) -> str:
        with pytest.raises(InputError) as error:
            open_dataset(settings)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "data.balance has 2 shares, but data 'mnist-5k' has 10 classes" in refused(Data(balance=(1, 0.5)))
    assert "has no labels" in refused(Data(balance=(1, 0.5), classes=0))
    bare = tmp_path / "bare.npy"
    np.save(bare, np.zeros((5, 8, 8), np.uint8))
    assert "has no labels" in refused(Data(name=str(bare), balance=(1, 0.5)))


@pytest.mark.parametrize(("shares", "key"), [([1, 0], "balance.1 = 0"), ([1.5], "balance.0 = 1.5"), ("1", "balance")])
def test_a_share_out_of_range_is_refused_with_its_place(shares: object, key: str) -> None:
    with pytest.raises(InputError, match=f"^data.{key}"):
        resolve("gan", "mnist-5k", {"data.balance": shares})


def test_a_file_and_flags_give_shares(tmp_path: Path) -> None:
    data = write_set(tmp_path / "set.npz", classes=2)
    file = tmp_path / "mine.toml"
    file.write_text(f"model = 'gan'\n[data]\nname = '{data}'\nbalance = [1, 0.5]\n")
    assert resolve(config=file).data.balance == (1.0, 0.5)
    flags = ("--data.balance", "0.25", "1")
    ended = zoo("train", "gan", "--config", file, *TINY, *flags, "--out", tmp_path / "run")
    assert ended.code == 0, ended.err
    assert resolve(config=tmp_path / "run/config.toml").data.balance == (0.25, 1.0)
    ended = zoo("train", "gan", "--config", file, *TINY, "--data.balance", "1", "--out", tmp_path / "other")
    assert ended.code == 2
    assert ended.err.count("\n") == 1 and "1 shares" in ended.err
    assert not (tmp_path / "other").exists()


def test_a_thinned_set_that_is_drawn_makes_batches_and_has_no_whole_grid_of_factors() -> None:
    whole = open_dataset(Data(name="sprites", resolution=8))
    thin = open_dataset(Data(name="sprites", resolution=8, balance=(1.0, 0.5, 0.1)))
    assert whole.factors is not None and thin.factors is None
    assert isinstance(thin.train.images, LazyImages)
    chosen = torch.tensor([5, 300_000, len(thin.train) - 1])
    assert torch.equal(thin.train.pixels(chosen), torch.cat([thin.train.images[k] for k in chosen.split(1)]))
    assert thin.train.labels is not None and thin.train.labels[chosen].tolist() == [0, 1, 2]
