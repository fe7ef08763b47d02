"""Q(c | x) of a set of images, as a table in a CSV or Parquet file."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_zoo.data.batches import in_order
from gan_zoo.data.dataset import ARRAY_SUFFIXES, Split, Subset, open_dataset
from gan_zoo.data.encoded import Decoded
from gan_zoo.data.folder import Files
from gan_zoo.data.pixels import SUFFIXES
from gan_zoo.errors import InputError
from gan_zoo.extras import require
from gan_zoo.files import from_text, whole
from gan_zoo.models.gan.codes import Code
from gan_zoo.models.gan.model import GAN
from gan_zoo.models.infogan.q_head import Gaussian, Posterior
from gan_zoo.registry import datasets
from gan_zoo.shapes import ImageShape
from gan_zoo.training.provenance import own_data
from gan_zoo.training.run import Run

ENDINGS = (".csv", ".parquet")

Columns = dict[str, NDArray[Any]]


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
    """Images of one shape, with what a table calls each."""

    split: Split
    where: str

    def name(self, index: int) -> str | int:
        """The path of image `index` below its folder, or `index` where the set is no folder."""
        source: Any = self.split.images
        if isinstance(source, Subset):
            source, index = source.source, int(source.indices[index])
        files = source.encoded if isinstance(source, Decoded) else None
        return files.name(index) if isinstance(files, Files) else index


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
        InputError: If they are not there, cannot be read, or have no such split; or if the run's own data changed.
    """
    paths = [Path(name) for name in named]
    if paths and all(path.suffix.lower() in SUFFIXES and not path.is_dir() for path in paths):
        if missing := [str(path) for path in paths if not path.is_file()]:
            raise InputError(f"{missing[0]}: no such image")
        files = Files(Path(), [str(path) for path in paths])
        return Images(Split(Decoded(files, shape)), "files")
    if len(named) > 1:
        odd = next(path for path in paths if path.is_dir() or path.suffix.lower() not in SUFFIXES)
        raise InputError(f"{odd} is no image file; accepted: image files, or one folder, array file or dataset")
    if paths and paths[0].is_file() and paths[0].suffix.lower() not in ARRAY_SUFFIXES:
        raise InputError(f"{paths[0]} is neither an image nor a file ending in {', '.join(ARRAY_SUFFIXES)}")
    own = run.config.data
    settings = own.model_copy(update={"resolution": shape.resolution, "channels": shape.channels})
    if named and named[0] != own.name:
        settings = settings.model_copy(update={"name": named[0], "path": None, "classes": None, "balance": ()})
    if settings.name == "folder" or (settings.name not in datasets.entries and from_text(settings.name).is_dir()):
        settings = settings.model_copy(update={"memory": 0.0})  # streamed, whatever its size
    dataset = open_dataset(settings) if named else own_data(run, settings)
    split = dataset.train if part == "train" else dataset.test
    if split is None:
        raise InputError(f"data {settings.name!r} has no test split; accepted: --split train")
    return Images(split, f"{part} split of {settings.name}")


def encode(model: Encoder, images: Images, *, batch_size: int = 256, workers: int = 2) -> Iterator[Columns]:
    """The table of Q(c | x), a batch of rows at a time, in the images' order.

    Returns:
        Columns `image`, `label` if the set has labels, and for a categorical code `c1` (its mode) and `c1/p0`, `c1/p1`,
        …, for a bernoulli code `c2/p`, for a continuous one `c3/mean` and `c3/log_variance`. Where a code itself is
        called `label` (acgan's), the set's labels are `data/label`.
    """
    taken = {code.name for code in model.codes}
    row = 0
    workers = workers if len(images.split) > 4 * batch_size else 0
    for batch in in_order(images.split, batch_size=batch_size, device=model.device, workers=workers):
        n = len(batch.images)
        names = [images.name(index) for index in range(row, row + n)]
        columns: Columns = {"image": np.array(names, dtype=object if isinstance(names[0], str) else np.int64)}
        if batch.labels is not None:
            columns["data/label" if "label" in taken else "label"] = batch.labels.cpu().numpy()
        posteriors = model.encode(batch.images)
        for code in model.codes:
            columns |= _columns(code, posteriors[code.name])
        yield columns
        row += n


def _columns(code: Code, posterior: Posterior) -> Columns:
    if isinstance(posterior, Gaussian):
        mean, log_variance = (value.cpu().numpy() for value in posterior)
        return {f"{code.name}/mean": mean, f"{code.name}/log_variance": log_variance}
    found = posterior.cpu().numpy()
    if code.kind == "bernoulli":
        return {f"{code.name}/p": found}
    probabilities = {f"{code.name}/p{k}": found[:, k] for k in range(code.classes)}
    return {code.name: found.argmax(1)} | probabilities


def check_ending(path: Path) -> None:
    """Refuse a file that no table can be written to.

    Raises:
        InputError: If its ending is not known, or the library for it is not installed.
    """
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"{path}: tables are written as {' or '.join(ENDINGS)}")
    if path.suffix.lower() == ".parquet":
        require("pyarrow", "hub", f"{path}: Parquet, unlike .csv,")


def write_table(batches: Iterator[Columns], path: Path) -> int:
    """Write a table as its rows come, whole or not at all; the name's ending decides the format.

    Returns:
        The number of rows.

    Raises:
        InputError: For an ending that is none of `ENDINGS`.
    """
    check_ending(path)
    with whole(path) as beside:
        return (_write_parquet if path.suffix.lower() == ".parquet" else _write_csv)(batches, beside)


def _write_csv(batches: Iterator[Columns], path: Path) -> int:
    rows = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for columns in batches:
            if not rows:
                writer.writerow(columns)
            writer.writerows(zip(*map(_cells, columns.values()), strict=True))
            rows += len(columns["image"])
    return rows


def _cells(column: NDArray[Any]) -> list[Any]:
    """Values as they are written: floats by 7 digits, which is what float32 holds."""
    values: list[Any] = column.tolist()
    return [f"{value:.7g}" for value in values] if column.dtype.kind == "f" else values


def _write_parquet(batches: Iterator[Columns], path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = next(batches)
    schema = pa.table(first).schema
    rows = 0
    with pq.ParquetWriter(path, schema) as writer:
        for columns in chain([first], batches):
            writer.write_table(pa.table(columns, schema=schema))
            rows += len(columns["image"])
    return rows
