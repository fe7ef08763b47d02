"""Sets of encoded images (files, or bytes in a table): survey them, then hold them decoded or stream them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from PIL import Image
from torch import Tensor

from gan_zoo.config import Data
from gan_zoo.data.assemble import fits_memory, settle_labels, settle_shape
from gan_zoo.data.dataset import Dataset, Source, Split, quiet
from gan_zoo.data.pixels import channels_of, decode
from gan_zoo.errors import InputError
from gan_zoo.shapes import ImageShape

T = TypeVar("T")

NAMED = 3
"""How many unreadable images a message names."""


class Encoded(Protocol):
    """Images that are not decoded yet."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What a message calls image `index`."""
        ...

    def open(self, index: int) -> Image.Image:
        """Image `index`, opened but not decoded; raises whatever Pillow raises for a broken one."""
        ...


@dataclass(frozen=True, eq=False)
class Decoded:
    """A source that decodes each image into `shape` when asked."""

    encoded: Encoded
    shape: ImageShape

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, index: int) -> Tensor:
        return _reading(self.encoded, index, lambda image: decode(image, self.shape))


@dataclass(frozen=True, eq=False)
class Part:
    """Encoded images and their labels, int64 [n], if there are any."""

    images: Encoded
    labels: Tensor | None


def from_encoded(
    settings: Data, train: Part, test: Part | None = None, *, classes: int | None = None, where: str
) -> Dataset:
    """A set from encoded images: decoded at once if the result fits `settings.memory`, else when drawn.

    Raises:
        InputError: If images cannot be read (the first few are named), or shape or labels do not suit the
            settings.
    """
    parts = [train] if test is None else [train, test]
    if not len(train.images):
        raise InputError(f"{where} holds no images")
    labels = settle_labels(settings, train.labels, test.labels if test else None, classes=classes, where=where)
    total = sum(len(part.images) for part in parts)
    with quiet():  # here, once for all threads
        shape, images = _shape_and_images(settings, [part.images for part in parts], total, where)
    return Dataset(
        name=settings.name,
        image=shape,
        classes=labels.classes,
        train=Split(images[0], labels.train),
        test=None if test is None else Split(images[1], labels.test),
    )


def _shape_and_images(
    settings: Data, parts: list[Encoded], total: int, where: str
) -> tuple[ImageShape, list[Tensor | Source]]:
    shape = None
    if settings.resolution and settings.channels:
        shape = ImageShape(settings.channels, settings.resolution)
    if shape is None or not fits_memory(settings, total, shape):
        sides, channels = _survey(parts, where)
        shape = settle_shape(settings, sides=sides, channels=channels, where=where)
    decoded = [Decoded(encoded, shape) for encoded in parts]
    if fits_memory(settings, total, shape):
        return shape, list(_hold(decoded, settings.workers, where))
    return shape, list(decoded)


def _reading(encoded: Encoded, index: int, use: Callable[[Image.Image], T]) -> T:
    """What `use` makes of image `index`, or the error that names the image."""
    try:
        with encoded.open(index) as image:
            return use(image)
    except Exception as error:  # Pillow raises nearly anything
        raise InputError(f"{encoded.name(index)} ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    if type(error).__name__ == "UnidentifiedImageError":
        return "no image that can be read"
    return str(error).split("\n")[0][:120] or type(error).__name__


def _survey(parts: list[Encoded], where: str) -> tuple[tuple[int, int], int]:
    """The smallest and the largest shorter side, and 1 if all images are grey, else 3; reads headers only."""

    def header(image: Image.Image) -> tuple[int, int]:
        return min(image.size), channels_of(image)

    sides: set[int] = set()
    channels = 1
    unreadable = []
    for encoded in parts:
        for index in range(len(encoded)):
            try:
                side, colour = _reading(encoded, index, header)
            except InputError as error:
                unreadable.append(error)
                continue
            sides.add(side)
            channels = max(channels, colour)
    _refuse(unreadable, sum(map(len, parts)), where)
    return (min(sides), max(sides)), channels


def _hold(parts: list[Decoded], workers: int, where: str) -> list[Tensor]:
    """All images, uint8 [n, C, R, R] a part, decoded by threads."""

    def attempt(job: tuple[Decoded, Tensor, int]) -> InputError | None:
        source, target, index = job
        try:
            target[index] = source[index]
        except InputError as error:
            return error
        return None

    held = [
        torch.empty(len(part), part.shape.channels, part.shape.resolution, part.shape.resolution, dtype=torch.uint8)
        for part in parts
    ]
    jobs = ((part, target, i) for part, target in zip(parts, held, strict=True) for i in range(len(part)))
    with ThreadPoolExecutor(max(1, workers)) as pool:
        outcomes: Iterable[InputError | None] = pool.map(attempt, jobs)
        _refuse([error for error in outcomes if error], sum(map(len, parts)), where)
    return held


def _refuse(unreadable: list[InputError], total: int, where: str) -> None:
    if not unreadable:
        return
    rest = f", and {len(unreadable) - NAMED} more" if len(unreadable) > NAMED else ""
    raise InputError(
        f"{where}: {len(unreadable)} of {total} images cannot be read: "
        f"{', '.join(map(str, unreadable[:NAMED]))}{rest}; repair or remove them"
    )
