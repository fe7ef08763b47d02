"""Q(c | x) of a set of images, as a table in a CSV or Parquet file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from gan_zoo.analysis.code_table import Columns
from gan_zoo.config import Data
from gan_zoo.data.batches import normalise
from gan_zoo.data.dataset import ARRAY_SUFFIXES, Dataset, LazyImages, Split, open_dataset, quiet
from gan_zoo.data.encoded import BrokenImagesError, decoded_on_request
from gan_zoo.data.folder import Files
from gan_zoo.data.pixels import SUFFIXES
from gan_zoo.errors import InputError, quoted
from gan_zoo.files import path_from_text
from gan_zoo.models.gan.codes import Code
from gan_zoo.models.gan.model import GAN
from gan_zoo.models.infogan.q_head import Gaussian, Posterior
from gan_zoo.registry import datasets
from gan_zoo.shapes import ImageShape
from gan_zoo.training.provenance import open_training_data
from gan_zoo.training.run import Run

T = TypeVar("T")

NAMED = 3
"""How many unreadable images a message names."""


class Encoder(Protocol):
    """A model that tells its codes from an image."""

    @property
    def codes(self) -> tuple[Code, ...]:
        """The latent codes."""

    @property
    def device(self) -> torch.device:
        """Where it lies."""

    def encode(self, images: Tensor) -> dict[str, Posterior]:
        """Q(c | x) by code, of images [n, C, H, W] in [-1, 1]."""


@dataclass(frozen=True)
class Images:
    """Images of one shape, with what a table calls each, and those that are left out since they cannot be read."""

    split: Split
    where: str
    broken: tuple[str, ...] = ()

    def name(self, index: int) -> str | int:
        """The path of image `index` below its folder, or `index` where the set is no folder."""
        if self.split.names:
            return quoted(self.split.names[index])
        images = self.split.images
        return int(images.indices[index]) if isinstance(images, LazyImages) else index


def encoder(model: GAN) -> Encoder:
    """`model` if it tells codes.

    Raises:
        InputError: If it has none.
    """
    if not model.codes or not hasattr(model, "encode"):
        raise InputError(f"model {model.config.model} has no codes to tell from an image; infogan and acgan have")
    return cast(Encoder, model)


def open_images(
    named: Sequence[str], run: Run, shape: ImageShape, *, part: Literal["train", "test"] = "train"
) -> Images:
    """The images that a command line names, in the model's shape.

    Args:
        named: Image files; or one folder, array file or registered set; or nothing for the run's own data.
        run: The run.
        shape: What the model takes.
        part: Which split of a set.

    Raises:
        InputError: If they are not there, none can be read, there is no such split, or the run's own data changed.
    """
    paths = [Path(name) for name in named]
    if paths and all(path.suffix.lower() in SUFFIXES and not path.is_dir() for path in paths):
        if missing := [str(path) for path in paths if not path.is_file()]:
            raise InputError(f"{missing[0]}: no such image")
        files = Files(Path(), [str(path) for path in paths])
        return Images(Split(decoded_on_request(files, shape), names=files.names), "files")
    if len(named) > 1:
        odd = next(path for path in paths if path.is_dir() or path.suffix.lower() not in SUFFIXES)
        raise InputError(f"{odd} is no image file; accepted: image files, or one folder, array file or dataset")
    if paths and paths[0].is_file() and paths[0].suffix.lower() not in ARRAY_SUFFIXES:
        raise InputError(f"{paths[0]} is neither an image nor a file ending in {', '.join(ARRAY_SUFFIXES)}")
    recorded = run.config.data
    settings = recorded.model_copy(update={"resolution": shape.resolution, "channels": shape.channels})
    if named and named[0] != recorded.name:
        settings = settings.model_copy(update={"name": named[0], "path": None, "classes": None, "balance": ()})
    if settings.name == "folder" or (settings.name not in datasets.entries and path_from_text(settings.name).is_dir()):
        settings = settings.model_copy(update={"memory": 0.0})  # streamed, whatever its size
    dataset = _but_for_broken(open_dataset if named else partial(open_training_data, run), settings)
    split = dataset.train if part == "train" else dataset.test
    if split is None:
        raise InputError(f"data {settings.name!r} has no test split; accepted: --split train")
    return Images(split, f"{part} split of {settings.name}", dataset.broken)


def _but_for_broken(opened: Callable[[Data], Dataset], settings: Data) -> Dataset:
    """A set without the images that cannot be read."""
    try:
        return opened(settings)
    except BrokenImagesError:
        pass
    try:
        return opened(settings.model_copy(update={"skip_broken": True}))
    except BrokenImagesError as error:
        raise InputError(f"{error}: {', '.join(error.causes[:NAMED])}") from None


class Broken:
    """Images that cannot be read: how many, and the first few by name."""

    def __init__(self) -> None:
        self.count = 0
        self.named: list[str] = []

    def add(self, name: object) -> None:
        """Count one, and keep its name and what is wrong with it."""
        self.count += 1
        if len(self.named) < NAMED:
            self.named.append(str(name))

    def __str__(self) -> str:
        rest = f", and {self.count - NAMED:,} more" if self.count > NAMED else ""
        return f"{self.count:,} that cannot be read: {', '.join(self.named)}{rest}"


def encode(
    model: Encoder, images: Images, *, batch_size: int = 256, workers: int = 2, broken: Broken | None = None
) -> Iterator[Columns]:
    """The table of Q(c | x), a batch of rows at a time, in the images' order.

    Args:
        model: What encodes.
        images: What is encoded.
        batch_size: Images at a time.
        workers: Threads that decode a streamed set.
        broken: Takes the images that cannot be read and have no row.

    Returns:
        Columns `image`, `label` if the set has labels, and for a categorical code `c1` (its mode) and `c1/p0`, `c1/p1`,
        …, for a bernoulli code `c2/p`, for a continuous one `c3/mean` and `c3/log_variance`. Where a code itself is
        called `label` (acgan's), the set's labels are `data/label`.

    Raises:
        InputError: If no image can be read.
    """
    taken = {code.name for code in model.codes}
    broken = Broken() if broken is None else broken
    for name in images.broken:
        broken.add(name)
    encoded = False
    for rows, pixels in _readable(images.split, batch_size, workers, broken):
        names = [images.name(index) for index in rows.tolist()]
        columns: Columns = {"image": np.array(names, dtype=object if isinstance(names[0], str) else np.int64)}
        if images.split.labels is not None:
            columns["data/label" if "label" in taken else "label"] = images.split.labels[rows].numpy()
        posteriors = model.encode(normalise(pixels.to(model.device)))
        for code in model.codes:
            columns |= _columns(code, posteriors[code.name])
        yield columns
        encoded = True
    if not encoded:
        raise InputError(f"{images.where}: no image left; {broken}")


def _readable(split: Split, batch_size: int, workers: int, broken: Broken) -> Iterator[tuple[Tensor, Tensor]]:
    """The images that can be read, uint8 [n, C, R, R], with their places in the split; a batch is decoded ahead."""
    images, parts = split.images, torch.arange(len(split)).split(batch_size)
    if isinstance(images, Tensor) or not images.needs_workers:
        yield from ((part, split.pixels(part)) for part in parts)
        return

    def attempt(index: int) -> Tensor | InputError:
        try:
            return images[torch.tensor([index])][0]
        except InputError as error:
            return error

    pool = ThreadPoolExecutor(max(1, workers))
    begin = pool.map if workers else map
    begun = ((part, begin(attempt, part.tolist())) for part in parts)
    try:
        with quiet():  # here, once for all threads
            for part, attempts in _one_ahead(begun) if workers else begun:
                read = {int(row): pixels for row, pixels in zip(part, attempts, strict=True)}
                good = {row: pixels for row, pixels in read.items() if isinstance(pixels, Tensor)}
                for error in read.values():
                    if isinstance(error, InputError):
                        broken.add(*getattr(error, "causes", [error]))
                if good:
                    yield torch.tensor([*good]), torch.stack([*good.values()])
    finally:
        pool.shutdown(cancel_futures=True)


def _one_ahead(items: Iterator[T]) -> Iterator[T]:
    """The items, of which each is taken before the one before it is given."""
    waiting = list(islice(items, 1))
    for item in items:
        waiting.append(item)
        yield waiting.pop(0)
    yield from waiting


def _columns(code: Code, posterior: Posterior) -> Columns:
    if isinstance(posterior, Gaussian):
        mean, log_variance = (value.cpu().numpy() for value in posterior)
        return {f"{code.name}/mean": mean, f"{code.name}/log_variance": log_variance}
    values = posterior.cpu().numpy()
    if code.kind == "bernoulli":
        return {f"{code.name}/p": values}
    probabilities = {f"{code.name}/p{k}": values[:, k] for k in range(code.classes)}
    return {code.name: values.argmax(1)} | probabilities
