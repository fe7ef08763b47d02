"""What a dataset is, and how a name in the settings becomes one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor

from gan_zoo.config import Data
from gan_zoo.data.balance import balanced
from gan_zoo.data.factors import Factors
from gan_zoo.errors import InputError, quoted, unknown
from gan_zoo.files import path_from_text
from gan_zoo.registry import datasets
from gan_zoo.shapes import ImageShape

if TYPE_CHECKING:
    from gan_zoo.data.encoded import Encoded

ARRAY_SUFFIXES = (".npz", ".npy", ".safetensors")
TABLE_SUFFIXES = (".parquet", ".arrow")


class Source(Protocol):
    """Images that are made when asked for. Worker processes receive a copy, so it has to survive pickling."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Tensor:
        """Image `index`, uint8 [C, H, W].

        Raises:
            InputError: If the image cannot be read.
        """
        ...


@runtime_checkable
class BatchSource(Source, Protocol):
    """A source that makes a batch in one call, and so quickly that no worker processes are needed for it."""

    def batch(self, indices: Tensor) -> Tensor:
        """The images at `indices` (int64 [n]), uint8 [n, C, H, W]."""
        ...


@contextmanager
def quiet() -> Iterator[None]:
    """A block without Pillow's remarks on metadata and sizes, which are judged here. It is not made for threads."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


@dataclass(frozen=True, eq=False)
class Split:
    """The images of one part of a set, with their labels if it has any.

    Args:
        images: uint8 [n, C, H, W] in memory, or a source that makes one [C, H, W] at a time.
        labels: int64 [n] in 0..classes-1, or None.
        names: What the images are called, if they are files: their paths below the set's folder.
    """

    images: Tensor | Source
    labels: Tensor | None = None
    names: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, indices: Tensor) -> Tensor:
        """The images at `indices` (int64 [n]), uint8 [n, C, H, W]."""
        if isinstance(self.images, Tensor):
            return self.images[indices]
        if isinstance(self.images, BatchSource):
            return self.images.batch(indices)
        with quiet():
            return torch.stack([self.images[index] for index in indices.tolist()])

    def choose(self, indices: Tensor) -> Split:
        """The images at `indices` (int64 [n]), with their labels."""
        labels = None if self.labels is None else self.labels[indices]
        names = [self.names[index] for index in indices.tolist()] if self.names else ()
        if isinstance(self.images, Tensor):
            return Split(self.images[indices], labels, names)
        if isinstance(self.images, BatchSource):
            return Split(BatchSubset(self.images, indices), labels, names)
        return Split(Subset(self.images, indices), labels, names)


@dataclass(frozen=True, eq=False)
class Subset:
    """A source that has some images of another: those at `indices`, int64 [n]."""

    source: Source
    indices: Tensor

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Tensor:
        return self.source[int(self.indices[index])]


@dataclass(frozen=True, eq=False)
class BatchSubset(Subset):
    """The same, of a source that makes batches."""

    source: BatchSource

    def batch(self, indices: Tensor) -> Tensor:
        """The images at `indices` (int64 [n]) of the subset, uint8 [n, C, H, W]."""
        return self.source.batch(self.indices[indices])


@dataclass(frozen=True, eq=False)
class Dataset:
    """A set as the settings ask for it: every image of one shape.

    Args:
        name: What the settings call it.
        image: Shape of every image in both splits.
        classes: How many classes the labels tell apart; 0 if there are no labels.
        train: What is learned from.
        test: What is only measured on, if the set has such a part.
        factors: What the training images vary in, if they are every combination of known factors, in order.
        class_names: What the classes are called, in order; empty if the set does not say it.
        notes: What was decided from names and what was left out, a line each, for the user.
        broken: The images that were left out because they cannot be read, each with the reason.
        origin: The files, or rows of a table, that it was read from, by which it is known again; see
            `gan_zoo.data.fingerprint`.
    """

    name: str
    image: ImageShape
    classes: int
    train: Split
    test: Split | None = None
    factors: Factors | None = None
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    origin: tuple[Encoded, ...] = ()


def open_dataset(settings: Data) -> Dataset:
    """Open the set that `settings.name` names.

    The name is a registered one, or else an existing folder (opened as `folder`), an existing .npz, .npy or
    .safetensors file (opened as `array`), or a .parquet or .arrow file (opened as `hub`). A registered name wins over a
    file so called; `./name` is the file.
    `settings.balance` thins its classes out.

    Raises:
        InputError: If there is no such set, or if it cannot be read or brought into the shape or balance asked for.
    """
    opened = _registered(settings) if settings.name in datasets.entries else _at_path(settings)
    return balanced(opened, settings.balance, f"data {settings.name!r}")


def _registered(settings: Data) -> Dataset:
    opened = datasets.get(settings.name)(settings)
    if not isinstance(opened, Dataset):
        raise InputError(
            f"dataset {settings.name!r} gave a {type(opened).__name__}; a dataset's callable takes the "
            f"table [data] and returns a gan_zoo.data.dataset.Dataset"
        )
    _check(opened, settings)
    return opened


def _at_path(settings: Data) -> Dataset:
    path = as_path(settings.name, f"data {quoted(settings.name)}")
    if path.is_dir():
        kind = "folder"
    elif path.is_file() and path.suffix.lower() in ARRAY_SUFFIXES:
        kind = "array"
    elif path.is_file() and path.suffix.lower() in TABLE_SUFFIXES:
        kind = "hub"
    elif path.exists():
        accepted = ", ".join((*ARRAY_SUFFIXES, *TABLE_SUFFIXES))
        raise InputError(f"data {settings.name!r} is neither a folder nor a file ending in {accepted}")
    else:
        where = "" if path.is_absolute() else f" in {quoted(Path.cwd())}"
        if any(mark in settings.name for mark in "/\\~.") or path.is_absolute():
            raise InputError(
                f"data {settings.name!r}: no such file or folder{where}; give a folder of images, a "
                f"{', '.join(ARRAY_SUFFIXES)} file, or one of {', '.join(datasets.entries)}"
            )
        raise unknown("dataset", settings.name, datasets.entries, also=f", and no such file or folder{where}")
    if settings.path is not None:
        raise InputError(f"data {settings.name!r} is a path itself, so data.path = {settings.path!r} has no meaning")
    dataset: Dataset = datasets.get(kind)(settings.model_copy(update={"path": settings.name}))
    return dataset


def _check(opened: Dataset, settings: Data) -> None:
    """Refuse a set that is not what it says, or not what the settings ask for: it may be a plug-in's."""
    shape = (opened.image.channels, opened.image.resolution, opened.image.resolution)
    asked = (settings.channels, settings.resolution, settings.resolution)
    if any(want not in (None, have) for want, have in zip(asked, shape, strict=True)):
        raise InputError(
            f"data {settings.name!r} gave {opened.image} images, not what data.resolution and channels ask"
        )
    if opened.factors and opened.factors.count != len(opened.train):
        raise InputError(
            f"data {settings.name!r} gave {len(opened.train)} training images and factors of {opened.factors.count}"
        )
    for split in filter(None, (opened.train, opened.test)):
        images, labels = split.images, split.labels
        if isinstance(images, Tensor) and (images.dtype != torch.uint8 or tuple(images.shape[1:]) != shape):
            raise InputError(
                f"data {settings.name!r} gave images of {images.dtype} {list(images.shape)}, not uint8 [n, *{shape}]"
            )
        if labels is not None and (labels.dtype != torch.int64 or tuple(labels.shape) != (len(split),)):
            raise InputError(
                f"data {settings.name!r} gave labels of {labels.dtype} {list(labels.shape)}, not int64 [n]"
            )


def as_path(text: str, where: str) -> Path:
    """`text` as a path, `~` being a home.

    Raises:
        InputError: If no file can be called so.
    """
    try:
        path = path_from_text(text)
        path.exists()
    except (OSError, ValueError, RuntimeError) as error:  # too long, no text, or the home of nobody
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{where} is no path: {reason}") from None
    return path


def required_path(settings: Data, what: str) -> Path:
    """`settings.path` as an existing path.

    Args:
        settings: The table `[data]`.
        what: What is expected there, for the message.

    Raises:
        InputError: If it is not set, or nothing lies there.
    """
    if not settings.path:
        raise InputError(f"data {settings.name!r} needs data.path: {what}")
    path = as_path(settings.path, f"data.path {quoted(settings.path)}")
    if not path.exists():
        raise InputError(f"data.path {settings.path!r} does not exist; expected: {what}")
    return path
