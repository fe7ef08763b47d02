"""Folders of images in all formats, and files that only look like images."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_zoo.config import Data
from gan_zoo.data import pixels as pixels_module
from gan_zoo.data.dataset import Dataset, open_dataset
from gan_zoo.errors import InputError
from gan_zoo.shapes import ImageShape


def opened(folder: Path, **settings: object) -> Dataset:
    return open_dataset(Data(name="folder", path=str(folder), **settings))


def refused(folder: Path, **settings: object) -> str:
    with pytest.raises(InputError) as caught:
        opened(folder, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def centre(dataset: Dataset, index: int = 0) -> list[int]:
    """The channels of the pixel in the middle of image `index`."""
    image = dataset.train.pixels(torch.tensor([index]))[0]
    return image[:, image.shape[1] // 2, image.shape[2] // 2].tolist()


RED = (220, 20, 30)


@pytest.mark.parametrize("ending", ["png", "bmp", "gif", "tiff", "webp", "jpg", "ppm", "tga", "ico"])
@pytest.mark.parametrize("size", [(16, 16), (50, 20), (9, 31)])
def test_formats_and_sizes_become_one_shape(tmp_path: Path, ending: str, size: tuple[int, int]) -> None:
    exact = {"sizes": [size]} if ending == "ico" else {}  # else Pillow may write an icon of no sizes
    Image.new("RGB", size, RED).save(tmp_path / f"a.{ending}", **exact)
    found = opened(tmp_path, resolution=12)
    assert found.image == ImageShape(3, 12)
    assert np.abs(np.array(centre(found)) - RED).max() <= 4, "lossy formats are a little off"


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("RGBA", (8, 8), (*RED, 255)), list(RED)),
        (Image.new("RGBA", (8, 8), (*RED, 0)), [255, 255, 255]),
        (Image.new("RGB", (8, 8), RED).quantize(4), list(RED)),
        (Image.new("L", (8, 8), 77), [77]),
        (Image.new("LA", (8, 8), (77, 0)), [255]),
        (Image.new("1", (8, 8), 1), [255]),
        (Image.fromarray(np.full((8, 8), 257 * 77, np.uint16)), [77]),
        (Image.fromarray(np.full((8, 8), 257 * 77, np.int32)), [77]),
        (Image.fromarray(np.full((8, 8), 0.2, np.float32)), [51]),
        (Image.new("CMYK", (8, 8), (0, 255, 255, 0)), [255, 0, 0]),
    ],
    ids=["rgba", "transparent", "palette", "grey", "grey-alpha", "bits", "16-bit", "32-bit", "float", "cmyk"],
)
def test_modes_become_grey_or_colour(tmp_path: Path, image: Image.Image, expected: list[int]) -> None:
    image.save(tmp_path / ("a.tiff" if image.mode in ("F", "I", "CMYK") else "a.png"))
    found = opened(tmp_path)
    assert found.image == ImageShape(len(expected), 8)
    assert centre(found) == expected


def test_a_palette_with_a_transparent_colour_is_laid_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([9, 9, 9, 200, 0, 0])
    image.save(tmp_path / "a.png", transparency=0)
    assert centre(opened(tmp_path)) == [255, 255, 255]


def test_rotation_in_exif_is_applied(tmp_path: Path) -> None:
    image = Image.new("L", (8, 8), 0)
    image.paste(255, (0, 0, 4, 8))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    upright = opened(tmp_path).train.pixels(torch.tensor([0]))[0, 0]
    assert upright[0].tolist() == [255] * 8, "what is stored as the left half is shown as the upper one"
    assert upright[-1].tolist() == [0] * 8


def test_mixed_grey_and_colour_is_colour_unless_set(tmp_path: Path) -> None:
    Image.new("L", (8, 8), 77).save(tmp_path / "a.png")
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "b.png")
    assert centre(opened(tmp_path)) == [77, 77, 77]
    assert centre(opened(tmp_path, channels=1), 1) == [76]


def test_images_of_several_sizes_need_a_resolution(tmp_path: Path) -> None:
    Image.new("L", (8, 12)).save(tmp_path / "a.png")
    Image.new("L", (30, 9)).save(tmp_path / "b.png")
    assert "8 to 9 pixels" in refused(tmp_path)
    assert opened(tmp_path, resolution=8).image == ImageShape(1, 8)


def test_subfolders_are_classes(tmp_path: Path) -> None:
    for number, name in enumerate(["cat/1.png", "cat/2.png", "ant/1.png", ".hidden/1.png", "dog/note.txt"]):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number).save(tmp_path / "set" / name, format="PNG")
    for folder in (tmp_path / "set", tmp_path):
        found = opened(folder)
        assert found.classes == 2
        assert found.train.labels is not None
        assert found.train.labels.tolist() == [0, 1, 1]
        assert [centre(found, i) for i in range(3)] == [[2], [0], [1]], "in the order of their paths"
    Image.new("L", (8, 8)).save(tmp_path / "set" / "loose.png")
    assert opened(tmp_path / "set").classes == 0


def test_train_and_test_are_splits(tmp_path: Path) -> None:
    for name in ("train/a/1.png", "train/b/1.png", "train/b/2.png", "test/b/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(tmp_path / name)
    found = opened(tmp_path)
    assert found.test is not None
    assert found.train.labels is not None
    assert found.test.labels is not None
    assert (found.train.labels.tolist(), found.test.labels.tolist()) == ([0, 1, 1], [1])
    (tmp_path / "test" / "c").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "test" / "c" / "1.png")
    assert "test/c/1.png is in none of the classes" in refused(tmp_path)


@pytest.mark.parametrize("memory", [0.0, 2.0])
def test_unreadable_files_are_named_and_counted(tmp_path: Path, memory: float) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "good.png")
    for letter in "edcba":
        (tmp_path / f"{letter}.png").write_text("no image at all")
    message = refused(tmp_path, resolution=8, channels=1, memory=memory)
    assert "5 of 6 images cannot be read: a.png (not an image that can be read), b.png" in message
    assert "and 2 more" in message
    assert "d.png" not in message


def test_a_name_over_two_lines_stays_in_one(tmp_path: Path) -> None:
    (tmp_path / "two\nlines.png").write_text("no image at all")
    assert r"'two\nlines.png' (not an image" in refused(tmp_path)


def test_pillow_remarks_neither_reach_the_user_nor_change_the_filters(tmp_path: Path) -> None:
    for number in range(8):
        image = Image.new("P", (8, 8), 0)
        image.putpalette([9, 9, 9, 200, 0, 0])
        image.save(tmp_path / f"{number}.png", transparency=b"\x10\x20")
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always")
        opened(tmp_path, workers=4)
    assert remarks == []
    assert warnings.filters == before


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) // 2])
    assert "a.jpg (image file is truncated" in refused(tmp_path)


def test_decompression_bombs_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    assert "bomb.png (" in refused(tmp_path, resolution=8)
    Image.new("1", (300, 300)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(pixels_module, "MAX_PIXELS", 300 * 299)
    assert "300×300 pixels, more than 89,700" in refused(tmp_path, resolution=8)


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    Image.new("L", (8, 8), 1).save(outside / "secret.png")
    Image.new("L", (8, 8), 2).save(inside / "own.png")
    (inside / "a.png").symlink_to(outside / "secret.png")
    (inside / "b").symlink_to(outside, target_is_directory=True)
    (inside / "c.png").symlink_to(inside / "own.png")
    found = opened(inside)
    assert [centre(found, i) for i in range(len(found.train))] == [[2], [2]], "own.png and the link to it"


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    assert "it is empty" in refused(tmp_path)
    (tmp_path / "notes.txt").write_text("nothing here")
    assert "notes.txt" in refused(tmp_path)
    assert "is not a folder" in refused(tmp_path / "notes.txt")
    assert "does not exist" in refused(tmp_path / "none")
    with pytest.raises(InputError, match=r"requires data\.path: a folder of images"):
        open_dataset(Data(name="folder"))


def test_streamed_and_held_images_are_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(5):
        shape = (20 + number, 30, 3)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / f"{number}.png")
    held, streamed = opened(tmp_path, resolution=16), opened(tmp_path, resolution=16, memory=0)
    assert isinstance(held.train.images, torch.Tensor)
    assert not isinstance(streamed.train.images, torch.Tensor)
    assert torch.equal(streamed.train.pixels(torch.arange(5)), held.train.images)
