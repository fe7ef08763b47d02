"""The statistics of a dataset."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from commandline import write_set, zoo
from PIL import Image
from rich.console import Console

from gan_zoo.analysis.overview import COLUMNS, MOST_ROWS, overview, samples, tables
from gan_zoo.config import Data
from gan_zoo.data.dataset import Dataset, Split, open_dataset
from gan_zoo.images import GAP, cell_side
from gan_zoo.shapes import ImageShape

RANDOM = np.random.default_rng(0)


def made(pixels: torch.Tensor, labels: torch.Tensor | None = None, *, classes: int = 0, **more: object) -> Dataset:
    shape = ImageShape(pixels.shape[1], pixels.shape[2])
    return Dataset("set", shape, classes, Split(pixels, labels), **more)  # type: ignore[arg-type]


def shown(dataset: Dataset) -> str:
    console = Console(width=200)
    with console.capture() as said:
        for table in tables(overview(dataset)):
            console.print(table)
    return said.get()


def test_figures_are_those_of_the_pixels() -> None:
    pixels = torch.from_numpy(RANDOM.integers(10, 200, (1234, 3, 5, 5), dtype=np.uint8))
    told = overview(made(pixels))
    values = pixels.double() / 127.5 - 1
    assert told.mean == pytest.approx(values.mean((0, 2, 3)).tolist(), abs=1e-6)
    assert told.deviation == pytest.approx(values.std((0, 2, 3), correction=0).tolist(), abs=1e-6)
    assert told.range[0] == pytest.approx((10 / 127.5 - 1, 199 / 127.5 - 1), abs=1e-6)
    assert (told.measured, told.in_memory, told.classes, told.class_counts) == (1234, True, 0, {})


def test_repeated_images_are_counted() -> None:
    pixels = torch.from_numpy(RANDOM.integers(0, 256, (600, 1, 4, 4), dtype=np.uint8))
    pixels[590:] = pixels[:10]
    told = overview(made(pixels, test=Split(torch.cat([pixels[:3], 255 - pixels[:4]]))))
    assert (told.duplicates, told.shared) == (10, 3)
    said = shown(made(pixels, test=Split(pixels[:3])))
    assert "10 training images repeat another (1.7%)" in said
    assert "3 test images are training images" in said


def test_a_set_that_is_read_when_asked_for_is_measured_by_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_zoo.analysis.overview.MEASURED", 50)
    sprites = open_dataset(Data(name="sprites", resolution=8))
    told = overview(sprites)
    assert (told.measured, told.in_memory, told.duplicates, told.shared) == (50, False, None, None)
    assert told == overview(sprites), "the same by the same seed"
    assert told.mean != overview(sprites, seed=1).mean
    assert told.factors == {"shape": 3, "scale": 6, "orientation": 40, "x": 32, "y": 32}
    assert told.class_counts == {"train": [245760] * 3}
    said = shown(sprites)
    assert "mean, of 50 images" in said
    assert "shape (3), scale (6)" in said
    assert "read or drawn on request" in said


def test_many_classes_are_told_by_the_largest_and_the_smallest() -> None:
    labels = torch.cat([torch.full((k + 1,), k) for k in range(30)])
    dataset = made(torch.zeros(len(labels), 1, 4, 4, dtype=torch.uint8), labels, classes=30)
    lines = shown(dataset).splitlines()
    first = next(k for k, line in enumerate(lines) if line.startswith("class "))
    rows = [line.split() for line in lines[first + 1 :]]
    assert rows[:10] == [[str(k), str(k + 1)] for k in range(29, 19, -1)]
    assert rows[-10:] == [[str(k), str(k + 1)] for k in range(9, -1, -1)]
    assert len(rows) == 21


def cells(picture: Image.Image, rows: int, side: int) -> list[list[int]]:
    """The grey in the middle of each cell, from the right lower corner on."""
    pitch, (width, height) = side + GAP, picture.size
    return [
        [
            picture.getpixel((width - (COLUMNS - k) * pitch + GAP + side // 2, height - (rows - j) * pitch + side))[0]  # type: ignore[index]
            for k in range(COLUMNS)
        ]
        for j in range(rows)
    ]


def test_the_picture_has_a_row_for_each_class_and_gaps_where_images_lack() -> None:
    labels = torch.tensor([2] * 30 + [0] * 4 + [2] * 5)  # and none of class 1
    pixels = (labels * 50 + 20).to(torch.uint8)[:, None, None, None].expand(-1, 1, 16, 16).contiguous()
    picture = samples(made(pixels, labels, classes=3, class_names=("ant", "bee", "cat")))
    found = cells(picture, 3, cell_side(16))
    assert found == [[20] * 4 + [255] * 6, [255] * 10, [120] * 10]
    bare = samples(made(pixels, labels, classes=3))
    assert picture.width > bare.width, "names are wider than numbers"


def test_the_picture_of_very_many_classes_or_of_none_is_no_larger_than_a_screen() -> None:
    labels = torch.arange(300)
    pixels = torch.zeros(300, 3, 128, 128, dtype=torch.uint8)
    pitch = cell_side(128) + GAP
    assert samples(made(pixels, labels, classes=300)).height == MOST_ROWS * pitch - GAP
    assert samples(made(pixels)).size == (10 * pitch - GAP, 10 * pitch - GAP)
    assert samples(made(pixels[:13])).size == (10 * pitch - GAP, 2 * pitch - GAP)
    two = [samples(open_dataset(Data()), seed=seed).tobytes() for seed in (0, 0, 1)]
    assert two[0] == two[1] != two[2]


def test_the_command_tells_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_set(tmp_path / "my set.npz", channels=3)
    ended = zoo("datasets", tmp_path / "my set.npz", "--resolution", "16", "--channels", "1")
    assert (ended.code, ended.err) == (0, "")
    assert "16×16, grey" in ended.out
    assert "24 train" in ended.out
    assert [path.name for path in tmp_path.iterdir()] == ["my set.npz"], "no picture that nobody asked for"
    ended = zoo("datasets", tmp_path / "my set.npz", "--resolution", "16", "--channels", "1", "--out", "a.png")
    assert ended.out.splitlines()[-1] == "samples: a.png"
    with Image.open("a.png") as picture:
        assert picture.height == 10 * (64 + GAP) - GAP
    words = ("array", "--path", tmp_path / "my set.npz", "--out", tmp_path / "a.webp", "--balance", *["0.5"] * 10)
    told = json.loads(zoo("datasets", *words, "--json").out)
    assert told["picture"] == str(tmp_path / "a.webp") and (tmp_path / "a.webp").exists()
    assert told["images"] == {"train": 14} and told["class_counts"] == {"train": [2] * 4 + [1] * 6}
    assert told["shape"] == [3, 28, 28] and told["name"] == "array"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "unknown dataset 'nothing'"),
        (["mnist-5k", "--resolution", "2"], "resolution = 2: must be greater than or equal to 4"),
        (["mnist-5k", "--out", "a.txt"], "a.txt: the name of a picture must end in"),
        (["mnist-5k", "--seed", "-1"], "--seed must be a whole number from 0 to"),
        (["hub"], "data 'hub' requires data.path"),
    ],
)
def test_what_cannot_be_looked_at_is_refused_in_a_line(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = zoo("datasets", *words)
    assert ended.code == 2
    assert said in ended.err and ended.err.count("\n") == 1
    assert not list(tmp_path.glob("*.*"))


def test_keys_that_do_not_decide_what_a_set_is_are_no_flags() -> None:
    said = zoo("datasets", "--help").out
    assert "--resolution" in said and "--no-cache" in said
    assert "--augment" not in said and "--warp" not in said and "--name" not in said
    assert zoo("datasets", "mnist-5k", "--warp", "flip").code == 2
