"""Datasets of the Hugging Face Hub, or local ones in the same formats, through `datasets` (the extra `hub`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from gan_zoo.config import Data
from gan_zoo.data.bounds import listed
from gan_zoo.data.columns import find_columns, read_labels
from gan_zoo.data.dataset import Dataset, as_path
from gan_zoo.data.encoded import EncodedSplit, from_encoded
from gan_zoo.data.folder_layout import TRAIN, WORDS, evaluation_split, plain_split, summary
from gan_zoo.data.pixels import open_file
from gan_zoo.data.table_files import EXPECTED, check_saved, inside, is_saved, read_tables
from gan_zoo.errors import InputError, first_line, quoted
from gan_zoo.extras import missing
from gan_zoo.files import path_from_text

FORMATS = ("parquet", "arrow", "imagefolder", "cache")
"""Formats of a Hub dataset's files that are read; others, such as webdataset, can contain pickles."""

_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+)?")


@dataclass(frozen=True, eq=False)
class TableImages:
    """Encoded images in a column of a `datasets.Dataset` whose cells are ``{"bytes": …, "path": …}``.

    Args:
        table: The table.
        column: The column.
        where: The table's name in messages.
        numbers: The rows' numbers in the whole table.
        roots: Folders that a cell's path may lead into; relative paths start at the first.
        follow_links: Whether links may lead out of them.
    """

    table: Any
    column: str
    where: str
    numbers: Sequence[int]
    roots: tuple[Path, ...]
    follow_links: bool

    def __len__(self) -> int:
        return len(self.table)

    def name(self, index: int) -> str:
        """The number of the row."""
        return f"row {self.numbers[index]} of {self.where}"

    def read(self, index: int) -> BinaryIO:
        """Open the bytes of the cell, or its file if it contains only a path."""
        cell = self.table[index][self.column]
        if cell is None or (cell["bytes"] is None and cell["path"] is None):
            raise ValueError("the cell is empty")
        return open_file(self._file(cell["path"])) if cell["bytes"] is None else BytesIO(cell["bytes"])

    def choose(self, indices: Sequence[int]) -> TableImages:
        """The rows at `indices`."""
        return replace(self, table=self.table.select(indices), numbers=[self.numbers[index] for index in indices])

    def _file(self, path: str) -> Path:
        """The file that a cell names, which must be below the roots."""
        for root in self.roots:
            if file := inside(root, path, self.follow_links):
                return file
        raise ValueError(f"{quoted(path)} is outside the dataset's folder; `save_to_disk` stores the images themselves")


def hub(settings: Data) -> Dataset:
    """The dataset `settings.path`: ``org/name`` or ``org/name:config`` on the Hub, or a local one in the same formats.

    Local ones are folders that `save_to_disk` wrote, and parquet or Arrow files or folders of them; scripts and READMEs
    in these folders are ignored. The split `train` is the training split, `test` (or else `validation`) the test split.
    Columns are chosen by their features: an `Image`; a `ClassLabel`, or a column of integers, text or truth values
    with a name such as `label`. Images in files of their own must lie below the dataset's folder.

    Raises:
        InputError: If `datasets` is not installed, the dataset cannot be read, or no column contains images.
    """
    if not settings.path:
        raise InputError(f"data {settings.name!r} requires data.path: {EXPECTED}")
    return _open(settings, settings.path)


def svhn(settings: Data) -> Dataset:
    """Street View House Numbers, cropped (Netzer et al., 2011), from the Hub or from `settings.path`."""
    return _open(settings, settings.path or "ufldl-stanford/svhn:cropped_digits")


def cifar10(settings: Data) -> Dataset:
    """CIFAR-10 (Krizhevsky, 2009) from the Hub or from `settings.path`."""
    return _open(settings, settings.path or "uoft-cs/cifar10")


def _open(settings: Data, name: str) -> Dataset:
    try:
        import datasets
    except ImportError as error:
        raise missing("hub", f"data {settings.name!r}", first_line(error)) from error
    splits, where = _load(name, follow_links=settings.follow_links), f"data.path {name!r}"
    train, roots = _training_split(splits, where), _roots(name)
    test, columns = evaluation_split(splits.keys() - {train}), find_columns(splits[train], where)
    used = {split: splits[split] for split in (train, test) if split}
    labels, names, notes = read_labels(used, columns, where) if settings.classes != 0 else ({}, [], [])

    def encoded(split: str) -> EncodedSplit:
        if columns.image not in splits[split].features:
            raise InputError(f"{where}: the split {quoted(split)} has no column {columns.image!r}")
        cells = splits[split].select_columns([columns.image]).with_format(None)
        cells = cells.cast_column(columns.image, datasets.Image(decode=False))
        images = TableImages(cells, columns.image, name, range(len(cells)), roots, settings.follow_links)
        return EncodedSplit(images, labels.get(split))

    if len(splits) > 1 or train != TRAIN:
        counts = {split: len(splits[split]) for split in sorted(splits, key=lambda split: split != train)}
        notes.insert(0, summary(counts))
    return from_encoded(settings, *map(encoded, used), names=names, notes=notes, where=where)


def _training_split(splits: dict[str, Any], where: str) -> str:
    """The name of the training split: train, or the only split unless it is called validation or test."""
    if TRAIN not in splits and len(splits) > 1:
        raise InputError(f"{where} has the splits {listed([*splits])}; expected: one called 'train'")
    split = TRAIN if TRAIN in splits else next(iter(splits))
    if split in WORDS and split != TRAIN:
        raise InputError(
            f"{where} holds no images to learn from: its only split is {split}; rename it to train to learn from it"
        )
    if not len(splits[split]):
        raise InputError(f"{where}: the training split {quoted(split)} is empty")
    return split


def _load(name: str, *, follow_links: bool) -> dict[str, Any]:
    """The splits by name."""
    import datasets

    path = as_path(name, f"data.path {quoted(name)}")
    if not path.exists() and (path.is_symlink() or not _NAME.fullmatch(name)):
        raise InputError(f"data.path {name!r} does not exist and cannot be a name on the Hub; expected: {EXPECTED}")
    try:
        if is_saved(path):
            check_saved(path, name, follow_links=follow_links)
            loaded = datasets.load_from_disk(str(path))
        elif path.exists():
            loaded = read_tables(path, name, follow_links=follow_links)
        else:
            repository, _, config = name.partition(":")
            builder = datasets.load_dataset_builder(repository, config or None)
            _check_builder(builder, repository, name)
            loaded = datasets.load_dataset(repository, config or None)
    except InputError:
        raise
    except Exception as error:  # of many types, from the library and the network below it
        done = "read" if path.exists() else "loaded from the Hugging Face Hub"
        wrapper = type(error).__name__ == "DatasetGenerationError"
        cause = first_line(error.__cause__ if wrapper and error.__cause__ else error)
        raise InputError(f"data.path {name!r} cannot be {done}: {cause}") from error
    splits = dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {TRAIN: loaded}
    splits = {split if plain_split(split) in splits else plain_split(split): table for split, table in splits.items()}
    if not splits:
        raise InputError(f"data.path {name!r} has no splits; expected: one called 'train'")
    return splits


def _roots(name: str) -> tuple[Path, ...]:
    """The folders in which the dataset's images may lie."""
    import datasets
    from huggingface_hub import constants

    path = path_from_text(name)
    if path.exists():
        return (path if path.is_dir() else path.parent,)
    snapshot = "datasets--" + name.partition(":")[0].replace("/", "--")
    caches = datasets.config.HF_DATASETS_CACHE, datasets.config.DOWNLOADED_DATASETS_PATH
    return (*map(Path, caches), Path(constants.HF_HUB_CACHE) / snapshot)


def _check_builder(builder: Any, repository: str, name: str) -> None:
    """Refuse a Hub dataset whose files could contain code, or lie outside its repository."""
    modules = (base.__module__ for base in type(builder).__mro__)
    kinds = (name.rpartition(".")[2] for name in modules if name.startswith("datasets.packaged_modules."))
    kind = next(kinds, "foreign")
    if kind not in FORMATS:
        raise InputError(f"data.path {name!r} consists of {kind} files; accepted: {', '.join(FORMATS)}")
    files = [str(file) for split in (builder.config.data_files or {}).values() for file in split]
    if foreign := [file for file in files if not file.startswith(f"hf://datasets/{repository}@")]:
        raise InputError(f"data.path {name!r} refers to a file outside its repository: {quoted(foreign[0])}")
