"""Sets of the Hugging Face hub, or local ones in the same layouts, through `datasets` (the extra `hub`)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from glob import escape
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from gan_zoo.config import Data
from gan_zoo.data.dataset import Dataset, as_path
from gan_zoo.data.encoded import Part, from_encoded
from gan_zoo.data.pixels import open_file
from gan_zoo.errors import InputError, reason, shown
from gan_zoo.extras import missing
from gan_zoo.files import text_of

TEST_SPLITS = ("test", "validation", "valid", "val")
IMAGE_COLUMNS = ("image", "img", "images", "pixel_values")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target", "y")
SHAPE_OF_NAME = (
    "'org/name', 'org/name:config', a folder that `save_to_disk` wrote, a .parquet or .arrow file, or a folder of them"
)

FORMATS = ("parquet", "arrow", "imagefolder", "cache")
"""What the files of a set of the hub may be: others, as webdataset's, can hold pickles."""

_LONGEST_JSON = 2**20
_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+)?")


@dataclass(frozen=True, eq=False)
class Rows:
    """Encoded images in a column of a `datasets.Dataset` whose cells are ``{"bytes": …, "path": …}``.

    Args:
        table: The table.
        column: The column.
        where: What messages call the table.
        roots: Folders that a cell's path may lead into; from the first, if it is relative.
    """

    table: Any
    column: str
    where: str
    roots: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.table)

    def name(self, index: int) -> str:
        """The number of its row."""
        return f"row {index} of {self.where}"

    def read(self, index: int) -> BinaryIO:
        """Its bytes, or its file where the cell holds only a path."""
        cell = self.table[index][self.column]
        if cell is None or (cell["bytes"] is None and cell["path"] is None):
            raise ValueError("there is no image")
        return open_file(self._file(cell["path"])) if cell["bytes"] is None else BytesIO(cell["bytes"])

    def _file(self, path: str) -> Path:
        """The file that a cell names, which has to be the set's own."""
        for root in self.roots:
            file = _inside(root, path)
            if file is not None:
                return file
        raise ValueError(
            f"{shown(path)} lies outside the set's own folder; `save_to_disk` writes the images themselves"
        )


def hub(settings: Data) -> Dataset:
    """The set `settings.path`: ``org/name`` or ``org/name:config`` on the hub, or a local one like it.

    Local are folders that `datasets` saved (`save_to_disk`), parquet and Arrow files and folders of them: nothing else
    in such a folder is read, neither scripts nor what a README says. The split `train` is learned from and `test` (or
    `validation`) measured on. The columns are found by their features: an `Image`; a `ClassLabel`, or an integer column
    called `label` or the like. Images that lie in files of their own have to be below the set's folder.

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
    splits = _load(name)
    roots = _roots(name)
    train = splits.get("train") or next(iter(splits.values()))
    test = next((splits[part] for part in TEST_SPLITS if part in splits and splits[part] is not train), None)
    where = f"data.path {name!r}"
    image, label, names = _columns(train, where)

    def part(table: Any) -> Part:
        if image not in table.features:
            raise InputError(f"{where}: one split has the column {image!r}, another has not")
        found = label if label in table.features else None
        cells = table.select_columns([image]).with_format(None).cast_column(image, datasets.Image(decode=False))
        return Part(Rows(cells, image, name, roots), None if found is None else _integers(table, found, where))

    return from_encoded(settings, part(train), None if test is None else part(test), names=names, where=where)


def _line(error: BaseException) -> str:
    """What went wrong in one line; of an error that only wraps another, the inner one's."""
    while type(error).__name__ == "DatasetGenerationError" and error.__cause__:
        error = error.__cause__
    return reason(error)


def _load(name: str) -> dict[str, Any]:
    """The splits by name."""
    import datasets

    path = as_path(name, f"data.path {shown(name)}")
    if not path.exists() and (path.is_symlink() or not _NAME.fullmatch(name)):
        raise InputError(f"data.path {name!r} does not exist and is no name on the hub; expected: {SHAPE_OF_NAME}")
    try:
        if path.is_dir() and any(_inside(path, file) for file in ("dataset_dict.json", "state.json")):
            _check_saved(path, name)
            found = datasets.load_from_disk(str(path))
        elif path.exists():
            found = _local(path, name)
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
    splits = dict(found) if isinstance(found, datasets.DatasetDict) else {"train": found}
    if not splits:
        raise InputError(f"data.path {name!r} holds no split; expected: one called 'train'")
    return splits


def _inside(root: Path, path: str | Path) -> Path | None:
    """The regular file that `path` names, if it is below `root`, whatever links lie on the way."""
    try:
        file = (root / path).resolve()
        return file if file.is_relative_to(root.resolve()) and file.is_file() else None
    except (OSError, ValueError, RuntimeError):  # no name of a file, or links in a circle
        return None


def _roots(name: str) -> tuple[Path, ...]:
    """The folders in which the images of a set may lie."""
    import datasets
    from huggingface_hub import constants

    path = Path(name).expanduser()
    if path.exists():
        return (path if path.is_dir() else path.parent,)
    kept = "datasets--" + name.partition(":")[0].replace("/", "--")
    caches = datasets.config.HF_DATASETS_CACHE, datasets.config.DOWNLOADED_DATASETS_PATH
    return (*map(Path, caches), Path(constants.HF_HUB_CACHE) / kept)


def _check_saved(folder: Path, name: str) -> None:
    """Refuse a saved folder that names files elsewhere."""
    folder = folder.resolve()
    parts = [folder]
    if _inside(folder, "dataset_dict.json") and not _inside(folder, "state.json"):
        parts = [folder / split for split in _json(folder / "dataset_dict.json")["splits"]]
    for part in parts:
        files = ["state.json", "dataset_info.json"]
        if _inside(folder, part / "state.json"):
            files += [data["filename"] for data in _json(part / "state.json")["_data_files"]]
        for file in files:
            if not _inside(folder, part / file):
                raise InputError(f"data.path {name!r}: {shown(file)} is no file below the set's own folder")


def _json(path: Path) -> Any:
    if path.stat().st_size > _LONGEST_JSON:
        raise ValueError(f"{path.name} is longer than {_LONGEST_JSON:,} bytes")
    return json.loads(text_of(path.read_bytes()))


def _local(path: Path, name: str) -> Any:
    """The splits of parquet files, or of Arrow files, which are mapped."""
    import datasets
    from pyarrow.parquet import read_metadata

    if path.suffix != ".arrow" and (path.is_file() or (found := _files(path, ".parquet"))):
        files = {"train": [path.resolve()]} if path.is_file() else found
        for file in chain.from_iterable(files.values()):
            _check_rows(file, read_metadata(file).num_rows)
        named = {split: [escape(str(file)) for file in found] for split, found in files.items()}
        return datasets.load_dataset("parquet", data_files=named)
    files = {"train": [path.resolve()]} if path.is_file() else _files(path, ".arrow")
    if not files:
        raise InputError(f"data.path {name!r} holds no set; expected: {SHAPE_OF_NAME}")
    splits = {split: [datasets.Dataset.from_file(str(file)) for file in found] for split, found in files.items()}
    for file, table in zip(chain.from_iterable(files.values()), chain.from_iterable(splits.values()), strict=True):
        _check_rows(file, len(table))
    return datasets.DatasetDict({split: datasets.concatenate_datasets(tables) for split, tables in splits.items()})


def _files(folder: Path, ending: str) -> dict[str, list[Path]]:
    """The files below a folder whose names end so, by the split that their names tell."""
    folder, found = folder.resolve(), dict[str, list[Path]]()
    for file in sorted(folder.rglob(f"*{ending}")):
        if _inside(folder, file) and not any(part.startswith(".") for part in file.relative_to(folder).parts):
            found.setdefault(_split_of(file.relative_to(folder)), []).append(file)
    return found


def _check_rows(file: Path, rows: int) -> None:
    """Refuse a file that a few bytes would blow up, or whose name the library would take for an address."""
    size = file.stat().st_size
    if rows > size:
        raise InputError(f"{file} says that it holds {rows:,} rows, in {size:,} bytes")
    if "::" in str(file):
        raise InputError(f"{file} has '::' in its name, by which an address is chained; rename it")


def _split_of(file: Path) -> str:
    """The split that a word of a path names, the last one counting; train where there is none."""
    words = re.split(r"[^a-z]+", file.as_posix().lower())
    return next((word for word in reversed(words) if word in ("train", *TEST_SPLITS)), "train")


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
        raise InputError(f"data.path {name!r} names a file outside the set: {shown(foreign[0])}")


def _columns(table: Any, where: str) -> tuple[str, str | None, list[str]]:
    """The column of images, the one of labels if there is any, and the classes' names if they are stated."""
    from datasets import ClassLabel, Image

    features = table.features
    image = _preferred([name for name, feature in features.items() if isinstance(feature, Image)], IMAGE_COLUMNS)
    if image is None:
        kinds = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in features.items())
        raise InputError(
            f"{where} has no column of images: it has {kinds}; expected: a column whose feature is an Image"
        )
    label = _preferred([name for name, feature in features.items() if isinstance(feature, ClassLabel)], LABEL_COLUMNS)
    if label is not None:
        return image, label, list(features[label].names)
    integers = [
        n for n in LABEL_COLUMNS if n in features and re.fullmatch(r"u?int\d+", getattr(features[n], "dtype", ""))
    ]
    return image, integers[0] if integers else None, []


def _preferred(found: list[str], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in found), found[0] if found else None)


def _integers(table: Any, column: str, where: str) -> Tensor:
    values = table.select_columns([column]).with_format(None)[:][column]
    if any(value is None for value in values):
        raise InputError(
            f"{where}: the column {column!r} has rows without a label; set data.classes to 0 to learn without labels"
        )
    return torch.tensor(values, dtype=torch.int64)
