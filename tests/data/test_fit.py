"""data.fit: images that are not square are cropped, padded or stretched, everywhere alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commandline import zoo
from narrow import narrow_train
from PIL import Image

from gan_zoo.analysis.encode import open_images
from gan_zoo.config import Data
from gan_zoo.data import cache
from gan_zoo.data.cache import decoded_once
from gan_zoo.data.dataset import open_dataset
from gan_zoo.data.fingerprint import fingerprint, from_record
from gan_zoo.data.folder import Files
from gan_zoo.data.pixels import decode, fit, fit_note, inner_size
from gan_zoo.shapes import ImageShape

GREY = ImageShape(1, 8)
WAYS = ("crop", "pad", "stretch")


def wide(height: int = 8, width: int = 16) -> np.ndarray:
    """A white picture whose left and right quarters are grey."""
    pixels = np.full((height, width), 255, np.uint8)
    pixels[:, : width // 4] = pixels[:, -width // 4 :] = 128
    return pixels


EXPECTED = {
    "crop": np.full((8, 8), 255),
    "pad": np.array([[0] * 8] * 2 + [[128] * 2 + [255] * 4 + [128] * 2] * 4 + [[0] * 8] * 2),
    "stretch": np.array([[128] * 2 + [255] * 4 + [128] * 2] * 8),
}


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("upright", [False, True])
def test_an_image_becomes_a_square_as_a_file_and_as_an_array(how: Any, upright: bool) -> None:
    picture, expected = wide(), EXPECTED[how]
    if upright:
        picture, expected = picture.T.copy(), expected.T
    as_file = decode(Image.fromarray(picture), GREY, how)[0]
    as_array = fit(torch.from_numpy(picture)[None, None], GREY, how)[0, 0]
    for pixels in (as_file, as_array):
        inner = np.abs(pixels.numpy().astype(int) - expected)
        assert inner.max() <= 20  # the bicubic filter overshoots at edges
        assert (inner <= 8).mean() > 0.7
        if how == "pad":
            assert (pixels.numpy()[expected == 0] == 0).all()


@pytest.mark.parametrize("how", WAYS)
def test_square_images_are_the_same_whatever_fit(how: Any) -> None:
    square = torch.randint(0, 256, (3, 3, 12, 12), dtype=torch.uint8)
    assert torch.equal(fit(square, ImageShape(3, 8), how), fit(square, ImageShape(3, 8)))
    picture = Image.fromarray(square[0].permute(1, 2, 0).numpy())
    assert torch.equal(decode(picture, GREY, how), decode(picture, GREY))


def test_a_long_strip_needs_no_memory_beyond_its_own() -> None:
    assert inner_size((100_000, 1), 8, "pad") == (8, 1)
    assert decode(Image.new("L", (100_000, 1), 255), GREY, "pad").sum() == 8 * 255
    assert fit(torch.full((1, 1, 1, 100_000), 255, dtype=torch.uint8), GREY, "pad").sum() == 8 * 255


def test_the_note_tells_how_many_images_and_how_much_of_them() -> None:
    sizes = [(8, 8), (8, 16), (32, 8), (9, 9)]
    assert fit_note(sizes, "crop", 4) == [
        "2 of 4 images are not square: data.fit = crop cuts 62% of their area; a model trained with pad or stretch "
        "keeps it"
    ]
    assert fit_note(sizes, "pad", 900) == ["2 of 4 images looked at are not square: data.fit = pad adds black bars"]
    assert fit_note(sizes, "stretch", 4)[0].endswith("data.fit = stretch changes their proportions")
    assert fit_note([(8, 8)], "crop", 1) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three wide pictures and a square one."""
    place = tmp_path / "wide"
    place.mkdir()
    for name in "abc":
        Image.fromarray(wide(28, 56)).save(place / f"{name}.png")
    Image.fromarray(wide(28, 28)).save(place / "d.png")
    return place


@pytest.mark.parametrize("memory", [2.0, 0.0])
@pytest.mark.parametrize("how", WAYS)
def test_a_folder_is_fitted_in_memory_and_streamed(how: Any, memory: float, folder: Path) -> None:
    opened = open_dataset(Data(name=str(folder), resolution=8, channels=1, fit=how, memory=memory))
    pixels = opened.train.pixels(torch.arange(4))
    assert torch.equal(pixels[0], decode(Image.open(folder / "a.png"), GREY, how))
    (line,) = (note for note in opened.notes if "not square" in note)
    assert line.startswith(f"3 of 4 images are not square: data.fit = {how} ")


@pytest.mark.parametrize("ending", ["npz", "npy"])
@pytest.mark.parametrize("memory", [2.0, 0.0])
def test_arrays_are_fitted_too(ending: str, memory: float, tmp_path: Path) -> None:
    images, path = np.stack([wide()] * 3), tmp_path / f"set.{ending}"
    np.savez(path, images=images) if ending == "npz" else np.save(path, images)
    opened = open_dataset(Data(name=str(path), resolution=8, fit="pad", memory=memory))
    assert torch.equal(
        opened.train.pixels(torch.tensor([0]))[0], fit(torch.from_numpy(images)[:1, None], GREY, "pad")[0]
    )
    assert "3 of 3 images are not square: data.fit = pad adds black bars" in opened.notes
    assert open_dataset(Data(name=str(path), fit="pad")).image.resolution == 16
    assert open_dataset(Data(name=str(path), fit="stretch")).image.resolution == 8


def test_the_cache_keeps_each_way_apart(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAN_ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "WORTH_IMAGES", 1)
    files = Files(folder, ["a.png", "b.png"])
    for number, how in enumerate(WAYS):
        made = torch.full((2, 1, 8, 8), number, dtype=torch.uint8)
        for _ in range(2):
            (pixels,) = decoded_once([files], GREY, how, lambda made=made: [made], where="them")  # type: ignore[misc]
            assert torch.equal(pixels, made)
    assert len([*(tmp_path / "cache" / "images").iterdir()]) == 3


def test_the_fingerprint_differs_and_that_of_earlier_releases_is_of_cropped_images(folder: Path) -> None:
    prints = {how: fingerprint(open_dataset(Data(name=str(folder), resolution=8, fit=how))) for how in WAYS}  # type: ignore[arg-type]
    assert "fit" not in prints["crop"].digests
    for how in WAYS:
        read = from_record(json.loads(json.dumps(prints[how].record)))
        assert read is not None
        assert [read.change(now) for now in prints.values()] == ["data.fit differs" * (how != other) for other in WAYS]


def test_a_run_tells_at_its_start_and_resumes_and_encodes_as_it_was_trained(folder: Path, tmp_path: Path) -> None:
    settings = {"data.name": str(folder), "data.fit": "pad", "data.resolution": 28, "data.channels": 1}
    run = narrow_train("infogan", tmp_path / "run", training__steps=1, training__batch_size=4, **settings)
    words = ("train", "--resume", "--out", run.folder, "--steps", 2)
    ended = zoo(*words, "--data.fit", "crop")
    assert (ended.code, ended.err.strip().count("\n")) == (2, 0)
    assert "with another data.fit; leave out --data.fit to keep it" in ended.err
    ended = zoo(*words)
    assert ended.code == 0, ended.err
    assert "3 of 4 images are not square: data.fit = pad adds black bars" in ended.out
    for images in ((folder / "a.png", folder / "b.png"), (folder,)):
        told = zoo("encode", run.folder, *images, "--out", tmp_path / "codes.csv").err
        assert "images are not square: data.fit = pad adds black bars" in told
    opened = open_images([str(folder / "a.png")], run, ImageShape(1, 28))
    assert torch.equal(
        opened.split.pixels(torch.tensor([0]))[0], decode(Image.open(folder / "a.png"), ImageShape(1, 28), "pad")
    )


def test_the_overview_tells_and_takes_the_flag(folder: Path) -> None:
    out = zoo("datasets", folder, "--resolution", 8, "--fit", "stretch").out
    assert "3 of 4 images are not square: data.fit = stretch changes their proportions" in out


def test_another_way_is_refused(folder: Path) -> None:
    ended = zoo("train", "gan", "--data", folder, "--data.fit", "squeeze")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "--data.fit 'squeeze' is not accepted" in ended.err and "crop, pad, stretch" in ended.err
