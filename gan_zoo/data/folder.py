"""A folder of images: any size, format and mode."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch

from gan_zoo.config import Data
from gan_zoo.data.bounds import listed
from gan_zoo.data.dataset import Dataset, needed_path
from gan_zoo.data.encoded import Part, from_encoded
from gan_zoo.data.pixels import SUFFIXES, open_file
from gan_zoo.errors import InputError, shown


@dataclass(frozen=True, eq=False)
class Files:
    """Encoded images in files below `root`, in the order of `names` (paths relative to it)."""

    root: Path
    names: list[str]

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """Its path below the root."""
        return shown(self.names[index])

    def read(self, index: int) -> BinaryIO:
        """Its file, opened."""
        return open_file(self.root / self.names[index])


def folder(settings: Data) -> Dataset:
    """The images below the folder `settings.path`, in the order of their paths.

    Images that lie in subfolders only are labelled by the first level of subfolders, in alphabetical order; a
    single subfolder is gone into; subfolders `train` and `test`, alone, are the two splits. Hidden files and
    symbolic links that lead out of the folder are passed over. Non-square images lose what is outside their
    centre square.

    Raises:
        InputError: If it is no folder, holds no image, or holds some that cannot be read.
    """
    root = needed_path(settings, "a folder of images").resolve()
    where = f"folder {settings.path!r}"
    if not root.is_dir():
        raise InputError(f"data.path {settings.path!r} is no folder; expected: a folder of images")
    names = list(_walk(root))
    if not names:
        raise InputError(
            f"{where} holds no images ({_contents(root)}); accepted: files ending in {', '.join(sorted(SUFFIXES))}"
        )
    train_names, test_names = _splits(names)
    classes = _classes(train_names)
    test = Part(Files(root, test_names), _labels(test_names, classes)) if test_names else None
    train = Part(Files(root, train_names), _labels(train_names, classes))
    return from_encoded(settings, train, test, names=[name for _, name in classes], where=where)


def _walk(root: Path) -> Iterator[str]:
    """Images below `root`, relative to it, in the same order on every machine."""
    for where, folders, files in os.walk(root, onerror=_unlisted):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        below = Path(where).relative_to(root).as_posix()
        for name in sorted(files):  # as text: a path object for each of 50,000 files takes a second
            if name.startswith(".") or os.path.splitext(name)[1].lower() not in SUFFIXES:
                continue
            path = os.path.join(where, name)
            if os.path.islink(path) and _leads_out(Path(path), root):
                continue
            yield name if below == "." else f"{below}/{name}"


def _leads_out(link: Path, root: Path) -> bool:
    try:
        return not link.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # it leads round in a circle: to be told as an image that cannot be read
        return False


def _unlisted(error: OSError) -> None:
    raise InputError(f"folder {error.filename!r} cannot be listed: {error.strerror}") from error


def _contents(root: Path) -> str:
    others = sorted(path.name for path in root.iterdir())
    return f"there are {len(others)} other entries, such as {others[0]!r}" if others else "it is empty"


def _splits(names: list[str]) -> tuple[list[str], list[str]]:
    top = {name.split("/")[0] if "/" in name else "" for name in names}
    if top != {"train", "test"}:
        return names, []
    return [n for n in names if n.startswith("train/")], [n for n in names if n.startswith("test/")]


def _class(name: str, depth: int) -> str | None:
    """The subfolder at `depth` that the image lies in; none if it lies above."""
    parts = name.split("/")
    return parts[depth] if len(parts) > depth + 1 else None


def _classes(names: list[str]) -> dict[tuple[int, str], int]:
    """``{(depth, subfolder): label}`` at the first depth with several subfolders; empty if there is none."""
    for depth in range(max(name.count("/") for name in names)):
        found = {_class(name, depth) for name in names}
        if None in found:
            break
        if len(found) > 1:
            return {(depth, name): label for label, name in enumerate(sorted(filter(None, found)))}
    return {}


def _labels(names: list[str], classes: dict[tuple[int, str], int]) -> torch.Tensor | None:
    if not classes:
        return None
    depth = next(iter(classes))[0]
    found = []
    for name in names:
        label = classes.get((depth, _class(name, depth) or ""))
        if label is None:
            raise InputError(
                f"{shown(name)} lies in none of the classes that the training images have: "
                f"{listed([c for _, c in classes])}"
            )
        found.append(label)
    return torch.tensor(found, dtype=torch.int64)
