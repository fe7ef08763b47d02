"""Training batches, each a function of the seed and the step, so that a resumed run sees the same ones."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from gan_zoo.data.dataset import Split
from gan_zoo.errors import InputError, TrainingError


class Batch(NamedTuple):
    """Images float32 [n, C, H, W] in [-1, 1] and labels int64 [n], if there are any, on one device."""

    images: Tensor
    labels: Tensor | None


def normalise(images: Tensor) -> Tensor:
    """uint8 pixels to float32 in [-1, 1]."""
    return images.float().div_(127.5).sub_(1)


@lru_cache(maxsize=8)
def _permutation(seed: int, epoch: int, length: int) -> Tensor:
    digest = blake2b(f"order of data/{seed}/{epoch}".encode(), digest_size=7).digest()
    return torch.randperm(length, generator=torch.Generator().manual_seed(int.from_bytes(digest, "big")))


def batch_indices(seed: int, step: int, length: int, batch_size: int, *, rank: int = 0, world: int = 1) -> Tensor:
    """The images of step `step` on rank `rank`.

    Every epoch is a permutation of the dataset, drawn from the seed and the epoch's number. At each step all ranks
    together take the next `world * batch_size` images of this endless sequence; a batch may cross one epoch's end, or
    several.

    Returns:
        int64 [batch_size] in 0..length-1.
    """
    start = (step * world + rank) * batch_size
    stop = start + batch_size
    pieces = []
    for epoch in range(start // length, (stop - 1) // length + 1):
        first = epoch * length
        pieces.append(_permutation(seed, epoch, length)[max(start - first, 0) : stop - first])
    return torch.cat(pieces)


def batches(
    split: Split,
    *,
    seed: int,  # seed of the order of the images
    batch_size: int,  # images on this rank
    device: torch.device | str,
    start_step: int = 0,  # the step of the first batch, after a resume
    rank: int = 0,
    world: int = 1,
    workers: int = 2,  # processes that decode a streamed split; 0 decodes in this one
) -> Generator[Batch]:
    """The batches of steps `start_step`, `start_step + 1`, … without end, as `batch_indices` chooses them.

    A split in memory is copied to the device once. Lazy images are read ahead by worker processes, or in this process
    if they need none. Nothing waits for the device. Closing the generator ends the processes.

    Raises:
        InputError: If the split is empty, or an image cannot be read.
    """
    if not len(split):
        raise InputError("the split is empty, so it has no batches")
    order = (batch_indices(seed, step, len(split), batch_size, rank=rank, world=world) for step in count(start_step))
    yield from _follow(order, split, torch.device(device), workers)


def in_order(split: Split, *, batch_size: int, device: torch.device | str, workers: int = 2) -> Iterator[Batch]:
    """Every image of the split once, in its own order; the last batch may be smaller."""
    yield from _follow(iter(torch.split(torch.arange(len(split)), batch_size)), split, torch.device(device), workers)


def _follow(order: Iterator[Tensor], split: Split, device: torch.device, workers: int) -> Iterator[Batch]:
    if isinstance(split.images, Tensor):
        in_memory = InMemory(split.images, split.labels, device)
        yield from (in_memory.select(move(indices, device)) for indices in order)
        return
    streamed = split.images.needs_workers and workers
    stream = _stream(order, split, device, workers) if streamed else ((i, split.pixels(i)) for i in order)
    with closing(stream):
        for indices, pixels in stream:
            labels = None if split.labels is None else move(split.labels[indices], device)
            yield Batch(normalise(move(pixels, device)), labels)


def move(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor`, which is on the host, on `device`; the copy is asynchronous."""
    if device.type != "cuda":
        return tensor.to(device)
    return (tensor if tensor.is_pinned() else tensor.pin_memory()).to(device, non_blocking=True)


class InMemory:
    """A split in the device's memory.

    Args:
        images: uint8 [N, C, H, W].
        labels: int64 [N], or None.
        device: The device.
        channels_last: Whether images are stored in this memory format.
    """

    def __init__(
        self, images: Tensor, labels: Tensor | None, device: torch.device, *, channels_last: bool = False
    ) -> None:
        self.channels_last = channels_last
        self.images = (images.movedim(1, 3) if channels_last else images).contiguous().to(device)
        self.labels = None if labels is None else labels.to(device)

    def select(self, indices: Tensor) -> Batch:
        """The images at `indices` (int64 [n], on the device)."""
        images = normalise(self.images.index_select(0, indices))
        labels = None if self.labels is None else self.labels.index_select(0, indices)
        return Batch(images.movedim(3, 1) if self.channels_last else images, labels)


class _Batches(TorchDataset[tuple[Tensor, Tensor | InputError]]):
    """What a worker evaluates: a batch, or the error as a value, as DataLoader would wrap its message."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __getitem__(self, indices: list[int]) -> tuple[Tensor, Tensor | InputError]:
        batch = torch.tensor(indices)
        try:
            return batch, self.split.pixels(batch)
        except InputError as error:
            return batch, error


def _ignore_signals(_worker: int) -> None:
    """Leave signals that are sent to the whole process group to the main process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


UNGUARDED = 77
"""Exit code of a spawned process that runs the main script again."""
PROBE = "gan-zoo's probe"
GUARD = (
    "a spawned process runs the main script again: put the script's code below "
    '`if __name__ == "__main__":`, or, if only images are decoded in processes, set data.workers = 0'
)


def end_if_spawned() -> None:
    """End this process if it was spawned and runs the main script again: it would train once more."""
    process = multiprocessing.current_process()
    if getattr(process, "_inheriting", False):
        if process.name != PROBE:
            print(GUARD, file=sys.stderr)
        sys.stdout.flush()
        os._exit(UNGUARDED)  # the script could catch an exception


def _check_guard() -> None:
    """Check that the main script can be run by spawned processes.

    A probe process is spawned first, which receives little: the parent blocks if a child ends before it has read
    everything.

    Raises:
        InputError: If the script lacks the guard `if __name__ == "__main__"`.
    """
    script = getattr(sys.modules["__main__"], "__file__", None)
    if multiprocessing.get_start_method() == "fork" or script is None:
        return
    with suppress(OSError):
        if b"__main__" in Path(script).read_bytes():
            return
    probe = multiprocessing.Process(target=abs, args=(0,), name=PROBE)
    with suppress(ConnectionError, EOFError):  # the forkserver has ended for the same cause
        probe.start()
        probe.join()
    if probe.exitcode != 0:
        raise _gone(probe.exitcode)


def _gone(code: int | None) -> InputError | TrainingError:
    """The error for a worker process that ended with exit code `code`."""
    if code in (None, UNGUARDED):
        return InputError(GUARD)
    how = f"was killed by signal {-code} (out of memory?)" if code < 0 else f"ended with code {code}"
    return TrainingError(f"a process that decodes images {how}; continue with --resume")


def _stream(
    order: Iterator[Tensor], split: Split, device: torch.device, workers: int
) -> Generator[tuple[Tensor, Tensor]]:
    """Indices and pixels of the batches, decoded ahead by `workers` processes."""
    loader = DataLoader(
        _Batches(split),
        batch_size=None,
        sampler=(indices.tolist() for indices in order),
        num_workers=workers,
        prefetch_factor=4,
        worker_init_fn=_ignore_signals,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # else the loader draws from the global generator
    )
    end_if_spawned()
    _check_guard()
    stream: Any = iter(loader)
    try:
        for indices, pixels in stream:
            if isinstance(pixels, InputError):
                raise pixels
            yield indices, pixels
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise _gone(next((worker.exitcode for worker in stream._workers if worker.exitcode), 1)) from error
    finally:
        _end(stream)


def _end(stream: Any) -> None:
    """End a loader's worker processes, by SIGKILL if they hang, as they ignore SIGTERM."""
    workers = stream._workers
    stream._shutdown_workers()
    for worker in workers:
        if worker.is_alive():
            worker.kill()
