"""From images and labels as they are found to a `Dataset` as the settings ask for it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gan_zoo.config import Data
from gan_zoo.data import bounds
from gan_zoo.data.dataset import Dataset, Source, Split
from gan_zoo.data.pixels import fit
from gan_zoo.errors import InputError
from gan_zoo.shapes import ImageShape

SMALLEST, LARGEST = 4, 1024
"""Sides in pixels that `data.resolution` accepts."""


def settle_shape(settings: Data, *, sides: tuple[int, int], channels: int, where: str) -> ImageShape:
    """The shape that the settings ask for, or the set's own.

    Args:
        settings: The table `[data]`.
        sides: The smallest and the largest of the images' shorter sides, in pixels.
        channels: The set's own channels, 1 or 3.
        where: The set, for the message.

    Raises:
        InputError: If the settings leave the resolution to a set that has no single one, or one out of range.
    """
    low, high = sides
    if settings.resolution is None:
        if low != high:
            raise InputError(
                f"{where}: images are {low} to {high} pixels on the shorter side; set data.resolution to the "
                f"one side they shall have ({SMALLEST} to {LARGEST})"
            )
        if not SMALLEST <= low <= LARGEST:
            raise InputError(
                f"{where}: images are {low} pixels on the shorter side; set data.resolution ({SMALLEST} to {LARGEST})"
            )
    return ImageShape(settings.channels or channels, settings.resolution or low)


@dataclass(frozen=True, eq=False)
class Labels:
    """Checked labels: int64 [n] in 0..classes-1 each, or None.

    Attributes:
        classes: How many classes they tell apart.
        train: The training split's.
        test: The test split's.
        names: What the classes are called, where that is not their number.
        notes: What the user should know of them.
    """

    classes: int
    train: Tensor | None
    test: Tensor | None
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def settle_labels(
    settings: Data, train: Tensor | None, test: Tensor | None, *, classes: int | None = None, where: str
) -> Labels:
    """The labels as the settings want them.

    Where neither the settings nor the set say how many classes there are, each number that labels a training image is
    one, in ascending order: of labels 5 and 7, the classes 0 and 1, which are called "5" and "7".

    Args:
        settings: The table `[data]`; its `classes` decides how many there are, 0 drops the labels.
        train: int64 [n] as found, or None.
        test: The test split's. Where they are all -1 (withheld), they are dropped.
        classes: How many the set says it has.
        where: The set, for the message.

    Raises:
        InputError: If a label lies outside 0..classes-1, or if there are none although the settings ask for
            some.
    """
    if settings.classes == 0:
        return Labels(0, None, None)
    if train is None:
        if settings.classes:
            raise InputError(f"{where} has no labels, but data.classes is {settings.classes}; accepted here: 0")
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
                f"{where}: {split} labels run from {low} to {high}; accepted with {count} classes: 0 to {count - 1}"
            )
    return Labels(count, train, test, names, notes)


def _ranks(labels: Tensor | None, values: list[int], where: str) -> Tensor | None:
    """Each label's place among the sorted `values`."""
    if labels is None:
        return None
    known = torch.tensor(values)
    places = torch.searchsorted(known, labels).clamp_(max=len(values) - 1)
    if len(odd := labels[known[places] != labels]):
        raise InputError(f"{where}: the test label {int(odd[0])} is that of no training image; set data.classes")
    return places


def fits_memory(settings: Data, images: int, shape: ImageShape) -> bool:
    """Whether so many images of `shape` may be held, by `settings.memory` in GiB and half of this machine's."""
    return images * shape.pixels <= min(settings.memory * 2**30, bounds.memory() / 2)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A source over uint8 images [n, c, h, w] that fits each into `shape` when asked."""

    images: Tensor
    shape: ImageShape

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return fit(self.images[index : index + 1], self.shape)[0]


def from_tensors(
    settings: Data,
    train: tuple[Tensor, Tensor | None],
    test: tuple[Tensor, Tensor | None] | None = None,
    *,
    classes: int | None = None,
    where: str,
) -> Dataset:
    """A set from images that are in memory already.

    Args:
        settings: The table `[data]`.
        train: uint8 [n, c, h, w], c in {1, 3}, and int64 [n] or None.
        test: The same for the test split; its images may have another size.
        classes: How many classes the set says it has, if it does.
        where: The set, for messages.

    Raises:
        InputError: If there are no images, or shape or labels do not suit the settings.
    """
    images, _ = train
    if not len(images):
        raise InputError(f"{where} holds no images")
    side = min(images.shape[-2:])
    shape = settle_shape(settings, sides=(side, side), channels=images.shape[1], where=where)
    labels = settle_labels(settings, train[1], test[1] if test else None, classes=classes, where=where)
    held = fits_memory(settings, len(images) + (len(test[0]) if test else 0), shape)

    def shaped(found: Tensor) -> Tensor | Source:
        return fit(found, shape) if held else Fitted(found, shape)

    return Dataset(
        name=settings.name,
        image=shape,
        classes=labels.classes,
        train=Split(shaped(images), labels.train),
        test=Split(shaped(test[0]), labels.test) if test else None,
        class_names=labels.names,
        notes=labels.notes,
    )
