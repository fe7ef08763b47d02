"""Q(c | x) of a set of images as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
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
from gan_zoo.data.encoded import BrokenImagesError, decoded_on_request, note_on_fit
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
"""Maximum number of unreadable images that a message names."""


class Encoder(Protocol):
    """A model that infers the codes of an image."""

    @property
    def codes(self) -> tuple[Code, ...]:
        """The latent codes."""

    @property
    def device(self) -> torch.device:
        """The model's device."""

    def encode(self, images: Tensor) -> dict[str, Posterior]:
        """Q(c | x) by code for images [n, C, H, W] in [-1, 1]."""


@dataclass(frozen=True)
class Images:
    """Images of one shape, their names in a table, and the images that were skipped because they cannot be read."""

    split: Split
    where: str
    broken: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """Lines for the user."""

    def first(self, n: int | None) -> Images:
        """The first n images, or all."""
        if n is None or n >= len(self.split):
            return self
        return replace(self, split=self.split.choose(torch.arange(n)))

    def name(self, index: int) -> str | int:
        """The path of image `index` below its folder, or `index` if the dataset is not a folder."""
        if self.split.names:
            return quoted(self.split.names[index])
        images = self.split.images
        return int(images.indices[index]) if isinstance(images, LazyImages) else index


def encoder(model: GAN) -> Encoder:
    """Return `model` as an `Encoder`.

    Raises:
        InputError: If it cannot infer codes.
    """
    if not model.codes or not hasattr(model, "encode"):
        raise InputError(f"model {model.config.model} has no codes to read from images; infogan has, for example")
    return cast(Encoder, model)


def open_images(
    named: Sequence[str], run: Run, shape: ImageShape, *, part: Literal["train", "test"] = "train"
) -> Images:
    """Open the images that a command line names, in the model's shape.

    Args:
        named: Image files; or one folder, array file or dataset's name; or nothing for the run's data.
        run: The run.
        shape: The model's image shape.
        part: The split of a dataset.

    Raises:
        InputError: If images or split do not exist, no image can be read, or the run's data changed.
    """
    paths = [Path(name) for name in named]
    if paths and all(path.suffix.lower() in SUFFIXES and not path.is_dir() for path in paths):
        if missing := [str(path) for path in paths if not path.is_file()]:
            raise InputError(f"{missing[0]}: no such image")
        files = Files(Path(), [str(path) for path in paths])
        pixels = decoded_on_request(files, shape, run.config.data.fit)
        return Images(Split(pixels, names=files.names), "files", notes=tuple(note_on_fit(files, run.config.data.fit)))
    if len(named) > 1:
        odd = next(path for path in paths if path.is_dir() or path.suffix.lower() not in SUFFIXES)
        raise InputError(f"{odd} is not an image file; accepted: image files, or one folder, array file or dataset")
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
    notes = note_on_fit(dataset.origin[0], settings.fit) if dataset.origin else []
    return Images(split, f"{part} split of {settings.name}", dataset.broken, tuple(notes))


def _but_for_broken(opened: Callable[[Data], Dataset], settings: Data) -> Dataset:
    """Open a dataset without the images that cannot be read."""
    try:
        return opened(settings)
    except BrokenImagesError:
        pass
    try:
        return opened(settings.model_copy(update={"skip_broken": True}))
    except BrokenImagesError as error:
        raise InputError(f"{error}: {', '.join(error.causes[:NAMED])}") from None


def named(broken: Sequence[str]) -> str:
    """The names of the first few images that cannot be read, and the number of the others."""
    return ", ".join(broken[:NAMED]) + (f", and {len(broken) - NAMED:,} more" if len(broken) > NAMED else "")


def left_out(broken: Sequence[str]) -> str:
    """A line on images that cannot be read."""
    return f"left out: {len(broken):,} that cannot be read: {named(broken)}"


def encode(
    model: Encoder, images: Images, *, batch_size: int = 256, workers: int = 2, broken: list[str] | None = None
) -> Iterator[Columns]:
    """Yield the table of Q(c | x) batch by batch, in the images' order.

    Args:
        model: The encoder.
        images: The images.
        batch_size: Images per batch.
        workers: Threads that decode a streamed dataset.
        broken: Extended by the names of images that cannot be read, which have no row.

    Returns:
        Columns `image`, `label` if the dataset has labels, and for a categorical code `c1` (its mode) and `c1/p0`,
        `c1/p1`, …, for a bernoulli code `c2/p`, for a continuous one `c3/mean` and `c3/log_variance`. If a code is
        called `label` (acgan's), the dataset's labels are `data/label`.

    Raises:
        InputError: If no image can be read.
    """
    code_names = {code.name for code in model.codes}
    broken = [] if broken is None else broken
    broken.extend(images.broken)
    encoded = False
    for rows, pixels in readable(images.split, batch_size, workers, broken):
        names = [images.name(index) for index in rows.tolist()]
        columns: Columns = {"image": np.array(names, dtype=object if isinstance(names[0], str) else np.int64)}
        if images.split.labels is not None:
            columns["data/label" if "label" in code_names else "label"] = images.split.labels[rows].numpy()
        posteriors = model.encode(normalise(pixels.to(model.device)))
        for code in model.codes:
            columns |= _columns(code, posteriors[code.name])
        yield columns
        encoded = True
    if not encoded:
        raise InputError(f"{images.where}: no image can be read: {named(broken)}")


def readable(split: Split, batch_size: int, workers: int, broken: list[str]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the readable images, uint8 [n, C, R, R], with their indices; the next batch is decoded in advance.

    Args:
        split: The images.
        batch_size: Images per batch.
        workers: Threads that decode a streamed dataset.
        broken: Extended by the names of images that cannot be read.
    """
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
        with quiet():  # once for all threads, as it is not thread-safe
            for part, attempts in _one_ahead(begun) if workers else begun:
                read = {int(row): pixels for row, pixels in zip(part, attempts, strict=True)}
                good = {row: pixels for row, pixels in read.items() if isinstance(pixels, Tensor)}
                for error in read.values():
                    if isinstance(error, InputError):
                        broken.extend(map(str, getattr(error, "causes", [error])))
                if good:
                    yield torch.tensor([*good]), torch.stack([*good.values()])
    finally:
        pool.shutdown(cancel_futures=True)


def _one_ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield the items, each after the next one has been requested."""
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
