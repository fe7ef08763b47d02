"""Make a `Dataset` that suits the settings from images and labels as they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gan_zoo.config import Data
from gan_zoo.data import bounds
from gan_zoo.data.dataset import Dataset, LazyImages, Split
from gan_zoo.data.pixels import fit, fit_note, side_of
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
    """Checked labels.

    Attributes:
        classes: Number of classes.
        splits: Of each split int64 [n] in 0..classes-1, or None.
        names: The classes' names, where these are not their numbers.
        notes: Lines for the user.
    """

    classes: int
    splits: Sequence[Tensor | None]
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def settle_labels(settings: Data, *splits: Tensor | None, classes: int | None = None, where: str) -> Labels:
    """The labels that the settings ask for.

    Where neither the settings nor the dataset give a number of classes, each number that labels a training image is a
    class, in ascending order: labels 5 and 7 become the classes 0 and 1 with the names "5" and "7".

    Args:
        settings: The table `[data]`; its `classes` is the number of classes, 0 drops the labels.
        splits: Of the training split, and of the test split if there is one, int64 [n] as read, or None. Those of a
            test split are dropped if all are -1 (withheld).
        classes: The dataset's number of classes, if known.
        where: The dataset, for the message.

    Raises:
        InputError: If a label lies outside 0..classes-1, or the settings ask for classes and there are no labels.
    """
    train, *others = splits
    if train is None and settings.classes:
        raise InputError(f"{where} has no labels, but data.classes is {settings.classes}; set it to 0")
    if train is None or settings.classes == 0:
        return Labels(0, [None] * len(splits))
    given = [train, *(None if one is not None and len(one) and bool((one == -1).all()) else one for one in others)]
    values = train.unique().tolist()
    names, notes = tuple[str, ...](), tuple[str, ...]()
    count = settings.classes or classes or len(values)
    if not classes and len(values) == count <= values[-1] and values[0] >= 0:  # the same with the count of a run's tree
        given = [_ranks(labels, values, where) for labels in given]
        names = tuple(map(str, values))
        notes = (f"{count} classes, by the labels of the training images: {bounds.listed([*names])}",)
    for split, labels in zip(("training", "test"), given, strict=False):
        if labels is None or not len(labels):
            continue
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= count:
            raise InputError(
                f"{where}: {split} labels run from {low} to {high}; accepted with {count} classes: 0 to {count - 1}; "
                "change the labels, or set data.classes to 0 to train without them"
            )
    return Labels(count, given, names, notes)


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
    settings: Data, *splits: tuple[Tensor, Tensor | None], classes: int | None = None, where: str
) -> Dataset:
    """Make a dataset of images in memory.

    Args:
        settings: The table `[data]`.
        splits: Of the training split, and of the test split if there is one: images uint8 [n, c, h, w] with n above 0
            and c in {1, 3}, and labels int64 [n] or None. Test images may have another size.
        classes: The number of classes, if known.
        where: The dataset, for messages.

    Raises:
        InputError: If shape or labels do not suit the settings.
    """
    pixels = [images for images, _ in splits]
    side = side_of(pixels[0].shape[-2:], settings.fit)
    shape = settle_shape(settings, sides=(side, side), channels=pixels[0].shape[1], where=where)
    labels = settle_labels(settings, *(given for _, given in splits), classes=classes, where=where)
    fits = fits_memory(settings, sum(map(len, pixels)), shape)
    images = [
        fit(given, shape, settings.fit)
        if fits
        else LazyImages(given.__getitem__, shape, torch.arange(len(given)), fit=settings.fit)
        for given in pixels
    ]
    train, *test = map(Split, images, labels.splits)
    dataset = Dataset(settings.name, shape, labels.classes, train, test[0] if test else None)
    sizes = [tuple(given.shape[-2:]) for given in pixels for _ in range(len(given))]
    notes = (*labels.notes, *fit_note(sizes, settings.fit, len(sizes)))
    return replace(dataset, class_names=labels.names, notes=notes, fit=settings.fit)
