"""Sets of encoded images (files, or bytes in a table): survey them, then hold them decoded or stream them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Protocol, TypeVar

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from gan_zoo.config import Data
from gan_zoo.data.assemble import fits_memory, settle_labels, settle_shape
from gan_zoo.data.cache import decoded_once
from gan_zoo.data.dataset import Dataset, Source, Split, quiet
from gan_zoo.data.pixels import channels_of, decode, open_image
from gan_zoo.errors import InputError, reason
from gan_zoo.shapes import ImageShape
from gan_zoo.terminal import watched

T = TypeVar("T")

AT_ONCE = 16
"""Images that a thread decodes before it looks up."""
NAMED = 3
"""How many unreadable images a message names."""


class Encoded(Protocol):
    """Images that are not decoded yet."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What a message calls image `index`."""
        ...

    def read(self, index: int) -> BinaryIO:
        """The bytes of image `index`, opened; to be closed by who asks."""
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
    settings: Data, train: Part, test: Part | None = None, *, names: Sequence[str] = (), where: str
) -> Dataset:
    """A set from encoded images: decoded at once if the result fits `settings.memory`, else when drawn.

    Args:
        settings: The table `[data]`.
        train: What is learned from.
        test: What is measured on, if there is such a part.
        names: What the classes are called, if the set says it.
        where: The set, for messages.

    Raises:
        InputError: If images cannot be read (the first few are named), or shape or labels do not suit the
            settings.
    """
    parts = [train] if test is None else [train, test]
    if not len(train.images):
        raise InputError(f"{where} holds no images")
    labels = settle_labels(
        settings, train.labels, test.labels if test else None, classes=len(names) or None, where=where
    )
    total = sum(len(part.images) for part in parts)
    with quiet():  # here, once for all threads
        shape, images = _shape_and_images(settings, [part.images for part in parts], total, where)
    return Dataset(
        name=settings.name,
        image=shape,
        classes=labels.classes,
        train=Split(images[0], labels.train),
        test=None if test is None else Split(images[1], labels.test),
        class_names=tuple(names) if len(names) == labels.classes else (),
        origin=tuple(part.images for part in parts),
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
        hold = partial(_hold, decoded, settings.workers, where)
        return shape, [*(decoded_once(parts, shape, hold, where=where) if settings.cache else hold())]
    return shape, list(decoded)


def _reading(encoded: Encoded, index: int, use: Callable[[Image.Image], T]) -> T:
    """What `use` makes of image `index`, or the error that names the image."""
    try:
        with encoded.read(index) as file, open_image(file) as image:
            return use(image)
    except UnidentifiedImageError as error:
        raise InputError(f"{encoded.name(index)} (no image that can be read)") from error
    except Exception as error:  # Pillow raises nearly anything
        raise InputError(f"{encoded.name(index)} ({reason(error)})") from error


def _survey(parts: list[Encoded], where: str) -> tuple[tuple[int, int], int]:
    """The smallest and the largest shorter side, and 1 if all images are grey, else 3; reads headers only."""

    def header(image: Image.Image) -> tuple[int, int]:
        return min(image.size), channels_of(image)

    sides: set[int] = set()
    channels = 1
    unreadable = []
    for encoded in parts:
        for index in watched(range(len(encoded)), len(encoded), f"looking at {where}"):
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

    def attempt(job: tuple[Decoded, Tensor, int]) -> list[InputError]:
        source, target, start = job
        errors = []
        for index in range(start, min(start + AT_ONCE, len(source))):
            try:
                target[index] = source[index]
            except InputError as error:
                errors.append(error)
        return errors

    held = [
        torch.empty(len(part), part.shape.channels, part.shape.resolution, part.shape.resolution, dtype=torch.uint8)
        for part in parts
    ]
    jobs = [(p, target, i) for p, target in zip(parts, held, strict=True) for i in range(0, len(p), AT_ONCE)]
    pool = ThreadPoolExecutor(max(1, workers))
    try:
        outcomes = watched(pool.map(attempt, jobs), len(jobs), f"decoding {where}")
        unreadable = [error for errors in outcomes for error in errors]
    finally:
        pool.shutdown(cancel_futures=True)
    _refuse(unreadable, sum(map(len, parts)), where)
    return held


def _refuse(unreadable: list[InputError], total: int, where: str) -> None:
    if not unreadable:
        return
    rest = f", and {len(unreadable) - NAMED} more" if len(unreadable) > NAMED else ""
    raise InputError(
        f"{where}: {len(unreadable)} of {total} images cannot be read: "
        f"{', '.join(map(str, unreadable[:NAMED]))}{rest}; repair or remove them"
    )
