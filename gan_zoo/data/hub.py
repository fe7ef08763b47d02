"""Sets of the Hugging Face hub, or local ones in the same layouts, through `datasets` (the extra `hub`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from gan_zoo.config import Data
from gan_zoo.data.dataset import Dataset
from gan_zoo.data.encoded import Part, from_encoded
from gan_zoo.data.pixels import open_image
from gan_zoo.errors import InputError

TEST_SPLITS = ("test", "validation", "valid", "val")
IMAGE_COLUMNS = ("image", "img", "images", "pixel_values")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target", "y")
SHAPE_OF_NAME = (
    "'org/name', 'org/name:config', a folder that `save_to_disk` wrote, or a parquet file or a folder of them"
)

_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+)?")


@dataclass(frozen=True, eq=False)
class Rows:
    """Encoded images in a column of a `datasets.Dataset` whose cells are ``{"bytes": …, "path": …}``."""

    table: Any
    column: str
    where: str

    def __len__(self) -> int:
        return len(self.table)

    def name(self, index: int) -> str:
        """The number of its row."""
        return f"row {index} of {self.where}"

    def open(self, index: int) -> Image.Image:
        """Open its bytes, or its file where the cell holds only a path, without decoding."""
        cell = self.table[index][self.column]
        if cell is None:
            raise ValueError("there is no image")
        return open_image(Path(cell["path"]) if cell["bytes"] is None else BytesIO(cell["bytes"]))


def hub(settings: Data) -> Dataset:
    """The set `settings.path`: ``org/name`` or ``org/name:config`` on the hub, or a local one like it.

    Local are folders that `datasets` saved (`save_to_disk`), parquet files and folders of them. The split
    `train` is learned from and `test` (or `validation`) measured on. The columns are found by their features:
    an `Image`; a `ClassLabel`, or an integer column called `label` or the like.

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
        raise InputError(
            f"data {settings.name!r} needs the library `datasets`: pip install gan-zoo[hub] ({_line(error)})"
        ) from error
    splits = _load(name)
    train = splits.get("train") or next(iter(splits.values()))
    test = next((splits[part] for part in TEST_SPLITS if part in splits and splits[part] is not train), None)
    where = f"data.path {name!r}"
    image, label, classes = _columns(train, where)

    def part(table: Any) -> Part:
        if image not in table.features:
            raise InputError(f"{where}: one split has the column {image!r}, another has not")
        found = label if label in table.features else None
        cells = table.select_columns([image]).with_format(None).cast_column(image, datasets.Image(decode=False))
        return Part(Rows(cells, image, name), None if found is None else _integers(table, found, where))

    return from_encoded(settings, part(train), None if test is None else part(test), classes=classes, where=where)


def _line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]


def _load(name: str) -> dict[str, Any]:
    """The splits by name."""
    import datasets

    path = Path(name).expanduser()
    if not path.exists() and not _NAME.fullmatch(name):
        raise InputError(f"data.path {name!r} does not exist and is no name on the hub; expected: {SHAPE_OF_NAME}")
    try:
        if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
            found = datasets.load_from_disk(str(path))
        elif path.is_file():
            found = datasets.load_dataset("parquet", data_files={"train": str(path)})
        elif path.is_dir():
            if next(path.rglob("*.parquet"), None) is None:
                raise InputError(f"data.path {name!r} holds no set; expected: {SHAPE_OF_NAME}")
            found = datasets.load_dataset(str(path))
        else:
            repository, _, config = name.partition(":")
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


def _columns(table: Any, where: str) -> tuple[str, str | None, int | None]:
    """The column of images, the one of labels if there is any, and the number of classes if it is stated."""
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
        return image, label, features[label].num_classes
    integers = [
        n for n in LABEL_COLUMNS if n in features and re.fullmatch(r"u?int\d+", getattr(features[n], "dtype", ""))
    ]
    return image, integers[0] if integers else None, None


def _preferred(found: list[str], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in found), found[0] if found else None)


def _integers(table: Any, column: str, where: str) -> Tensor:
    values = table.select_columns([column]).with_format(None)[:][column]
    if any(value is None for value in values):
        raise InputError(
            f"{where}: the column {column!r} has rows without a label; set data.classes to 0 to learn without labels"
        )
    return torch.tensor(values, dtype=torch.int64)
