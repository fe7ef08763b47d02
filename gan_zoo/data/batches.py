"""Batches of a run, each a function of the seed and the step: a resumed run goes on with the same ones."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from gan_zoo.data.dataset import BatchSource, Source, Split, quiet
from gan_zoo.errors import InputError, TrainingError


class Batch(NamedTuple):
    """Images float32 [n, C, H, W] in [-1, 1] and, if the set has any, labels int64 [n]; on one device."""

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
    """Which images step `step` of rank `rank` sees.

    The set is gone through again and again, each time in a new order drawn from the seed and the epoch's
    number. All ranks together take the next `world * batch_size` places of that endless row at every step; a
    batch may run over an epoch's end, or over several.

    Returns:
        int64 [batch_size] in 0..length-1.
    """
    start = (step * world + rank) * batch_size
    stop = start + batch_size
    parts = []
    for epoch in range(start // length, (stop - 1) // length + 1):
        first = epoch * length
        parts.append(_permutation(seed, epoch, length)[max(start - first, 0) : stop - first])
    return torch.cat(parts)


def batches(
    split: Split,
    *,
    seed: int,  # with the step and the rank it decides what a batch holds
    batch_size: int,  # images on this rank
    device: torch.device | str,
    start_step: int = 0,  # the step of the first batch, after a resume
    rank: int = 0,
    world: int = 1,
    workers: int = 2,  # processes that decode a streamed split; 0 decodes in this one
) -> Generator[Batch]:
    """The batches of steps `start_step`, `start_step + 1`, … without end, as `batch_indices` chooses them.

    A split in memory is moved to the device once and selected from there; a source that makes whole batches makes
    them in this process; any other is streamed, with the next batches decoded ahead. No way waits for the device.
    To close the generator ends the processes.

    Raises:
        InputError: If the split is empty, or a streamed image turns out to be unreadable.
    """
    if not len(split):
        raise InputError("a split without images has no batches")
    order = (batch_indices(seed, step, len(split), batch_size, rank=rank, world=world) for step in count(start_step))
    yield from _follow(order, split, torch.device(device), workers)


def in_order(split: Split, *, batch_size: int, device: torch.device | str, workers: int = 2) -> Iterator[Batch]:
    """Every image of the split once, in its own order; the last batch may be smaller."""
    yield from _follow(iter(torch.split(torch.arange(len(split)), batch_size)), split, torch.device(device), workers)


def _follow(order: Iterator[Tensor], split: Split, device: torch.device, workers: int) -> Iterator[Batch]:
    if isinstance(split.images, Tensor):
        return _select(order, split.images, split.labels, device)
    if isinstance(split.images, BatchSource):
        return _draw(order, split.images, split.labels, device)
    return _stream(order, split.images, split.labels, device, workers)


def move(tensor: Tensor, device: torch.device) -> Tensor:
    """A host's tensor on `device`; nobody waits for the copy."""
    if device.type != "cuda":
        return tensor.to(device)
    return (tensor if tensor.is_pinned() else tensor.pin_memory()).to(device, non_blocking=True)


def _select(order: Iterator[Tensor], images: Tensor, labels: Tensor | None, device: torch.device) -> Iterator[Batch]:
    images = images.to(device)
    labels = None if labels is None else labels.to(device)
    for indices in order:
        here = move(indices, device)
        yield Batch(normalise(images[here]), None if labels is None else labels[here])


def _draw(order: Iterator[Tensor], images: BatchSource, labels: Tensor | None, device: torch.device) -> Iterator[Batch]:
    for indices in order:
        chosen = None if labels is None else move(labels[indices], device)
        yield Batch(normalise(move(images.batch(indices), device)), chosen)


class _Fetch(TorchDataset[Tensor]):
    """What a worker does: decode one batch. An error is handed over as a value, to stay one line."""

    def __init__(self, images: Source) -> None:
        self.images = images

    def __getitems__(self, indices: list[int]) -> tuple[list[int], Tensor | InputError]:
        try:
            with quiet():
                return indices, torch.stack([self.images[index] for index in indices])
        except InputError as error:
            return indices, error


def _deaf(_worker: int) -> None:
    """Leave signals that reach a whole group of processes to the training one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _same(value: Any) -> Any:
    return value


UNGUARDED = 77
"""The exit code of a process that was spawned and began its script anew."""
PROBE = "gan-zoo's probe"
GUARD = (
    "a process that is spawned begins the script anew: put what the script does below "
    '`if __name__ == "__main__":`; or set data.workers = 0, where only images are decoded so'
)


def end_if_spawned() -> None:
    """End this process if it begins the script anew that spawned it: it would train once more."""
    process = multiprocessing.current_process()
    if getattr(process, "_inheriting", False):
        if process.name != PROBE:
            print(GUARD, file=sys.stderr)
        sys.stdout.flush()
        os._exit(UNGUARDED)  # an exception would be the script's to catch


def _check_guard() -> None:
    """Refuse to spawn processes from a script that each of them would begin anew.

    Beforehand, by a process that is sent little: one that ends before it has read all leaves its parent waiting.

    Raises:
        InputError: Naming the guard.
    """
    script = getattr(sys.modules["__main__"], "__file__", None)
    if multiprocessing.get_start_method() == "fork" or script is None:
        return
    with suppress(OSError):
        if b"__main__" in Path(script).read_bytes():
            return
    probe = multiprocessing.Process(target=abs, args=(0,), name=PROBE)
    with suppress(ConnectionError, EOFError):  # of a server of processes that has ended so
        probe.start()
        probe.join()
    if probe.exitcode != 0:
        raise _gone(probe.exitcode)


def _gone(code: int | None) -> InputError | TrainingError:
    """Why a process that decodes images is gone."""
    if code in (None, UNGUARDED):
        return InputError(GUARD)
    what = f"by signal {-code} (out of memory?)" if code < 0 else f"with code {code}"
    return TrainingError(f"a process that decodes images has ended {what}; go on with --resume")


def _stream(
    order: Iterator[Tensor], images: Source, labels: Tensor | None, device: torch.device, workers: int
) -> Iterator[Batch]:
    loader = DataLoader(
        _Fetch(images),
        batch_sampler=(indices.tolist() for indices in order),
        collate_fn=_same,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_deaf,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # else the loader draws from the global generator
    )
    if workers:
        end_if_spawned()
        _check_guard()
    stream: Any = iter(loader)
    try:
        for indices, pixels in stream:
            if isinstance(pixels, InputError):
                raise pixels
            chosen = None if labels is None else move(labels[torch.as_tensor(indices)], device)
            yield Batch(normalise(move(pixels, device)), chosen)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise _gone(next((worker.exitcode for worker in stream._workers if worker.exitcode), 1)) from error
    finally:
        _end(stream)


def _end(stream: Any) -> None:
    """End the processes behind a loader's iterator; one that hangs, and is deaf to SIGTERM, too."""
    workers = getattr(stream, "_workers", [])
    if workers:
        stream._shutdown_workers()
    for worker in workers:
        if worker.is_alive():
            worker.kill()
