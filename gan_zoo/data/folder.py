"""A folder of images of any size, format and mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch

from gan_zoo.config import Data
from gan_zoo.data.bounds import listed
from gan_zoo.data.dataset import Dataset, required_path
from gan_zoo.data.encoded import EncodedSplit, from_encoded
from gan_zoo.data.folder_layout import TRAIN, evaluation_split, folder_layout, summary
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
        """The file's path below the root."""
        return quoted(self.names[index])

    def read(self, index: int) -> BinaryIO:
        """Open the file."""
        return open_file(self.root / self.names[index])

    def choose(self, indices: Sequence[int]) -> Files:
        """The files at `indices`."""
        return Files(self.root, [self.names[index] for index in indices])


def folder(settings: Data) -> Dataset:
    """The images below the folder `settings.path`, in the order of their paths.

    Folder names decide splits and classes; see `gan_zoo.data.folder_layout`. Outputs of gan-zoo, hidden files and links
    that lead out of the folder are skipped; see `gan_zoo.data.walk`. Images are fitted as `settings.fit` says. A
    folder of tables without images is opened by `hub`.

    Raises:
        InputError: If it is not a folder or contains no image, its layout is ambiguous, or images cannot be read.
    """
    root = required_path(settings, "a folder of images").resolve()
    where = f"folder {settings.path!r}"
    if not root.is_dir():
        raise InputError(f"data.path {settings.path!r} is not a folder; expected: a folder of images")
    images = list_images(root, follow_links=settings.follow_links)
    tables = tables_below(root, follow_links=settings.follow_links)
    if not images.names:
        if tables:
            return hub(settings)
        raise InputError(
            f"{where} contains no images ({'; '.join(images.notes()) or _contents(root)}); accepted: files ending in "
            f"{', '.join(sorted(SUFFIXES))}"
        )
    layout = folder_layout(images.names, by_names=settings.splits, metadata=images.metadata, where=where)
    splits = [
        EncodedSplit(Files(root, layout.splits[split]), torch.tensor(layout.labels(split)) if layout.classes else None)
        for split in filter(None, (TRAIN, evaluation_split(layout.splits)))
    ]
    counts = {split: len(names) for split, names in layout.splits.items()}
    notes = [summary(counts, len(layout.outside), layout.classes, layout.obstacle), *images.notes()]
    if tables:
        notes.append(
            f"{len(tables):,} table files are not read ({listed(tables, NAMED)}); "
            'data.name = "hub" reads them instead of the images'
        )
    return from_encoded(settings, *splits, names=layout.classes, notes=notes, where=where)


def _contents(root: Path) -> str:
    others = sorted(path.name for path in root.iterdir())
    return f"there are {len(others)} other entries, such as {others[0]!r}" if others else "it is empty"
