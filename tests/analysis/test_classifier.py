"""The classifier for evaluation: what it learns, and when it is retrained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from measured import SIDE, opened, same_weights, striped, write_striped
from narrow import one_line

from gan_zoo.analysis.classifier import FEATURES, classifier
from gan_zoo.config import Data
from gan_zoo.data.dataset import open_dataset
from gan_zoo.errors import InputError
from gan_zoo.files import cache_folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_striped(tmp_path / "Striped set.npz")


def test_it_learns_the_labels_and_its_features_tell_them(data: Path) -> None:
    told = classifier(opened(data))
    assert told.accuracy > 0.9
    images, labels = striped(30, seed=2)
    assert (told.predict(torch.from_numpy(images)).numpy() == labels).mean() > 0.9
    features = told.features(torch.from_numpy(images))
    assert features.shape == (30, FEATURES)
    assert not features.requires_grad
    assert torch.allclose(told.features(torch.from_numpy(images[:1])), features[:1], atol=1e-5)


def test_it_is_trained_once_and_kept(data: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(1)
    first = classifier(opened(data))
    torch.manual_seed(2)
    again = classifier(opened(data))
    (line,) = capsys.readouterr().err.splitlines()
    assert "measurement" in line
    (kept,) = cache.iterdir()
    assert kept.name.startswith(f"classifier-striped-set-1x{SIDE}x{SIDE}-")
    assert same_weights(first, again)
    assert again.accuracy == first.accuracy
    assert not again.training


def test_it_is_a_function_of_the_set(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = classifier(opened(data))
    monkeypatch.setenv("GAN_ZOO_CACHE", str(tmp_path / "elsewhere"))
    torch.manual_seed(7)
    drawn = torch.rand(())
    torch.manual_seed(7)
    assert same_weights(first, classifier(opened(data)))
    assert torch.rand(()) == drawn


def test_another_image_or_label_is_another_set(tmp_path: Path, cache: Path) -> None:
    for number in range(3):
        dataset = opened(write_striped(tmp_path / "set.npz"))
        if number == 1:
            dataset.train.images[0, 0, 0, 0] ^= 1  # type: ignore[index, operator]
        if number == 2:
            assert dataset.train.labels is not None
            dataset.train.labels[:2] = dataset.train.labels[:2].flip(0)
        classifier(dataset)
    assert len(list(cache.iterdir())) == 3


def test_a_damaged_one_is_trained_anew(data: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = classifier(opened(data))
    (kept,) = cache.iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    capsys.readouterr()
    assert same_weights(first, classifier(opened(data)))
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_without_a_test_split_images_are_held_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    train = classifier.__globals__["_train"]
    monkeypatch.setitem(classifier.__globals__, "_train", lambda n, split: (seen.append(len(split)), train(n, split)))
    told = classifier(opened(write_striped(tmp_path / "set.npz", train=60, test=0)))
    assert seen == [54]
    assert told.accuracy in {k / 6 for k in range(7)}


def test_a_training_that_is_cut_off_leaves_nothing(data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off(_tensors: object, path: Path, _facts: object) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setitem(classifier.__globals__, "save_file", cut_off)
    with pytest.raises(KeyboardInterrupt):
        classifier(opened(data))
    assert not any(cache.iterdir())


def test_sets_that_it_cannot_be_had_of(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        classifier(opened(write_striped(tmp_path / "set.npz", labels=False)))
    assert "no labels" in one_line(error)
    with pytest.raises(InputError) as error:
        classifier(open_dataset(Data(name=str(write_striped(tmp_path / "set.npz")), resolution=65)))
    assert "65 pixels" in one_line(error)


def test_where_it_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path) -> None:
    assert cache_folder() == cache
    monkeypatch.delenv("GAN_ZOO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "gan-zoo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "gan-zoo"


def test_one_that_cannot_be_kept_is_used(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GAN_ZOO_CACHE", str(tmp_path / "file" / "below"))
    found = classifier(open_dataset(Data(name=str(data))))
    assert found.accuracy > 0
    assert "could not be cached" in capsys.readouterr().err.splitlines()[-1]
