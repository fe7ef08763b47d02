"""Image datasets, and `open_dataset`, which opens the one that a name in the settings stands for."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol

import torch
from torch import Tensor

from gan_zoo.config import Data, Fit
from gan_zoo.data.balance import balanced_indices
from gan_zoo.data.factors import Factors
from gan_zoo.data.pixels import fit
from gan_zoo.errors import InputError, quoted, unknown
from gan_zoo.files import path_from_text
from gan_zoo.registry import datasets
from gan_zoo.shapes import ImageShape

ARRAY_SUFFIXES = (".npz", ".npy", ".safetensors")
TABLE_SUFFIXES = (".parquet", ".arrow")


class EncodedImages(Protocol):
    """Images as they are stored: in files, or as bytes in a table."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """The name of image `index` in messages."""
        ...

    def read(self, index: int) -> BinaryIO:
        """Open the bytes of image `index`; the caller closes them."""
        ...

    def choose(self, indices: Sequence[int]) -> EncodedImages:
        """The images at `indices`."""
        ...


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress Pillow's warnings about metadata and sizes, which are checked here. Not thread-safe."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


@dataclass(frozen=True, eq=False)
class LazyImages:
    """Images that are read, decoded or drawn on request; indexed like a tensor of images.

    Args:
        read: Returns the images at int64 [m] indices of the whole set, uint8 [m, c, h, w] with c 1 or 3; raises
            InputError if one cannot be read. It must be picklable, as worker processes receive a copy.
        shape: What each image is fitted into.
        indices: int64 [n], the images of the whole set that are used, in order.
        needs_workers: Whether reading is slow enough for worker processes to pay.
        fit: How images that are not square are fitted.
    """

    read: Callable[[Tensor], Tensor]
    shape: ImageShape
    indices: Tensor
    needs_workers: bool = True
    fit: Fit = "crop"

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, indices: Tensor) -> Tensor:
        """The images at `indices` (int64 [m]), uint8 [m, C, R, R]."""
        return fit(self.read(self.indices[indices]), self.shape, self.fit)

    def choose(self, indices: Tensor) -> LazyImages:
        """The images at `indices` (int64 [m]), still unread."""
        return replace(self, indices=self.indices[indices])


@dataclass(frozen=True, eq=False)
class Split:
    """The images of a training or test split.

    Args:
        images: uint8 [n, C, H, W], or as many lazy images.
        labels: int64 [n] in 0..classes-1, or None.
        names: The images' paths below the dataset's folder, if they are files.
    """

    images: Tensor | LazyImages
    labels: Tensor | None = None
    names: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, indices: Tensor) -> Tensor:
        """The images at `indices` (int64 [m]), uint8 [m, C, H, W]."""
        if isinstance(self.images, Tensor):
            return self.images[indices]
        with quiet():
            return self.images[indices]

    def choose(self, indices: Tensor) -> Split:
        """The images at `indices` (int64 [m]), with labels and names."""
        return Split(
            self.images[indices] if isinstance(self.images, Tensor) else self.images.choose(indices),
            None if self.labels is None else self.labels[indices],
            [self.names[index] for index in indices.tolist()] if self.names else (),
        )


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset whose images all have one shape.

    Args:
        name: Its name in the settings.
        image: Shape of every image in both splits.
        classes: Number of classes; 0 without labels.
        train: The training split.
        test: The test split, if there is one.
        factors: The factors of variation of the training images, if these are every combination, in order.
        class_names: In the order of the labels; empty if unknown.
        notes: Lines for the user: what names decided, what was skipped.
        broken: The images that were skipped because they cannot be read, each with the cause.
        origin: The files or table rows that were read; `gan_zoo.data.fingerprint` digests them.
        fit: How images that are not square were fitted.
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
    origin: tuple[EncodedImages, ...] = ()
    fit: Fit = "crop"

    @property
    def splits(self) -> dict[str, Split]:
        """The splits by name."""
        return {"train": self.train} | ({} if self.test is None else {"test": self.test})


def open_dataset(settings: Data) -> Dataset:
    """Open the dataset `settings.name` and subsample its classes by `settings.balance`.

    The name is a registered one, or else an existing folder (opened as `folder`), an existing .npz, .npy or
    .safetensors file (opened as `array`), or a .parquet or .arrow file (opened as `hub`). A registered name wins over a
    file of that name; `./name` is the file.

    Raises:
        InputError: If there is no such dataset, it cannot be read, or it does not suit the settings.
    """
    if settings.name in datasets.entries:
        dataset = datasets.get(settings.name)(settings)
        _check(dataset, settings)
    else:
        dataset = datasets.get(_kind_of_path(settings))(settings.model_copy(update={"path": settings.name}))
    return _balanced(dataset, settings) if settings.balance else dataset


def _kind_of_path(settings: Data) -> str:
    """The dataset that reads the file or folder `settings.name`."""
    name = settings.name
    path = as_path(name, f"data {quoted(name)}")
    if not path.exists():
        where = "" if path.is_absolute() else f" in {quoted(Path.cwd())}"
        if any(mark in name for mark in "/\\~.") or path.is_absolute():
            on_hub = re.fullmatch(r"(?:hf:/+(?:datasets/)?)?([\w-][\w.-]*/[\w.-]+)", name)
            hub = f"; a set on the Hugging Face Hub is --data hub --data.path {on_hub[1]}" if on_hub else ""
            raise InputError(
                f"data {name!r}: no such file or folder{where}; give a folder of images, a "
                f"{', '.join(ARRAY_SUFFIXES)} file, or one of {', '.join(datasets.entries)}{hub}"
            )
        raise unknown("dataset", name, datasets.entries, also=f", and no such file or folder{where}")
    if settings.path is not None:
        raise InputError(f"data {name!r} is a path, so data.path = {settings.path!r} must not be given as well")
    if path.is_dir():
        return "folder"
    suffix = path.suffix.lower() if path.is_file() else ""
    if suffix not in (*ARRAY_SUFFIXES, *TABLE_SUFFIXES):
        accepted = ", ".join((*ARRAY_SUFFIXES, *TABLE_SUFFIXES))
        raise InputError(f"data {name!r} is neither a folder nor a file ending in {accepted}")
    return "array" if suffix in ARRAY_SUFFIXES else "hub"


def _check(dataset: object, settings: Data) -> None:
    """Check what a registered dataset returned, as it may be a plug-in's."""
    where = f"dataset {settings.name!r} returned"
    if not isinstance(dataset, Dataset):
        raise InputError(
            f"{where} a {type(dataset).__name__}; a dataset's callable takes the table [data] and returns a "
            "gan_zoo.data.dataset.Dataset"
        )
    shape = (dataset.image.channels, dataset.image.resolution, dataset.image.resolution)
    required = (settings.channels, settings.resolution, settings.resolution)
    if any(size not in (None, given) for size, given in zip(required, shape, strict=True)):
        raise InputError(f"{where} {dataset.image} images, which are not of data.resolution and data.channels")
    if dataset.factors and dataset.factors.count != len(dataset.train):
        raise InputError(
            f"{where} {len(dataset.train)} training images, but factors with {dataset.factors.count} combinations"
        )
    for split in dataset.splits.values():
        images, labels = split.images, split.labels
        if not isinstance(images, Tensor | LazyImages):
            raise InputError(f"{where} images as {type(images).__name__}; expected: a tensor or LazyImages")
        if isinstance(images, Tensor) and (images.dtype != torch.uint8 or tuple(images.shape[1:]) != shape):
            raise InputError(f"{where} images of {images.dtype} {[*images.shape]}; expected: uint8 [n, *{shape}]")
        if labels is not None and (labels.dtype != torch.int64 or tuple(labels.shape) != (len(split),)):
            raise InputError(f"{where} labels of {labels.dtype} {[*labels.shape]}; expected: int64 [{len(split)}]")


def _balanced(dataset: Dataset, settings: Data) -> Dataset:
    """Keep the share `settings.balance` of each class's images in both splits, and drop the factors."""
    shares, where = settings.balance, f"data {settings.name!r}"
    if not dataset.classes or dataset.train.labels is None:
        raise InputError(f"{where} has no labels; data.balance requires them")
    if len(shares) != dataset.classes:
        raise InputError(f"data.balance has {len(shares)} shares, but {where} has {dataset.classes} classes")
    splits = dataset.splits
    for name, split in splits.items():
        if split.labels is not None:
            splits[name] = split.choose(balanced_indices(split.labels, shares))
    return replace(dataset, train=splits["train"], test=splits.get("test"), factors=None)


def as_path(text: str, where: str) -> Path:
    """The path that `text` stands for, with `~` expanded.

    Raises:
        InputError: If no file can have this name.
    """
    try:
        path = path_from_text(text)
        path.exists()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a null character, or ~ of an unknown user
        cause = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{where} is not a path: {cause}") from None
    return path


def required_path(settings: Data, what: str) -> Path:
    """`settings.path` as an existing path.

    Args:
        settings: The table `[data]`.
        what: What is expected there, for the message.

    Raises:
        InputError: If it is not set or does not exist.
    """
    if not settings.path:
        raise InputError(f"data {settings.name!r} requires data.path: {what}")
    path = as_path(settings.path, f"data.path {quoted(settings.path)}")
    if not path.exists():
        raise InputError(f"data.path {settings.path!r} does not exist; expected: {what}")
    return path
