"""Sets of encoded images (files, or bytes in a table): survey them, then hold them decoded or stream them."""

from __future__ import annotations

import shlex
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

    def choose(self, indices: Sequence[int]) -> Encoded:
        """The images at `indices`."""
        ...


class BrokenImagesError(InputError):
    """Images that cannot be read.

    Args:
        told: The message.
        places: Part and index of each.
        reasons: Each one's name, with what is wrong with it.
    """

    def __init__(self, told: str, places: Sequence[tuple[int, int]] = (), reasons: Sequence[str] = ()) -> None:
        super().__init__(told)
        self.places, self.reasons = places, tuple(reasons)


@dataclass(frozen=True, eq=False)
class Decoded:
    """A source that decodes each image into `shape` when asked; `remedy` ends the error of one that is broken."""

    encoded: Encoded
    shape: ImageShape
    remedy: str = ""

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, index: int) -> Tensor:
        try:
            return self.decode(index)
        except InputError as error:
            raise InputError(f"{error}{self.remedy}") from error

    def decode(self, index: int) -> Tensor:
        """Image `index`, whose error says no more than what is wrong with it."""
        return _reading(self.encoded, index, lambda image: decode(image, self.shape))


@dataclass(frozen=True, eq=False)
class Part:
    """Encoded images and their labels, int64 [n], if there are any."""

    images: Encoded
    labels: Tensor | None

    def without(self, indices: set[int]) -> Part:
        """All but the images at `indices`."""
        kept = [index for index in range(len(self.images)) if index not in indices]
        return Part(self.images.choose(kept), None if self.labels is None else self.labels[kept])


def from_encoded(
    settings: Data,
    train: Part,
    test: Part | None = None,
    *,
    names: Sequence[str] = (),
    told: Sequence[str] = (),
    where: str,
) -> Dataset:
    """A set from encoded images: decoded at once if the result fits `settings.memory`, else when drawn.

    Args:
        settings: The table `[data]`; with `skip_broken`, images that cannot be read are left out.
        train: What is learned from.
        test: What is measured on, if there is such a part.
        names: What the classes are called, if the set says it.
        told: What the user should know of the set.
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
    parts = [Part(part.images, found) for part, found in zip(parts, (labels.train, labels.test), strict=False)]
    reasons: list[str] = []
    while True:
        try:
            with quiet():  # here, once for all threads
                shape, images = _shape_and_images(settings, [part.images for part in parts], where)
            break
        except BrokenImagesError as error:
            if not settings.skip_broken:
                raise
            reasons += error.reasons
            parts = [
                part.without({index for own, index in error.places if own == number})
                for number, part in enumerate(parts)
            ]
            if not len(parts[0].images):
                raise BrokenImagesError(f"{where}: none of the images can be read", reasons=reasons) from None
    left = [f"{len(reasons):,} of these left out that cannot be read: {_few(reasons)}"] if reasons else []
    splits = [
        Split(held, part.labels, getattr(part.images, "names", ())) for held, part in zip(images, parts, strict=True)
    ]
    return Dataset(
        name=settings.name,
        image=shape,
        classes=labels.classes,
        train=splits[0],
        test=splits[1] if test else None,
        class_names=labels.names or (tuple(names) if len(names) == labels.classes else ()),
        told=(*told, *labels.told, *left),
        broken=tuple(reasons),
        origin=tuple(part.images for part in parts),
    )


def _shape_and_images(settings: Data, parts: list[Encoded], where: str) -> tuple[ImageShape, list[Tensor | Source]]:
    total, remedy = sum(map(len, parts)), _remedy(settings)
    shape = None
    if settings.resolution and settings.channels:
        shape = ImageShape(settings.channels, settings.resolution)
    if shape is None or not fits_memory(settings, total, shape):
        sides, channels = _survey(parts, where, remedy)
        shape = settle_shape(settings, sides=sides, channels=channels, where=where)
    decoded = [Decoded(encoded, shape, remedy) for encoded in parts]
    if fits_memory(settings, total, shape):
        hold = partial(_hold, decoded, settings.workers, where)
        return shape, [*(decoded_once(parts, shape, hold, where=where) if settings.cache else hold())]
    if settings.skip_broken:
        _check(decoded, settings.workers, where)
    return shape, list(decoded)


def _remedy(settings: Data) -> str:
    """What helps against broken images."""
    words = [settings.name, *(("--path", settings.path) if settings.path not in (None, settings.name) else ())]
    return (
        f"; repair or remove what cannot be read, or set data.skip_broken = true to leave it out; "
        f"gan-zoo datasets {shlex.join(map(str, words))} lists all"
    )


def _reading(encoded: Encoded, index: int, use: Callable[[Image.Image], T]) -> T:
    """What `use` makes of image `index`, or the error that names the image."""
    try:
        with encoded.read(index) as file, open_image(file) as image:
            return use(image)
    except UnidentifiedImageError as error:
        raise InputError(f"{encoded.name(index)} (no image that can be read)") from error
    except Exception as error:  # Pillow raises nearly anything
        raise InputError(f"{encoded.name(index)} ({reason(error)})") from error


def _survey(parts: list[Encoded], where: str, remedy: str) -> tuple[tuple[int, int], int]:
    """The smallest and the largest shorter side, and 1 if all images are grey, else 3; reads headers only."""

    def header(image: Image.Image) -> tuple[int, int]:
        return min(image.size), channels_of(image)

    sides: set[int] = set()
    channels = 1
    unreadable = []
    for number, encoded in enumerate(parts):
        for index in watched(range(len(encoded)), len(encoded), f"looking at {where}"):
            try:
                side, colour = _reading(encoded, index, header)
            except InputError as error:
                unreadable.append((number, index, str(error)))
                continue
            sides.add(side)
            channels = max(channels, colour)
    _refuse(unreadable, sum(map(len, parts)), where, remedy)
    return (min(sides), max(sides)), channels


def _hold(parts: list[Decoded], workers: int, where: str) -> list[Tensor]:
    """All images, uint8 [n, C, R, R] a part, decoded by threads."""
    held = [
        torch.empty(len(part), part.shape.channels, part.shape.resolution, part.shape.resolution, dtype=torch.uint8)
        for part in parts
    ]
    _decode(parts, workers, where, f"decoding {where}", lambda part, index, image: held[part][index].copy_(image))
    return held


def _check(parts: list[Decoded], workers: int, where: str) -> None:
    """Decode all images, to find those that are broken."""
    _decode(parts, workers, where, f"checking {where}", lambda part, index, image: image)


def _decode(
    parts: list[Decoded], workers: int, where: str, doing: str, use: Callable[[int, int, Tensor], object]
) -> None:
    """Decode every image by threads, and give it to `use` with its part and index."""

    def attempt(job: tuple[int, int]) -> list[tuple[int, int, str]]:
        part, start = job
        errors = []
        for index in range(start, min(start + AT_ONCE, len(parts[part]))):
            try:
                use(part, index, parts[part].decode(index))
            except InputError as error:
                errors.append((part, index, str(error)))
        return errors

    jobs = [(number, start) for number, part in enumerate(parts) for start in range(0, len(part), AT_ONCE)]
    pool = ThreadPoolExecutor(max(1, workers))
    try:
        outcomes = watched(pool.map(attempt, jobs), len(jobs), doing)
        unreadable = [error for errors in outcomes for error in errors]
    finally:
        pool.shutdown(cancel_futures=True)
    _refuse(unreadable, sum(map(len, parts)), where, parts[0].remedy)


def _refuse(unreadable: list[tuple[int, int, str]], total: int, where: str, remedy: str) -> None:
    if unreadable:
        reasons = [reason for _, _, reason in unreadable]
        told = f"{where}: {len(reasons):,} of {total:,} images cannot be read: {_few(reasons)}{remedy}"
        raise BrokenImagesError(told, [(part, index) for part, index, _ in unreadable], reasons)


def _few(reasons: Sequence[str]) -> str:
    rest = f", and {len(reasons) - NAMED:,} more" if len(reasons) > NAMED else ""
    return ", ".join(reasons[:NAMED]) + rest
