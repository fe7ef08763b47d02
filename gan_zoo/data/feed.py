"""The source of a training step's batch, in a form that a CUDA graph can capture."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import nullcontext
from typing import Protocol

import torch
from torch import Tensor

from gan_zoo.data.batches import Batch, InMemory


class Feed(Protocol):
    """A source of batches. What `batch` does can be captured; what `ready` does cannot, and runs before each replay.

    Attributes:
        waited: Seconds that the host has waited for data.
    """

    waited: float

    def ready(self) -> None:
        """Make the next batch available."""

    def batch(self, indices: Callable[[], Tensor]) -> Batch:
        """The step's batch, on the device; `indices` returns its indices, int64 [n]."""

    def close(self) -> None:
        """End worker processes."""


class InMemoryFeed(InMemory, Feed):
    """Batches selected from a split in the device's memory."""

    waited = 0.0

    def ready(self) -> None:
        """Do nothing: every batch is on the device."""

    def batch(self, indices: Callable[[], Tensor]) -> Batch:
        """The images at `indices`."""
        return self.select(indices())

    def close(self) -> None:
        """Do nothing: there are no worker processes."""


class StreamedFeed(Feed):
    """Batches copied to a fixed address, on CUDA each while the step before it runs.

    Args:
        batches: The batches; see `gan_zoo.data.batches.batches`.
        device: The device.
        channels_last: Whether images are stored in this memory format.
    """

    def __init__(self, batches: Generator[Batch], device: torch.device, *, channels_last: bool) -> None:
        self.batches, self.waited = batches, 0.0
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.fixed: Batch | None = None

    def ready(self) -> None:
        """Copy the next batch to the fixed address."""
        begun = time.perf_counter()
        with torch.cuda.stream(self.stream) if self.stream else nullcontext():  # upload during the step before
            new = next(self.batches)
        self.waited += time.perf_counter() - begun
        if self.fixed is None:
            self.fixed = Batch(
                torch.empty_like(new.images, memory_format=self.format),
                None if new.labels is None else torch.empty_like(new.labels),
            )
        if self.stream:
            torch.cuda.current_stream().wait_stream(self.stream)
        for fixed, fresh in zip(self.fixed, new, strict=True):
            if fixed is not None and fresh is not None:
                fixed.copy_(fresh)
                if self.stream:  # its memory may be reused only after this copy
                    fresh.record_stream(torch.cuda.current_stream())

    def batch(self, indices: Callable[[], Tensor]) -> Batch:
        """The batch at the fixed address."""
        assert self.fixed is not None
        return self.fixed

    def close(self) -> None:
        """End the processes that decode images."""
        self.batches.close()
