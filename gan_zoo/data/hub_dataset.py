"""Sets of the Hugging Face hub, or local ones in the same layouts, through `datasets` (the extra `hub`)."""

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
from gan_zoo.data.encoded import Part, from_encoded
from gan_zoo.data.folder_layout import TRAIN, measured, plain, summary
from gan_zoo.data.pixels import open_file
from gan_zoo.data.table_files import SHAPE_OF_NAME, check_saved, inside, is_saved, read_tables
from gan_zoo.errors import InputError, first_line, quoted
from gan_zoo.extras import missing
from gan_zoo.files import path_from_text

FORMATS = ("parquet", "arrow", "imagefolder", "cache")
"""What the files of a set of the hub may be: others, as webdataset's, can hold pickles."""

_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+)?")


@dataclass(frozen=True, eq=False)
class Rows:
    """Encoded images in a column of a `datasets.Dataset` whose cells are ``{"bytes": …, "path": …}``.

    Args:
        table: The table.
        column: The column.
        where: What messages call the table.
        roots: Folders that a cell's path may lead into; from the first, if it is relative.
        follow_links: Whether links may lead out of them.
        numbers: The rows' numbers in the set, where it has others, too.
    """

    table: Any
    column: str
    where: str
    roots: tuple[Path, ...]
    follow_links: bool = False
    numbers: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(self.table)

    def name(self, index: int) -> str:
        """The number of its row."""
        return f"row {self._number(index)} of {self.where}"

    def read(self, index: int) -> BinaryIO:
        """Its bytes, or its file where the cell holds only a path."""
        cell = self.table[index][self.column]
        if cell is None or (cell["bytes"] is None and cell["path"] is None):
            raise ValueError("there is no image")
        return open_file(self._file(cell["path"])) if cell["bytes"] is None else BytesIO(cell["bytes"])

    def _number(self, index: int) -> int:
        return index if self.numbers is None else self.numbers[index]

    def choose(self, indices: Sequence[int]) -> Rows:
        """The rows at `indices`."""
        return replace(self, table=self.table.select(indices), numbers=[self._number(index) for index in indices])

    def _file(self, path: str) -> Path:
        """The file that a cell names, which has to be the set's own."""
        for root in self.roots:
            file = inside(root, path, self.follow_links)
            if file is not None:
                return file
        raise ValueError(
            f"{quoted(path)} lies outside the set's own folder; `save_to_disk` writes the images themselves"
        )


def hub(settings: Data) -> Dataset:
    """The set `settings.path`: ``org/name`` or ``org/name:config`` on the hub, or a local one like it.

    Local are folders that `datasets` saved (`save_to_disk`), parquet and Arrow files and folders of them: nothing else
    in such a folder is read, neither scripts nor what a README says. The split `train` is learned from and `test` (or
    `validation`) measured on. The columns are found by their features: an `Image`; a `ClassLabel`, or a column of
    integers, text or truth values called `label` or the like. Images that lie in files of their own have to be below
    the set's folder.

    Raises:
        InputError: If `datasets` is not installed, the set cannot be had, or it has no column of images.
    """
    if not settings.path:
        raise InputError(f"data {settings.name!r} needs data.path: {SHAPE_OF_NAME}")
    return _open(settings, settings.path)


def svhn(settings: Data) -> Dataset:
    """Street View House Numbers, cropped (Netzer et al., 2011), from the hub or from `settings.path`."""
    return _open(settings, settings.path or "ufldl-stanford/svhn:cropped_digits")


def cifar10(settings: Data) -> Dataset:
    """CIFAR-10 (Krizhevsky, 2009) from the hub or from `settings.path`."""
    return _open(settings, settings.path or "uoft-cs/cifar10")


def _open(settings: Data, name: str) -> Dataset:
    try:
        import datasets
    except ImportError as error:
        raise missing("hub", f"data {settings.name!r}", _line(error)) from error
    splits, where = _load(name, follow_links=settings.follow_links), f"data.path {name!r}"
    train, roots = _learned_from(splits, where), _roots(name)
    test, columns = measured(splits.keys() - {train}), find_columns(splits[train], where)
    used = [split for split in (train, test) if split]
    labels, names, lines = (
        read_labels({split: splits[split] for split in used}, columns, where) if settings.classes != 0 else ({}, [], [])
    )

    def part(split: str) -> Part:
        if columns.image not in splits[split].features:
            raise InputError(f"{where}: one split has the column {columns.image!r}, another has not")
        cells = splits[split].select_columns([columns.image]).with_format(None)
        cells = cells.cast_column(columns.image, datasets.Image(decode=False))
        return Part(Rows(cells, columns.image, name, roots, settings.follow_links), labels.get(split))

    sizes = {split: len(splits[split]) for split in sorted(splits, key=lambda split: split != train)}
    if len(splits) > 1 or train != TRAIN:
        lines.insert(0, summary(sizes))
    return from_encoded(settings, *map(part, used), names=names, notes=lines, where=where)


def _learned_from(splits: dict[str, Any], where: str) -> str:
    """The split to learn from: train, or the only one."""
    if TRAIN not in splits and len(splits) > 1:
        raise InputError(f"{where} has the splits {listed([*splits])}, and none called train to learn from")
    split = TRAIN if TRAIN in splits else next(iter(splits))
    if not len(splits[split]):
        raise InputError(f"{where}: the split {quoted(split)}, which is to be learned from, is empty")
    return split


def _line(error: BaseException) -> str:
    """What went wrong in one line; of an error that only wraps another, the inner one's."""
    while type(error).__name__ == "DatasetGenerationError" and error.__cause__:
        error = error.__cause__
    return first_line(error)


def _load(name: str, *, follow_links: bool) -> dict[str, Any]:
    """The splits by name."""
    import datasets

    path = as_path(name, f"data.path {quoted(name)}")
    if not path.exists() and (path.is_symlink() or not _NAME.fullmatch(name)):
        raise InputError(f"data.path {name!r} does not exist and is no name on the hub; expected: {SHAPE_OF_NAME}")
    try:
        if is_saved(path):
            check_saved(path, name, follow_links=follow_links)
            found = datasets.load_from_disk(str(path))
        elif path.exists():
            found = read_tables(path, name, follow_links=follow_links)
        else:
            repository, _, config = name.partition(":")
            builder = datasets.load_dataset_builder(repository, config or None)
            _check_builder(builder, repository, name)
            found = datasets.load_dataset(repository, config or None)
    except InputError:
        raise
    except Exception as error:  # of many kinds, from the library and the network below it
        where = "read" if path.exists() else "had from the Hugging Face hub"
        raise InputError(f"data.path {name!r} cannot be {where}: {_line(error)}") from error
    splits = dict(found) if isinstance(found, datasets.DatasetDict) else {TRAIN: found}
    splits = {plain(split) if plain(split) not in splits else split: table for split, table in splits.items()}
    if not splits:
        raise InputError(f"data.path {name!r} holds no split; expected: one called 'train'")
    return splits


def _roots(name: str) -> tuple[Path, ...]:
    """The folders in which the images of a set may lie."""
    import datasets
    from huggingface_hub import constants

    path = path_from_text(name)
    if path.exists():
        return (path if path.is_dir() else path.parent,)
    kept = "datasets--" + name.partition(":")[0].replace("/", "--")
    caches = datasets.config.HF_DATASETS_CACHE, datasets.config.DOWNLOADED_DATASETS_PATH
    return (*map(Path, caches), Path(constants.HF_HUB_CACHE) / kept)


def _check_builder(builder: Any, repository: str, name: str) -> None:
    """Refuse a set of the hub whose files would be read as something that can hold a program, or that lie elsewhere."""
    modules = (base.__module__ for base in type(builder).__mro__)
    kind = next(
        (name.rpartition(".")[2] for name in modules if name.startswith("datasets.packaged_modules.")), "foreign"
    )
    if kind not in FORMATS:
        raise InputError(f"data.path {name!r} consists of {kind} files; accepted: {', '.join(FORMATS)}")
    files = [str(file) for split in (builder.config.data_files or {}).values() for file in split]
    if foreign := [file for file in files if not file.startswith(f"hf://datasets/{repository}@")]:
        raise InputError(f"data.path {name!r} names a file outside the set: {quoted(foreign[0])}")
