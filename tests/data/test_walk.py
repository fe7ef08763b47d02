"""Skipped files in a folder of images: gan-zoo's outputs, links, and broken images."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from commandline import TINY, zoo
from opening import opened, refused
from PIL import Image

import gan_zoo
from gan_zoo.images import is_made_here, save_image

COUNT = 6
MLP = ("--trunk.name", "mlp")


def fill(folder: Path, count: int = COUNT, side: int = 16) -> Path:
    random = np.random.default_rng(count)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"i{number}.png")
    return folder


# What gan-zoo wrote


def test_what_was_trained_exported_and_drawn_below_the_data_is_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "imgs")
    monkeypatch.chdir(folder)
    for _ in range(2):  # the second finds the first one's pictures
        assert zoo("train", "infogan", "--data", ".", *TINY, *MLP).code == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["infogan-imgs-001", "infogan-imgs-002"]
    run = "runs/infogan-imgs-001"
    assert zoo("export", run, "--out", "exported").code == 0
    assert zoo("sample", run, "-n", 4, "--out", "drawn.png").code == 0
    assert zoo("traverse", run, "--out", "varied.webp").code == 0
    assert zoo("datasets", ".", "--out", "looked.png").code == 0
    Image.new("L", (50, 50)).save("dataset-imgs.png")  # of a release whose pictures bear no mark
    Image.new("L", (50, 50)).save("exported/samples.png")
    found = opened(folder)
    assert len(found.train) == COUNT and found.classes == 0
    assert found.notes[0] == f"{COUNT} images, no classes"
    assert "pictures that gan-zoo wrote (" in found.notes[1]
    message = refused(folder / "runs")
    assert "contains no images" in message and "pictures that gan-zoo wrote" in message


def test_folders_and_pictures_of_others_are_data(tmp_path: Path) -> None:
    fill(tmp_path / "runs")
    (tmp_path / "runs/config.toml").write_text('title = "photos"\n')
    fill(tmp_path / "checkpoints", 2)
    Image.new("L", (16, 16)).save(tmp_path / "runs/dataset-portraits.png")
    Image.new("L", (16, 16)).save(tmp_path / "runs/dataset-mnist-5k.jpg")
    assert len(opened(tmp_path).train) == COUNT + 2 + 2


@pytest.mark.parametrize(
    ("ending", "frames"), [("png", 1), ("jpg", 1), ("webp", 1), ("webp", 3), ("gif", 1), ("gif", 3), ("tiff", 1)]
)
def test_a_picture_says_who_wrote_it(tmp_path: Path, ending: str, frames: int) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path = save_image(image, tmp_path / f"a.{ending}", append=[image.rotate(90)] * (frames - 1))
    assert is_made_here(path)
    image.save(tmp_path / f"b.{ending}")
    assert not is_made_here(tmp_path / f"b.{ending}")


# Links


@pytest.fixture
def links(tmp_path: Path) -> Path:
    """A folder as the Hub's cache has them: all its files are links."""
    fill(tmp_path / "blobs", 3)
    folder = tmp_path / "snapshot"
    (folder / "cat").mkdir(parents=True)
    (folder / "dog").mkdir()
    (folder / "cat/0.png").symlink_to("../../blobs/i0.png")
    (folder / "cat/1.png").symlink_to("../../blobs/i1.png")
    (folder / "dog/2.png").symlink_to(tmp_path / "blobs/i2.png")
    return folder


def test_links_are_counted_with_the_reason_and_followed_if_asked(links: Path) -> None:
    message = refused(links)
    assert "skipped 3 links that lead out of the folder (cat/0.png, cat/1.png, dog/2.png)" in message
    assert "data.follow_links = true follows them" in message
    found = opened(links, follow_links=True)
    assert found.class_names == ("cat", "dog")
    assert found.train.labels is not None and found.train.labels.tolist() == [0, 0, 1]
    assert [*found.train.names] == ["cat/0.png", "cat/1.png", "dog/2.png"]
    fill(links / "own", 2)
    assert "skipped 3 links that lead out" in opened(links).notes[1]
    assert len(opened(links).train) == 2


def test_circles_of_links_end(links: Path, tmp_path: Path) -> None:
    (links / "cat/up").symlink_to(links, target_is_directory=True)
    (links / "round").symlink_to("round")
    (links / "round.txt").symlink_to("round.txt")
    (links / "all").symlink_to(tmp_path, target_is_directory=True)  # which contains this folder itself
    (links / "blobs").symlink_to(tmp_path / "blobs", target_is_directory=True)
    (links / "again").symlink_to(tmp_path / "blobs", target_is_directory=True)
    found = opened(links, follow_links=True)
    assert len(found.train) == 3 + 3, "each folder is read once"
    assert "links to folders inside the folder" in found.notes[-1]
    fill(links / "own", 2)
    assert len(opened(links).train) == 2


def test_a_link_that_leads_nowhere_is_named(links: Path) -> None:
    (links / "dog/gone.png").symlink_to(links / "nothing.png")
    (links / "dog/round.png").symlink_to("round.png")
    message = refused(links, follow_links=True)
    assert "2 of 5 images cannot be read" in message
    assert "dog/gone.png (no such file)" in message and "dog/round.png" in message


def test_a_saved_set_of_links_is_followed_if_asked(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra `hub` is not installed")
    images = [Image.new("L", (8, 8), grey) for grey in range(3)]
    table = datasets.Dataset.from_dict({"image": images}, features=datasets.Features({"image": datasets.Image()}))
    table.to_parquet(tmp_path / "blob")
    (tmp_path / "snapshot/data").mkdir(parents=True)
    (tmp_path / "snapshot/data/train-00000-of-00001.parquet").symlink_to(tmp_path / "blob")
    assert "data.follow_links = true" in refused(tmp_path / "snapshot", name="hub", path=str(tmp_path / "snapshot"))
    for name in ("hub", "folder"):
        assert len(opened(tmp_path, name=name, path=str(tmp_path / "snapshot"), follow_links=True).train) == 3


# Broken images


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Eight images, three of them truncated, and a file that is not an image."""
    folder = fill(tmp_path / "imgs", 8)
    for number in (1, 3, 6):
        path = folder / f"i{number}.png"
        path.write_bytes(path.read_bytes()[:300])
    (folder / "i9.png").write_text("no image")
    return folder


BROKEN = ["i1.png", "i3.png", "i6.png", "i9.png"]


@pytest.mark.parametrize("memory", [0.0, 2.0])
def test_one_command_names_all_broken_images(broken: Path, memory: float) -> None:
    ended = zoo("datasets", broken, "--memory", memory)
    assert ended.code == 2
    assert sorted(line.split()[0] for line in ended.out.splitlines()) == BROKEN
    assert "4 images cannot be read" in ended.err and "data.skip_broken = true" in ended.err
    listed = json.loads(zoo("datasets", broken, "--memory", memory, "--json").out)
    assert sorted(line.split()[0] for line in listed["broken"]) == BROKEN


@pytest.mark.parametrize("memory", [0.0, 2.0])
def test_broken_images_are_left_out_counted_and_named(broken: Path, memory: float) -> None:
    found = opened(broken, skip_broken=True, memory=memory)
    assert [*found.train.names] == ["i0.png", "i2.png", "i4.png", "i5.png", "i7.png"]
    assert sorted(line.split()[0] for line in found.broken) == BROKEN
    assert (
        found.notes[-1].startswith("skipped 4 of these images, which cannot be read: ")
        and "and 1 more" in found.notes[-1]
    )
    assert found.train.pixels(torch.arange(5)).shape == (5, 3, 16, 16)
    ended = zoo("datasets", broken, "--skip-broken", "--memory", memory)
    assert ended.code == 0 and "skipped 4 of these images, which cannot be read" in ended.out


def test_labels_stay_with_their_images_where_some_are_left_out(tmp_path: Path) -> None:
    fill(tmp_path / "cat", 3)
    fill(tmp_path / "dog", 2)
    (tmp_path / "cat/i0.png").write_bytes(b"")
    for memory in (0.0, 2.0):
        found = opened(tmp_path, skip_broken=True, memory=memory)
        assert found.train.labels is not None and found.train.labels.tolist() == [0, 0, 1, 1]
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"")
    assert "none of the images can be read" in refused(tmp_path, skip_broken=True)


def test_the_error_of_a_broken_image_says_what_helps(broken: Path) -> None:
    assert "gan-zoo datasets" in refused(broken) and "data.skip_broken = true" in refused(broken)


# Messages at the start of a run


def test_a_run_says_what_its_data_are(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.link(broken / "i0.png", broken / "loose.png")
    for split in ("train", "val"):
        fill(broken / split / "cat", 2)
        fill(broken / split / "dog", 2)
    (broken / "train/dog/i9.png").write_bytes(b"")
    data = {"name": str(broken), "skip_broken": True}
    gan_zoo.train(
        "gan", out=broken / "run", data=data, steps=1, batch_size=2, width=2, device="cpu", trunk={"name": "mlp"}
    )
    told = capsys.readouterr()
    said = told.out + told.err
    assert "5 images in 2 classes, split train; 10 in no split unused; 4 in validation for evaluation" in said
    assert "skipped 1 of these images, which cannot be read: train/dog/i9.png" in said
