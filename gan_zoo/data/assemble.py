"""Make a `Dataset` that suits the settings from images and labels as they are read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gan_zoo.config import Data
from gan_zoo.data import bounds
from gan_zoo.data.dataset import Dataset, LazyImages, Split
from gan_zoo.data.pixels import fit
from gan_zoo.errors import InputError
from gan_zoo.shapes import ImageShape

SMALLEST, LARGEST = 4, 1024
"""Range of `data.resolution` in pixels."""


def settle_shape(settings: Data, *, sides: tuple[int, int], channels: int, where: str) -> ImageShape:
    """The shape that the settings ask for, or the dataset's.

    Args:
        settings: The table `[data]`.
        sides: The smallest and the largest of the images' shorter sides, in pixels.
        channels: The dataset's channels, 1 or 3.
        where: The dataset, for the message.

    Raises:
        InputError: If the settings give no resolution and the images have several, or one out of range.
    """
    low, high = sides
    if settings.resolution is None and (low != high or not SMALLEST <= low <= LARGEST):
        size = f"{low} to {high}" if low != high else str(low)
        raise InputError(
            f"{where}: images are {size} pixels on the shorter side; set data.resolution ({SMALLEST} to {LARGEST})"
        )
    return ImageShape(settings.channels or channels, settings.resolution or low)


@dataclass(frozen=True, eq=False)
class Labels:
    """Checked labels: int64 [n] in 0..classes-1 each, or None.

    Attributes:
        classes: Number of classes.
        train: The training split's.
        test: The test split's.
        names: The classes' names, where these are not their numbers.
        notes: Lines for the user.
    """

    classes: int
    train: Tensor | None
    test: Tensor | None
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def settle_labels(
    settings: Data, train: Tensor | None, test: Tensor | None, *, classes: int | None = None, where: str
) -> Labels:
    """The labels that the settings ask for.

    Where neither the settings nor the dataset give a number of classes, each number that labels a training image is a
    class, in ascending order: labels 5 and 7 become the classes 0 and 1 with the names "5" and "7".

    Args:
        settings: The table `[data]`; its `classes` is the number of classes, 0 drops the labels.
        train: int64 [n] as read, or None.
        test: The test split's. If all are -1 (withheld), they are dropped.
        classes: The dataset's number of classes, if known.
        where: The dataset, for the message.

    Raises:
        InputError: If a label lies outside 0..classes-1, or the settings ask for classes and there are no labels.
    """
    if train is None and settings.classes:
        raise InputError(f"{where} has no labels, but data.classes is {settings.classes}; set it to 0")
    if train is None or settings.classes == 0:
        return Labels(0, None, None)
    if test is not None and len(test) and bool((test == -1).all()):
        test = None
    values = train.unique().tolist()
    names, notes = tuple[str, ...](), tuple[str, ...]()
    count = settings.classes or classes or len(values)
    if not classes and len(values) == count <= values[-1] and values[0] >= 0:  # the same with the count of a run's tree
        train, test = (_ranks(labels, values, where) for labels in (train, test))
        names = tuple(map(str, values))
        notes = (f"{count} classes, by the labels of the training images: {bounds.listed([*names])}",)
    for split, labels in (("training", train), ("test", test)):
        if labels is None or not len(labels):
            continue
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= count:
            raise InputError(
                f"{where}: {split} labels run from {low} to {high}; accepted with {count} classes: 0 to {count - 1}; "
                "change the labels, or set data.classes to 0 to train without them"
            )
    return Labels(count, train, test, names, notes)


def _ranks(labels: Tensor | None, values: list[int], where: str) -> Tensor | None:
    """The rank of each label among the sorted `values`."""
    if labels is None:
        return None
    known = torch.tensor(values)
    ranks = torch.searchsorted(known, labels).clamp_(max=len(values) - 1)
    if len(odd := labels[known[ranks] != labels]):
        raise InputError(
            f"{where}: a test image has the label {int(odd[0])}, which no training image has; set data.classes"
        )
    return ranks


def fits_memory(settings: Data, images: int, shape: ImageShape) -> bool:
    """Whether the pixels of `images` images fit `settings.memory` GiB and half of this machine's memory."""
    return images * shape.pixels <= min(settings.memory * 2**30, bounds.memory() / 2)


def from_tensors(
    settings: Data,
    train: tuple[Tensor, Tensor | None],
    test: tuple[Tensor, Tensor | None] | None = None,
    *,
    classes: int | None = None,
    where: str,
) -> Dataset:
    """Make a dataset of images in memory.

    Args:
        settings: The table `[data]`.
        train: uint8 [n, c, h, w], c in {1, 3}, and int64 [n] or None.
        test: The same for the test split; its images may have another size.
        classes: The number of classes, if known.
        where: The dataset, for messages.

    Raises:
        InputError: If there are no images, or shape or labels do not suit the settings.
    """
    pixels = [train[0], *([test[0]] if test else [])]
    if not len(pixels[0]):
        raise InputError(f"{where} contains no images")
    side = min(pixels[0].shape[-2:])
    shape = settle_shape(settings, sides=(side, side), channels=pixels[0].shape[1], where=where)
    labels = settle_labels(settings, train[1], test[1] if test else None, classes=classes, where=where)
    fits = fits_memory(settings, sum(map(len, pixels)), shape)
    images = [
        fit(given, shape) if fits else LazyImages(given.__getitem__, shape, torch.arange(len(given)))
        for given in pixels
    ]
    train_split, test_split = Split(images[0], labels.train), Split(images[1], labels.test) if test else None
    return Dataset(
        settings.name,
        shape,
        labels.classes,
        train_split,
        test_split,
        class_names=labels.names,
        notes=labels.notes,
    )
