"""The cache of decoded images: keyed by content, never half-written, shared by processes."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO, StringIO
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from ranks import NEEDED
from rich.console import Console
from safetensors import SafetensorError
from safetensors.torch import save_file

from gan_zoo import terminal
from gan_zoo.config import Data, Fit
from gan_zoo.data import cache, encoded
from gan_zoo.data.dataset import Dataset, open_dataset
from gan_zoo.errors import InputError
from gan_zoo.files import PARTIAL
from gan_zoo.shapes import ImageShape
from gan_zoo.terminal import silent, with_progress

COUNT = 40
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache that accepts datasets of any size."""
    monkeypatch.setenv("GAN_ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "WORTH_IMAGES", 1)
    return tmp_path / "cache/images"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of two classes and two splits."""
    for k, pixels in enumerate(PIXELS):
        file = tmp_path / "set" / ("test" if k % 4 == 3 else "train") / "ab"[k % 2] / f"{k:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    return tmp_path / "set"


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows with every decoded image."""
    made: list[int] = []
    real = encoded.decode

    def decode(image: Image.Image, shape: ImageShape, how: Fit) -> torch.Tensor:
        made.append(1)
        return real(image, shape, how)

    monkeypatch.setattr(encoded, "decode", decode)
    return made


def opened(folder: Path, **settings: Any) -> Dataset:
    return open_dataset(Data(name="folder", path=str(folder), **settings))


def held(dataset: Dataset) -> list[torch.Tensor]:
    parts = [dataset.train.images, dataset.test.images if dataset.test else None]
    return [part for part in parts if isinstance(part, torch.Tensor)]


def same(one: Dataset, other: Dataset) -> bool:
    assert len(held(one)) == len(held(other)) == 2
    return all(torch.equal(a, b) for a, b in zip(held(one), held(other), strict=True))


def entries(place: Path) -> list[Path]:
    return sorted(place.glob(f"*/{cache.PIXELS}"))


def test_what_was_decoded_once_is_found_again(
    images: Path, place: Path, decodings: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    first = opened(images)
    assert len(decodings) == COUNT
    (entry,) = entries(place)
    assert f"decoding 40 images of folder {str(images)!r} once, to {entry.parent}\n" == capsys.readouterr().err
    second = opened(images)
    assert len(decodings) == COUNT, "nothing was decoded again"
    assert capsys.readouterr().err == ""
    assert same(first, second)
    assert first.class_names == second.class_names == ("a", "b")
    assert second.train.labels is not None and first.train.labels is not None
    assert torch.equal(first.train.labels, second.train.labels)
    plain = opened(images, cache=False)
    assert len(decodings) == 2 * COUNT
    assert same(plain, second)


def test_a_cache_that_is_switched_off_is_neither_written_nor_read(images: Path, place: Path) -> None:
    opened(images, cache=False)
    assert not place.exists()


@pytest.mark.parametrize("of", ["WORTH_IMAGES", "WORTH_BYTES"])
def test_only_what_takes_long_to_decode_is_kept(
    of: str, images: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = sum(file.stat().st_size for file in images.rglob("*.png"))
    worth = {"WORTH_IMAGES": COUNT, "WORTH_BYTES": size}
    for name, least in worth.items():
        monkeypatch.setattr(cache, name, least + 1)
    opened(images)
    assert not place.exists()
    monkeypatch.setattr(cache, of, worth[of])
    opened(images)
    assert len(entries(place)) == 1


def test_a_change_that_keeps_name_size_and_time_is_seen(images: Path, place: Path, decodings: list[int]) -> None:
    def write(value: int) -> os.stat_result:
        Image.new("RGB", (8, 8), (value, 0, 0)).save(images / "train/a/00.bmp")
        os.utime(images / "train/a/00.bmp", ns=(10**18, 10**18))
        return (images / "train/a/00.bmp").stat()

    before = write(1)
    first = opened(images)
    after = write(2)
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    second = opened(images)
    assert len(decodings) == 2 * (COUNT + 1)
    assert held(first)[0][0, 0, 0, 0] == 1
    assert held(second)[0][0, 0, 0, 0] == 2
    assert len(entries(place)) == 2


def test_what_decides_the_pixels_decides_the_entry(
    images: Path, place: Path, decodings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(images)
    grey = opened(images, channels=1)
    large = opened(images, resolution=16)
    assert grey.image == ImageShape(1, 8) and large.image == ImageShape(3, 16)
    assert len(entries(place)) == 3
    opened(images, resolution=8, channels=3)  # as a run writes it down
    opened(images.rename(images.with_name("elsewhere")), classes=0)
    assert len(decodings) == 3 * COUNT, "neither a folder's name nor labels decide pixels"
    monkeypatch.setattr(cache, "DECODER", 3)
    opened(images.with_name("elsewhere"))
    assert len(entries(place)) == 4
    (images.with_name("elsewhere") / "train/a/00.png").rename(images.with_name("elsewhere") / "train/a/zz.png")
    opened(images.with_name("elsewhere"))
    assert len(entries(place)) == 5, "another order"


def test_a_saved_table_of_the_same_images_is_the_same_entry(images: Path, tmp_path: Path, decodings: list[int]) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra `hub` is not installed")
    files = sorted((images / "train").rglob("*.png"))
    cells = {"image": [{"bytes": file.read_bytes(), "path": None} for file in files]}
    table = datasets.Dataset.from_dict(cells, features=datasets.Features({"image": datasets.Image()}))
    table.save_to_disk(tmp_path / "saved")
    found = opened(images / "train")
    again = open_dataset(Data(name="hub", path=str(tmp_path / "saved")))
    assert len(decodings) == len(files)
    assert torch.equal(held(found)[0], held(again)[0])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def garble(file: Path) -> None:
    file.write_bytes(b"\xff" * 1000)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def exchange(file: Path) -> None:
    """Replace an entry by a valid one of other images."""
    zeros = {"0": torch.zeros(30, 3, 8, 9, dtype=torch.uint8), "1": torch.zeros(10, 3, 8, 8, dtype=torch.uint8)}
    save_file(zeros, file, {name: hashlib.sha256(tensor.numpy().data).hexdigest() for name, tensor in zeros.items()})


@pytest.mark.parametrize("damage", [flip, cut_off, garble, empty, exchange])
def test_a_damaged_entry_is_reported_and_replaced(
    damage: Callable[[Path], None],
    images: Path,
    place: Path,
    decodings: list[int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = opened(images, cache=False)
    opened(images)
    (entry,) = entries(place)
    damage(entry)
    capsys.readouterr()
    assert same(first, opened(images))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"{entry} is damaged and will be replaced"
    assert len(lines) == 2 and lines[1].startswith("decoding 40 images")
    assert len(decodings) == 3 * COUNT
    opened(images)
    assert len(decodings) == 3 * COUNT


def test_a_cache_that_cannot_be_made_is_told_in_a_line_and_done_without(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("GAN_ZOO_CACHE", str(tmp_path / "file/below"))
    assert len(opened(images).train) == 30
    (line,) = capsys.readouterr().err.splitlines()
    assert "they cannot be cached: " in line and str(tmp_path / "file") in line


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O: no space")])
def test_a_full_disk_costs_the_cache_and_nothing_else(
    error: Exception,
    images: Path,
    place: Path,
    decodings: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(tensors: Any, file: Path, metadata: Any) -> None:
        file.write_bytes(b"half")
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(cache, "save_file", fails)
        found = opened(images)
    assert "could not be cached" in capsys.readouterr().err.splitlines()[1]
    assert not list(place.iterdir())
    assert same(found, opened(images))
    assert len(entries(place)) == 1


def test_images_that_change_while_they_are_decoded_are_not_kept(
    images: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = encoded.decode

    def meddling(image: Image.Image, shape: ImageShape, how: Fit) -> torch.Tensor:
        Image.new("RGB", (8, 8)).save(images.parent / "new.png")
        (images.parent / "new.png").replace(images / "train/a/00.png")
        return real(image, shape, how)

    monkeypatch.setattr(encoded, "decode", meddling)
    opened(images, workers=1)
    assert "changed while it was decoded" in capsys.readouterr().err
    assert not entries(place)


def test_an_unreadable_image_is_named_and_nothing_kept(images: Path, place: Path) -> None:
    os.mkfifo(images / "train/a/pipe.png")
    (images / "train/b/broken.png").write_bytes(b"no image")
    for settings in ({}, {"resolution": 8, "channels": 3}):
        with pytest.raises(InputError, match=r"2 of 42 images cannot be read: train/a/pipe\.png \(not a regular file"):
            opened(images, **settings)
    (images / "train/a/pipe.png").unlink()
    with pytest.raises(InputError, match=r"1 of 41 images cannot be read: train/b/broken\.png \(not an image that"):
        opened(images, resolution=8, channels=3)
    assert not list(place.iterdir())


# Several processes.


def load(folder: str, cached: str, gate: str, done: str, slowness: float) -> None:
    """Open a set once the file `gate` is there, and write down how many images were decoded."""
    os.environ["GAN_ZOO_CACHE"] = cached
    cache.WORTH_IMAGES = 1
    made, real = [], encoded.decode

    def decode(image: Image.Image, shape: ImageShape, how: Fit) -> torch.Tensor:
        made.append(1)
        Path(done).with_suffix(".begun").touch()
        time.sleep(slowness)
        return real(image, shape, how)

    encoded.decode = decode
    while not Path(gate).exists():
        time.sleep(0.005)
    found = open_dataset(Data(name="folder", path=folder))
    total = hashlib.sha256(b"".join(part.numpy().tobytes() for part in held(found))).hexdigest()
    Path(done).write_text(f"{len(made)} {total}")


def started(images: Path, name: str, slowness: float = 0.01) -> BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(NEEDED)
    top = images.parent
    words = [str(images), str(top / "cache"), str(top / "gate"), str(top / name), slowness]
    process = context.Process(target=load, args=words)
    process.start()
    return process


def until(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.slow
def test_of_processes_that_begin_at_once_one_decodes(images: Path, tmp_path: Path, place: Path) -> None:
    processes = [started(images, f"{k}.txt") for k in range(3)]
    (tmp_path / "gate").touch()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    said = [(tmp_path / f"{k}.txt").read_text().split() for k in range(3)]
    assert sorted(int(count) for count, _ in said) == [0, 0, COUNT]
    assert len({total for _, total in said}) == 1
    assert len(entries(place)) == 1


def test_a_process_that_is_killed_leaves_neither_a_lock_nor_a_half(images: Path, tmp_path: Path, place: Path) -> None:
    (tmp_path / "gate").touch()
    process = started(images, "killed.txt", slowness=1)
    until(tmp_path / "killed.begun")
    process.kill()
    process.join()
    (folder,) = place.iterdir()
    (folder / f".pixels.123{PARTIAL}.safetensors").write_bytes(b"half")  # of a process killed while writing
    opened(images)
    assert {path.name for path in folder.iterdir()} == {cache.PIXELS, cache.LOCK}


def test_ctrl_c_ends_decoding_at_once_and_leaves_nothing(
    images: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, threads = [], threading.active_count()

    def interrupted(image: Image.Image, shape: ImageShape, how: Fit) -> torch.Tensor:
        made.append(1)
        if len(made) == 3:
            signal.raise_signal(signal.SIGINT)
        time.sleep(0.01)
        return torch.zeros(shape.channels, shape.resolution, shape.resolution, dtype=torch.uint8)

    monkeypatch.setattr(encoded, "decode", interrupted)
    monkeypatch.setattr(encoded, "CHUNK", 2)
    with pytest.raises(KeyboardInterrupt):
        opened(images)
    assert len(made) < COUNT / 2
    ends = time.monotonic() + 5
    while threading.active_count() > threads and time.monotonic() < ends:
        time.sleep(0.01)
    assert threading.active_count() <= threads
    assert not list(place.iterdir())


def test_who_waits_for_another_says_so(
    images: Path, place: Path, decodings: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    opened(images)
    (entry,) = entries(place)
    entry.unlink()
    found: list[Dataset] = []
    waiting = threading.Thread(target=lambda: found.append(opened(images)))
    with FileLock(entry.parent / cache.LOCK):
        capsys.readouterr()
        waiting.start()
        said, deadline = "", time.monotonic() + 30
        while "another process that decodes" not in said:
            assert time.monotonic() < deadline
            time.sleep(0.01)
            said += capsys.readouterr().err
        assert len(decodings) == COUNT and not found
    waiting.join()
    assert len(decodings) == 2 * COUNT and len(found[0].train) == 30


def test_who_waits_for_one_that_fails_makes_the_entry(
    images: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun, end, real = threading.Event(), threading.Event(), encoded.decode

    def decode(image: Image.Image, shape: ImageShape, how: Fit) -> torch.Tensor:
        if not begun.is_set():
            begun.set()
            end.wait(60)
            raise ValueError("no longer there")
        return real(image, shape, how)

    monkeypatch.setattr(encoded, "decode", decode)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(opened, images, channels=3, resolution=8)
        assert begun.wait(60)
        second = pool.submit(opened, images, channels=3, resolution=8)
        said, deadline = "", time.monotonic() + 30
        while "another process that decodes" not in said:
            assert time.monotonic() < deadline
            time.sleep(0.01)
            said += capsys.readouterr().err
        end.set()
        with pytest.raises(InputError, match="no longer there"):
            first.result()
        assert same(second.result(), opened(images, cache=False))
    assert "cannot be kept" not in capsys.readouterr().err
    assert len(entries(place)) == 1


# Messages.


def terminals(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    shown = StringIO()
    monkeypatch.setattr(terminal, "Console", lambda stderr: Console(file=shown, force_terminal=True, width=100))
    monkeypatch.setattr(terminal, "PATIENCE", 0.05)
    return shown


def test_a_bar_is_shown_on_a_terminal_and_only_if_it_takes_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminals(monkeypatch)
    assert list(with_progress(range(100), 100, "decoding")) == list(range(100))
    assert "decoding" not in shown.getvalue()
    for _ in with_progress(range(30), 30, "decoding"):
        time.sleep(0.01)
    assert "decoding" in shown.getvalue() and "30/30" in shown.getvalue()


def test_nothing_is_told_where_silence_is_asked_for_or_nobody_watches(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "PATIENCE", 0.0)
    opened(images)
    assert len(capsys.readouterr().err.splitlines()) == 1, "the line, and no bar"
    shown = terminals(monkeypatch)
    with silent():
        opened(images, resolution=16)
    assert capsys.readouterr().err == shown.getvalue() == ""


def test_pixels_do_not_depend_on_what_the_bytes_are_read_from(tmp_path: Path) -> None:
    """Pillow reads a TIFF through its file descriptor if there is one."""
    content = BytesIO()
    Image.fromarray(PIXELS[0]).save(content, "TIFF", compression="tiff_lzw")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/a.tiff").write_bytes(content.getvalue())
    assert torch.equal(held(opened(tmp_path / "set"))[0][0], torch.from_numpy(PIXELS[0]).permute(2, 0, 1))
