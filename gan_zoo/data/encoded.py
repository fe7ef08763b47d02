"""Datasets of encoded images (files, or bytes in a table): check them, then decode them into memory or on request."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from gan_zoo.config import Data, Fit
from gan_zoo.data.assemble import fits_memory, settle_labels, settle_shape
from gan_zoo.data.cache import decoded_once
from gan_zoo.data.dataset import Dataset, EncodedImages, LazyImages, Split, quiet
from gan_zoo.data.pixels import channels_of, decode, fit_note, open_image, side_of
from gan_zoo.errors import InputError, first_line
from gan_zoo.shapes import ImageShape
from gan_zoo.terminal import with_progress

T = TypeVar("T")

CHUNK = 16
"""Images per task of a thread."""
LOOKED_AT = 256
"""Number of images whose sizes are read for a note, evenly spaced over all."""
NAMED = 3
"""Maximum number of unreadable images that a message names."""


class BrokenImagesError(InputError):
    """Images that cannot be read.

    Args:
        message: For the user.
        causes: Each image's name, with what is wrong with it.
        positions: Number of the split and index of each.
    """

    def __init__(self, message: str, causes: Sequence[str] = (), positions: Sequence[tuple[int, int]] = ()) -> None:
        super().__init__(message)
        self.causes, self.positions = tuple(causes), tuple(positions)


@dataclass(frozen=True, eq=False)
class EncodedSplit:
    """The encoded images of a split, with labels int64 [n] or None."""

    images: EncodedImages
    labels: Tensor | None

    def without(self, indices: set[int]) -> EncodedSplit:
        """All but the images at `indices`."""
        kept = [index for index in range(len(self.images)) if index not in indices]
        return EncodedSplit(self.images.choose(kept), None if self.labels is None else self.labels[kept])


def decoded_on_request(encoded: EncodedImages, shape: ImageShape, how: Fit, remedy: str = "") -> LazyImages:
    """Images that are decoded into `shape` when asked for; `remedy` ends the error about a broken one."""
    return LazyImages(partial(_decoded, encoded, shape, how, remedy), shape, torch.arange(len(encoded)))


def from_encoded(
    settings: Data, *given: EncodedSplit, names: Sequence[str] = (), notes: Sequence[str] = (), where: str
) -> Dataset:
    """Make a dataset of encoded images: decoded at once if the pixels fit `settings.memory`, else on request.

    Args:
        settings: The table `[data]`; with `skip_broken`, images that cannot be read are skipped.
        given: The training split, which has images, and the test split if there is one.
        names: The classes' names, if known.
        notes: Lines for the user.
        where: The dataset, for messages.

    Raises:
        InputError: If images cannot be read (the first few are named), or shape or labels do not suit the settings.
    """
    labels = settle_labels(settings, *(split.labels for split in given), classes=len(names) or None, where=where)
    splits = [EncodedSplit(split.images, checked) for split, checked in zip(given, labels.splits, strict=True)]
    causes: list[str] = []
    while True:
        try:
            with quiet():  # for all threads, as it is not thread-safe
                shape, images = _shape_and_images(settings, [split.images for split in splits], where)
            break
        except BrokenImagesError as error:
            if not settings.skip_broken:
                raise
            causes += error.causes
            splits = [
                split.without({index for broken, index in error.positions if broken == number})
                for number, split in enumerate(splits)
            ]
            if not len(splits[0].images):
                raise BrokenImagesError(f"{where}: none of the images can be read", causes) from None
    skipped = [f"skipped {len(causes):,} of these images, which cannot be read: {_few(causes)}"] if causes else []
    train, *test = [
        Split(pixels, split.labels, getattr(split.images, "names", ()))
        for pixels, split in zip(images, splits, strict=True)
    ]
    return Dataset(
        settings.name,
        shape,
        labels.classes,
        train,
        test=test[0] if test else None,
        class_names=labels.names or (tuple(names) if len(names) == labels.classes else ()),
        notes=(*notes, *labels.notes, *skipped, *note_on_fit(splits[0].images, settings.fit)),
        broken=tuple(causes),
        origin=tuple(split.images for split in splits),
        fit=settings.fit,
    )


def note_on_fit(images: EncodedImages, how: Fit) -> list[str]:
    """A line on the images that are not square, by the headers of some of them."""
    sizes: list[tuple[int, int]] = []
    count = min(len(images), LOOKED_AT)
    with quiet():
        for k in range(count):
            with suppress(InputError):  # reported when it is decoded
                sizes.append(_opened(images, k * len(images) // count, lambda image: image.size))
    return fit_note(sizes, how, len(images))


def _shape_and_images(
    settings: Data, encoded: list[EncodedImages], where: str
) -> tuple[ImageShape, Sequence[Tensor | LazyImages]]:
    """The shape of the dataset, and the images of each split."""
    count, for_each = sum(map(len, encoded)), partial(_for_each, settings, encoded, where)
    shape = None
    if settings.resolution and settings.channels:
        shape = ImageShape(settings.channels, settings.resolution)
    if shape is None or not fits_memory(settings, count, shape):
        headers: list[tuple[int, int]] = []
        for_each(
            "reading headers of",
            lambda _, __, image: headers.append((side_of(image.size, settings.fit), channels_of(image))),
        )
        sides, channels = zip(*headers, strict=True)
        shape = settle_shape(settings, sides=(min(sides), max(sides)), channels=max(channels), where=where)
    size, resolution, how = shape.channels, shape.resolution, settings.fit

    def decode_all() -> list[Tensor]:
        pixels = [torch.empty(len(images), size, resolution, resolution, dtype=torch.uint8) for images in encoded]
        for_each("decoding", lambda split, index, image: pixels[split][index].copy_(decode(image, shape, how)))
        return pixels

    if fits_memory(settings, count, shape):
        return shape, decoded_once(encoded, shape, how, decode_all, where=where) if settings.cache else decode_all()
    if settings.skip_broken:
        for_each("checking", lambda _, __, image: decode(image, shape, how))
    return shape, [decoded_on_request(images, shape, how, _remedy(settings)) for images in encoded]


def _remedy(settings: Data) -> str:
    """What to do about broken images."""
    words = [settings.name, *(("--path", settings.path) if settings.path not in (None, settings.name) else ())]
    return (
        f"; repair or remove them, or skip them by data.skip_broken = true; "
        f"gan-zoo datasets {shlex.join(map(str, words))} lists all"
    )


def _decoded(encoded: EncodedImages, shape: ImageShape, how: Fit, remedy: str, indices: Tensor) -> Tensor:
    """The images at `indices`, decoded: uint8 [n, C, R, R]."""
    try:
        images = [_opened(encoded, index, lambda image: decode(image, shape, how)) for index in indices.tolist()]
    except InputError as error:
        raise BrokenImagesError(f"{error}{remedy}", [str(error)]) from error
    return torch.stack(images)


def _opened(encoded: EncodedImages, index: int, use: Callable[[Image.Image], T]) -> T:
    """The result of `use` on image `index`; an error names the image."""
    try:
        with encoded.read(index) as file, open_image(file) as image:
            return use(image)
    except UnidentifiedImageError as error:
        raise InputError(f"{encoded.name(index)} (not an image that can be read)") from error
    except Exception as error:  # Pillow raises nearly anything
        raise InputError(f"{encoded.name(index)} ({first_line(error)})") from error


def _for_each(
    settings: Data, encoded: list[EncodedImages], where: str, doing: str, use: Callable[[int, int, Image.Image], object]
) -> None:
    """Call `use` in threads with the split and index of each image and the image, opened.

    Raises:
        BrokenImagesError: For all images that cannot be read.
    """

    def attempt(job: tuple[int, int]) -> dict[tuple[int, int], str]:
        split, start = job
        errors = {}
        for index in range(start, min(start + CHUNK, len(encoded[split]))):
            try:
                _opened(encoded[split], index, partial(use, split, index))
            except InputError as error:
                errors[split, index] = str(error)
        return errors

    jobs = [(split, start) for split, images in enumerate(encoded) for start in range(0, len(images), CHUNK)]
    pool = ThreadPoolExecutor(max(1, settings.workers))
    try:
        chunks = with_progress(pool.map(attempt, jobs), len(jobs), f"{doing} {where}")
        broken = {position: cause for errors in chunks for position, cause in errors.items()}
    finally:
        pool.shutdown(cancel_futures=True)
    if broken:
        causes, count = [*broken.values()], sum(map(len, encoded))
        message = f"{where}: {len(causes):,} of {count:,} images cannot be read: {_few(causes)}{_remedy(settings)}"
        raise BrokenImagesError(message, causes, [*broken])


def _few(causes: Sequence[str]) -> str:
    rest = f", and {len(causes) - NAMED:,} more" if len(causes) > NAMED else ""
    return ", ".join(causes[:NAMED]) + rest
