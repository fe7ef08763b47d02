"""Where a step finds its batch: selected from a set on the device, or copied to a fixed place as it streams."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import nullcontext
from typing import Protocol

import torch
from torch import Tensor

from gan_zoo.data.batches import Batch, normalise


class Feed(Protocol):
    """A source of batches for steps that a graph may hold.

    Attributes:
        waited: Seconds that the host has waited for data.
    """

    waited: float

    def ready(self) -> None:
        """On the host: make the next batch available."""

    def batch(self, chosen: Callable[[], Tensor]) -> Batch:
        """On the device: the step's batch; `chosen` gives the images' numbers, int64 [n]."""

    def close(self) -> None:
        """End whatever reads ahead."""


class InMemory(Feed):
    """A set that lies on the device.

    Args:
        images: uint8 [N, C, H, W].
        labels: int64 [N], if the set has any.
        device: Where steps are made.
        channels_last: Whether batches are stored pixel by pixel.
    """

    waited = 0.0

    def __init__(self, images: Tensor, labels: Tensor | None, device: torch.device, *, channels_last: bool) -> None:
        self.pixel_by_pixel = channels_last
        self.images = (images.movedim(1, 3) if channels_last else images).contiguous().to(device)
        self.labels = None if labels is None else labels.to(device)

    def ready(self) -> None:
        """Does nothing: every batch is on the device."""

    def batch(self, chosen: Callable[[], Tensor]) -> Batch:
        """The chosen images."""
        numbers = chosen()
        images = normalise(self.images.index_select(0, numbers))
        labels = None if self.labels is None else self.labels.index_select(0, numbers)
        return Batch(images.movedim(3, 1) if self.pixel_by_pixel else images, labels)

    def close(self) -> None:
        """Nothing reads ahead."""


class Streamed(Feed):
    """Batches that arrive one after the other; on CUDA each is copied while the step before it is computed.

    Args:
        batches: The batches; see `gan_zoo.data.batches.batches`.
        device: Where steps are made.
        channels_last: Whether they are stored pixel by pixel.
    """

    def __init__(self, batches: Generator[Batch], device: torch.device, *, channels_last: bool) -> None:
        self.batches, self.waited = batches, 0.0
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.held: Batch | None = None

    def ready(self) -> None:
        """Take the next batch to the fixed place."""
        begun = time.perf_counter()
        with (
            torch.cuda.stream(self.stream) if self.stream else nullcontext()
        ):  # of its own: it does not wait for the step that is computed
            new = next(self.batches)
        self.waited += time.perf_counter() - begun
        if self.held is None:
            self.held = Batch(
                torch.empty_like(new.images, memory_format=self.format),
                None if new.labels is None else torch.empty_like(new.labels),
            )
        if self.stream:
            torch.cuda.current_stream().wait_stream(self.stream)
        for fixed, fresh in zip(self.held, new, strict=True):
            if fixed is not None and fresh is not None:
                fixed.copy_(fresh)
                if self.stream:
                    fresh.record_stream(torch.cuda.current_stream())

    def batch(self, chosen: Callable[[], Tensor]) -> Batch:
        """What lies at the fixed place."""
        assert self.held is not None
        return self.held

    def close(self) -> None:
        """End the processes that decode images."""
        self.batches.close()
