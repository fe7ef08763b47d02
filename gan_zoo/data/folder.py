"""A folder of images: any size, format and mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch

from gan_zoo.config import Data
from gan_zoo.data.bounds import listed
from gan_zoo.data.dataset import Dataset, required_path
from gan_zoo.data.encoded import Part, from_encoded
from gan_zoo.data.folder_layout import TRAIN, layout, measured, summary
from gan_zoo.data.hub_dataset import hub
from gan_zoo.data.pixels import SUFFIXES, open_file
from gan_zoo.data.table_files import tables_below
from gan_zoo.data.walk import NAMED, list_images
from gan_zoo.errors import InputError, quoted


@dataclass(frozen=True, eq=False)
class Files:
    """Encoded images in files below `root`, in the order of `names` (paths relative to it)."""

    root: Path
    names: list[str]

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """Its path below the root."""
        return quoted(self.names[index])

    def read(self, index: int) -> BinaryIO:
        """Its file, opened."""
        return open_file(self.root / self.names[index])

    def choose(self, indices: Sequence[int]) -> Files:
        """The files at `indices`."""
        return Files(self.root, [self.names[index] for index in indices])


def folder(settings: Data) -> Dataset:
    """The images below the folder `settings.path`, in the order of their paths.

    Folder names decide splits and classes; see `gan_zoo.data.folder_layout`. Outputs of gan-zoo, hidden files and links
    that lead out of the folder are skipped; see `gan_zoo.data.walk`. Images are cropped to their centre square. A
    folder of tables without images is opened by `hub`.

    Raises:
        InputError: If it is no folder, holds no image, leaves doubt what is to be learned from, or holds images that
            cannot be read.
    """
    root = required_path(settings, "a folder of images").resolve()
    where = f"folder {settings.path!r}"
    if not root.is_dir():
        raise InputError(f"data.path {settings.path!r} is no folder; expected: a folder of images")
    found = list_images(root, follow_links=settings.follow_links)
    tables = tables_below(root, follow_links=settings.follow_links)
    if not found.names:
        if tables:
            return hub(settings)
        raise InputError(
            f"{where} holds no images ({'; '.join(found.notes()) or _contents(root)}); accepted: files ending in "
            f"{', '.join(sorted(SUFFIXES))}"
        )
    read = layout(found.names, by_names=settings.splits, metadata=found.metadata, where=where)
    images = {split: len(names) for split, names in read.splits.items()}
    parts = [
        Part(Files(root, read.splits[split]), torch.tensor(read.labels(split)) if read.classes else None)
        for split in filter(None, (TRAIN, measured(read.splits)))
    ]
    lines = [summary(images, len(read.outside), read.classes, read.why), *found.notes()]
    if tables:
        lines.append(
            f'{len(tables):,} tables are not read ({listed(tables, NAMED)}); data.name = "hub" reads them alone'
        )
    return from_encoded(settings, *parts, names=read.classes, notes=lines, where=where)


def _contents(root: Path) -> str:
    others = sorted(path.name for path in root.iterdir())
    return f"there are {len(others)} other entries, such as {others[0]!r}" if others else "it is empty"
