"""Statistics of a dataset, and a picture of samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from PIL import Image
from rich.table import Table
from torch import Tensor

from gan_zoo.analysis.panel import Panel
from gan_zoo.data.batches import in_order, normalise
from gan_zoo.data.dataset import Dataset, Split
from gan_zoo.errors import quoted
from gan_zoo.images import cell_side, to_uint8
from gan_zoo.terminal import table, with_progress

MEASURED = 10_000
"""Maximum number of images to measure in a dataset that is not in memory."""
BATCH = 500
COLUMNS, MOST_ROWS = 10, 24
"""Samples per class and maximum number of classes in the picture."""
MOST_CLASSES = 20
"""Maximum number of classes that are listed completely."""
LONGEST_NAME = 18


@dataclass(frozen=True)
class Overview:
    """Statistics of a dataset.

    Attributes:
        name: Its name in the settings.
        shape: Channels, height and width of every image.
        images: Number of images by split.
        in_memory: Whether the images are in memory; otherwise they are read or drawn on request.
        classes: Number of classes; 0 without labels.
        class_names: The classes' names, if known.
        class_counts: Number of images of each class, by split.
        factors: Number of values of each known factor.
        measured: Number of training images behind the figures below.
        mean: Mean of the pixels in [-1, 1] by channel.
        deviation: Standard deviation of the pixels by channel.
        range: Smallest and largest value of each channel, in [-1, 1].
        duplicates: Training images that are identical to an earlier one; None if not all were measured.
        shared: Test images that are identical to a training image; None likewise or without a test split.
        notes: How names were interpreted and what was skipped, a line each.
    """

    name: str
    shape: tuple[int, int, int]
    images: dict[str, int]
    in_memory: bool
    classes: int
    class_names: tuple[str, ...]
    class_counts: dict[str, list[int]]
    factors: dict[str, int]
    measured: int
    mean: list[float]
    deviation: list[float]
    range: list[tuple[float, float]]
    duplicates: int | None
    shared: int | None
    notes: tuple[str, ...]


def overview(dataset: Dataset, *, seed: int = 0, workers: int = 0) -> Overview:
    """Measure all images of a dataset in memory, or a random 10,000 of another.

    Args:
        dataset: The dataset.
        seed: Seed of the choice of images.
        workers: Processes that decode images.

    Raises:
        InputError: If an image cannot be read.
    """
    splits = dataset.splits
    in_memory = isinstance(dataset.train.images, Tensor)
    measured = dataset.train if in_memory else _random_part(dataset.train, seed)
    counts = torch.zeros(dataset.image.channels, 256, dtype=torch.int64)
    seen: set[bytes] = set()
    for pixels in _pixels(measured, dataset.name, workers):
        counts += torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in pixels.unbind(1)])
        if in_memory:
            seen.update(_prints(pixels))
    shared = None
    if in_memory and dataset.test:
        tests = _pixels(dataset.test, dataset.name, workers)
        shared = sum(one in seen for pixels in tests for one in _prints(pixels))
    values, shares = normalise(torch.arange(256)).double(), counts / counts.sum(1, keepdim=True)
    mean = shares.double() @ values
    occurring = [values[row > 0] for row in counts]
    factors = dataset.factors
    return Overview(
        name=dataset.name,
        shape=(dataset.image.channels, dataset.image.resolution, dataset.image.resolution),
        images={part: len(split) for part, split in splits.items()},
        in_memory=in_memory,
        classes=dataset.classes,
        class_names=dataset.class_names,
        class_counts={
            part: torch.bincount(split.labels, minlength=dataset.classes).tolist()
            for part, split in splits.items()
            if split.labels is not None
        },
        factors=dict(zip(factors.names, factors.sizes, strict=True)) if factors else {},
        measured=len(measured),
        mean=mean.tolist(),
        deviation=(shares.double() @ values**2 - mean**2).clamp(min=0).sqrt().tolist(),
        range=[(float(channel.min()), float(channel.max())) for channel in occurring],
        duplicates=len(measured) - len(seen) if in_memory else None,
        shared=shared,
        notes=dataset.notes,
    )


def tables(summary: Overview) -> list[Table]:
    """Tables for a terminal: the statistics, and the classes if there are any."""
    facts = table(quoted(summary.name), ["", ""], _facts(summary), left=2)
    if not summary.class_counts:
        return [facts]
    return [facts, table("", ["class", *summary.class_counts], _classes(summary))]


def _classes(summary: Overview) -> list[list[str]]:
    """The rows of the table of classes; of many, the largest and the smallest."""
    counts = [*zip(*summary.class_counts.values(), strict=True)]
    rows = [[_class(summary.class_names, k), *(f"{count:,}" for count in counts[k])] for k in range(summary.classes)]
    if summary.classes <= MOST_CLASSES:
        return rows
    order = sorted(range(summary.classes), key=lambda k: counts[k][0], reverse=True)
    few = MOST_CLASSES // 2
    return [*(rows[k] for k in order[:few]), ["…"], *(rows[k] for k in order[-few:])]


def samples(dataset: Dataset, *, seed: int = 0) -> Image.Image:
    """A picture of random training images, one row per class; without labels, in random order.

    If there are more than 24 classes, it shows 24, evenly spaced.
    """
    random = torch.Generator().manual_seed(seed)
    split = dataset.train
    if split.labels is None:
        chosen = torch.randperm(len(split), generator=random)[: COLUMNS**2]
        rows, names = [*chosen.split(COLUMNS)], [""] * -(-len(chosen) // COLUMNS)
    else:
        count = min(dataset.classes, MOST_ROWS)
        labels = [k * dataset.classes // count for k in range(count)]
        members = [(split.labels == label).nonzero()[:, 0] for label in labels]
        rows = [each[torch.randperm(len(each), generator=random)[:COLUMNS]] for each in members]
        names = [_class(dataset.class_names, label) for label in labels]
    images = torch.ones(len(rows), COLUMNS, dataset.image.channels, *[dataset.image.resolution] * 2)
    for cells, row in zip(images, rows, strict=True):
        if len(row):
            cells[: len(row)] = normalise(split.pixels(row))
    panel = Panel(cell_side(dataset.image.resolution), [""] * COLUMNS, names)
    return panel.draw(images)


def _random_part(split: Split, seed: int) -> Split:
    """`MEASURED` random images of a split, in order."""
    random = torch.Generator().manual_seed(seed)
    return split.choose(torch.randperm(len(split), generator=random)[:MEASURED].sort().values)


def _pixels(split: Split, name: str, workers: int) -> Iterator[Tensor]:
    """The images in batches, uint8 [n, C, R, R]."""
    batches = in_order(Split(split.images), batch_size=BATCH, device="cpu", workers=workers)
    for batch in with_progress(batches, -(-len(split) // BATCH), f"measuring {quoted(name)}"):
        yield to_uint8(batch.images)


def _prints(pixels: Tensor) -> Iterator[bytes]:
    return (hashlib.blake2b(image.data, digest_size=16).digest() for image in pixels.numpy())


def _facts(summary: Overview) -> Iterator[tuple[str, str]]:
    """The rows of the table: label and value."""
    yield "images", ", ".join(f"{count:,} {part}" for part, count in summary.images.items())
    channels, side, _ = summary.shape
    yield "shape", f"{side}×{side}, {'grey' if channels == 1 else 'colour'}"
    if summary.factors:
        yield "factors", ", ".join(f"{name} ({size})" for name, size in summary.factors.items())
    yield "classes", f"{summary.classes:,}" if summary.classes else "no labels"
    yield "storage", "in memory" if summary.in_memory else "read or drawn on request"
    basis = "" if summary.measured == summary.images["train"] else f", of {summary.measured:,} images"
    yield f"mean{basis}", ", ".join(map(_number, summary.mean))
    yield f"standard deviation{basis}", ", ".join(map(_number, summary.deviation))
    yield f"range{basis}", ", ".join(f"{_number(low)} to {_number(high)}" for low, high in summary.range)
    if summary.duplicates is not None:
        share = summary.duplicates / summary.measured
        yield "duplicates", f"{summary.duplicates:,} training images repeat another ({share:.1%})"
    if summary.shared is not None:
        yield "", f"{summary.shared:,} test images are training images, too"


def _number(value: float) -> str:
    return f"{round(value, 3) + 0.0:.3f}"  # avoids -0.000


def _class(names: tuple[str, ...], k: int) -> str:
    return quoted(names[k], LONGEST_NAME) if names else str(k)
