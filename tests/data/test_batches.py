"""The order of data is a function of seed, step and rank, in memory and streamed."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gan_zoo.config import Data
from gan_zoo.data.batches import batch_indices, batches, in_order, normalise
from gan_zoo.data.dataset import LazyImages, Split, open_dataset
from gan_zoo.errors import InputError, TrainingError
from gan_zoo.shapes import ImageShape


@given(
    length=st.integers(1, 40),
    batch_size=st.integers(1, 100),
    world=st.integers(1, 3),
    seed=st.integers(0, 2**63 - 1),
)
def test_ranks_together_go_through_whole_epochs(length: int, batch_size: int, world: int, seed: int) -> None:
    steps = -(-3 * length // (batch_size * world))
    row = torch.cat(
        [batch_indices(seed, s, length, batch_size, rank=r, world=world) for s in range(steps) for r in range(world)]
    )
    assert len(row) == steps * world * batch_size
    for epoch in range(3):
        assert row[epoch * length : (epoch + 1) * length].sort().values.tolist() == list(range(length))


def test_order_depends_on_seed_and_epoch_only() -> None:
    first = batch_indices(0, 0, 1000, 1000)
    assert torch.equal(first, batch_indices(0, 0, 1000, 1000))
    assert not torch.equal(first, batch_indices(1, 0, 1000, 1000))
    assert not torch.equal(first, batch_indices(0, 1, 1000, 1000))
    assert torch.equal(first, torch.cat([batch_indices(0, step, 1000, 250) for step in range(4)]))


def test_order_is_golden() -> None:
    """The order of the first version, on torch 2.13; with another one, resumed runs would see other data."""
    assert batch_indices(0, 3, 10, 8).tolist() == [3, 0, 4, 2, 8, 5, 5, 9]


def numbered(n: int) -> Split:
    """Image i is filled with i and labelled i."""
    images = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, 1, 4, 4).contiguous()
    return Split(images, torch.arange(n))


def test_batches_in_memory_are_the_chosen_images() -> None:
    split = numbered(20)
    for step, batch in enumerate(islice(batches(split, seed=3, batch_size=7, device="cpu"), 9)):
        indices = batch_indices(3, step, 20, 7)
        assert batch.labels is not None
        assert torch.equal(batch.labels, indices)
        assert torch.equal(batch.images, indices.view(7, 1, 1, 1).expand(7, 1, 4, 4) / 127.5 - 1)
        assert batch.images.dtype == torch.float32


def test_normalise_reaches_both_ends() -> None:
    assert normalise(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]


def test_a_resumed_run_goes_on_with_the_same_batches() -> None:
    split = numbered(20)
    whole = [b.labels.tolist() for b in islice(batches(split, seed=0, batch_size=6, device="cpu"), 10)]
    rest = [b.labels.tolist() for b in islice(batches(split, seed=0, batch_size=6, device="cpu", start_step=4), 6)]
    assert rest == whole[4:]


@pytest.mark.parametrize("workers", [0, 2])
def test_streaming_gives_the_same_batches_as_memory(tmp_path: Path, workers: int) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (23, 8, 8), dtype=np.uint8))
    path = str(tmp_path / "x.npy")
    held, mapped = open_dataset(Data(name=path)).train, open_dataset(Data(name=path, memory=0)).train
    assert not isinstance(mapped.images, torch.Tensor)
    state = torch.get_rng_state()
    streamed = batches(mapped, seed=1, batch_size=9, device="cpu", start_step=2, rank=1, world=2, workers=workers)
    selected = batches(held, seed=1, batch_size=9, device="cpu", start_step=2, rank=1, world=2)
    for one, other in islice(zip(streamed, selected, strict=False), 6):
        assert torch.equal(one.images, other.images)
        assert one.labels is None
    assert torch.equal(state, torch.get_rng_state()), "the global generator is left alone"
    streamed.close()


def test_sources_survive_pickling(tmp_path: Path) -> None:
    """Spawned workers receive pickled sources, which must not contain a mapped file."""
    np.save(tmp_path / "x.npy", np.zeros((1000, 16, 16), np.uint8))
    Image.new("L", (8, 8), 7).save(tmp_path / "a.png")
    for name in (tmp_path / "x.npy", tmp_path):
        split = open_dataset(Data(name=str(name), memory=0)).train
        first = split.pixels(torch.tensor([0]))
        packed = pickle.dumps(split.images)
        assert len(packed) < 20_000
        assert torch.equal(pickle.loads(packed)[torch.tensor([0])], first)


def test_streamed_labels_follow_the_images() -> None:
    held = open_dataset(Data(resolution=8)).train
    lazy = open_dataset(Data(resolution=8, memory=0)).train
    one = next(batches(lazy, seed=0, batch_size=16, device="cpu", workers=1))
    other = next(batches(held, seed=0, batch_size=16, device="cpu"))
    assert one.labels is not None
    assert other.labels is not None
    assert torch.equal(one.labels, other.labels)
    assert torch.equal(one.images, other.images)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_breaks_while_streaming_is_one_line(tmp_path: Path, workers: int) -> None:
    for name in "ab":
        Image.new("L", (8, 8)).save(tmp_path / f"{name}.png")
    split = open_dataset(Data(name=str(tmp_path), memory=0)).train
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputError, match=r"b\.png") as caught:
        list(islice(batches(split, seed=0, batch_size=2, device="cpu", workers=workers), 2))
    assert "\n" not in str(caught.value)


def troubled(trouble: str) -> Split:
    """Images whose decoding ends the process, or hangs."""

    def read(_: torch.Tensor) -> torch.Tensor:
        if trouble == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(600)
        raise AssertionError

    return Split(LazyImages(read, ImageShape(1, 4), torch.arange(8)))


def test_a_decoding_process_that_is_killed_ends_the_run_in_one_line() -> None:
    made = batches(troubled("killed"), seed=0, batch_size=2, device="cpu", workers=1)
    with pytest.raises(
        TrainingError,
        match=r"a process that decodes images was killed by signal 9 \(out of memory\?\); continue with --resume",
    ):
        next(made)


def test_a_decoding_process_that_hangs_does_not_keep_the_run_from_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.3)
    before = set(multiprocessing.active_children())
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(2)
    with pytest.raises(KeyboardInterrupt):
        next(batches(troubled("hanging"), seed=0, batch_size=2, device="cpu", workers=1))
    for process in set(multiprocessing.active_children()) - before:
        process.join(5)
        assert not process.is_alive()


def test_in_order_gives_every_image_once() -> None:
    found = list(in_order(numbered(10), batch_size=4, device="cpu"))
    assert [len(batch.images) for batch in found] == [4, 4, 2]
    assert torch.cat([batch.labels for batch in found]).tolist() == list(range(10))


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(InputError, match="no batches"):
        next(batches(numbered(0), seed=0, batch_size=1, device="cpu"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_batches_on_cuda_do_not_wait_for_the_device() -> None:
    stream = batches(numbered(20), seed=0, batch_size=8, device="cuda")
    next(stream)
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = [next(stream) for _ in range(5)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for step, batch in enumerate(found, start=1):
        assert batch.labels is not None
        assert torch.equal(batch.labels.cpu(), batch_indices(0, step, 20, 8))
