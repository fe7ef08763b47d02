"""Fingerprints that identify a dataset at any location: counts, class names, and digests of files and labels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from torch import Tensor

from gan_zoo.config import Data
from gan_zoo.data.bounds import listed
from gan_zoo.data.dataset import Dataset, EncodedImages, as_path
from gan_zoo.data.folder import Files
from gan_zoo.data.folder_layout import composed
from gan_zoo.errors import InputError, quoted
from gan_zoo.files import path_to_text
from gan_zoo.registry import datasets

LOOKED_INTO = 256
"""Number of files or rows whose contents are read, evenly spaced over all."""
READ = 2**27
"""Maximum number of bytes that are read; enough for 60,000 grey digits."""
_PIECES = 64
LONGEST_NAMES = 2**16
"""Maximum total length of class names in the fingerprint."""

CHANGED = {
    "files": "the list of files differs, in names or sizes",
    "contents": "the contents of files differ",
    "pixels": "the images differ",
    "labels": "the labels differ",
}


@dataclass(frozen=True)
class Fingerprint:
    """The fingerprint of a dataset.

    Attributes:
        images: Number of images by split.
        classes: Number of classes.
        class_names: In order; empty if unknown or longer than `LONGEST_NAMES`.
        digests: SHA-256 of `files` (names and sizes), their `contents`, `labels`, `pixels` that a plug-in keeps in
            memory, and of `fit` unless images are cropped.
    """

    images: Mapping[str, int]
    classes: int
    class_names: tuple[str, ...]
    digests: Mapping[str, str]

    @property
    def record(self) -> dict[str, Any]:
        """The fingerprint for JSON; `from_record` reads it."""
        return asdict(self) | {"class_names": list(self.class_names)}

    def change(self, now: Fingerprint) -> str:
        """The first difference from `now`, in a few words; empty if there is none."""
        for split in [*self.images, *(now.images.keys() - self.images.keys())]:
            before, after = self.images.get(split, 0), now.images.get(split, 0)
            if before != after:
                where = "" if split == "train" else f" (split {quoted(split)})"
                return f"{before:,} images then, {after:,} now{where}"
        gone = [name for name in self.class_names if name not in now.class_names]
        new = [name for name in now.class_names if name not in self.class_names]
        if self.class_names and now.class_names and (gone or new):
            if len(gone) == len(new) == 1:
                return f"class {quoted(gone[0])} is called {quoted(new[0])} now"
            return f"the classes were {listed([*self.class_names])}, and are {listed([*now.class_names])}"
        if self.classes != now.classes:
            return f"{self.classes} classes then, {now.classes} now"
        if self.digests.get("fit") != now.digests.get("fit"):  # missing if cropped, as of releases that only cropped
            return "data.fit differs"
        common = self.digests.keys() & now.digests.keys()
        changes = (text for key, text in CHANGED.items() if key in common and self.digests[key] != now.digests[key])
        return next(changes, "")


def from_record(record: object) -> Fingerprint | None:
    """The fingerprint with this `record`, or None if it is not the record of one."""
    if not isinstance(record, dict) or record.keys() != Fingerprint.__dataclass_fields__.keys():
        return None
    images, classes, names, digests = record["images"], record["classes"], record["class_names"], record["digests"]
    valid = (
        isinstance(images, dict)
        and isinstance(names, list)
        and isinstance(digests, dict)
        and all(type(count) is int for count in (*images.values(), classes))
        and all(isinstance(text, str) for text in (*names, *digests.values()))
    )
    return Fingerprint(images, classes, tuple(names), digests) if valid else None


def fingerprint(dataset: Dataset) -> Fingerprint:
    """The fingerprint of a dataset, from names and sizes of all files and the contents of a sample of them.

    Raises:
        InputError: If a file is gone.
    """
    splits, origin = dataset.splits, dataset.origin
    names = dataset.class_names if sum(map(len, dataset.class_names)) <= LONGEST_NAMES else ()
    pieces = {
        "labels": [split.labels.numpy().tobytes() for split in splits.values() if split.labels is not None],
        "files": [line for files in origin if isinstance(files, Files) for line in _listing(files)],
        "contents": [content for encoded in origin for content in _contents(encoded)],
    }
    if dataset.fit != "crop":
        pieces["fit"] = [dataset.fit.encode()]
    entry = datasets.entries.get(dataset.name)
    if entry and entry.origin != "gan-zoo" and not origin:  # resized pixels differ between processors
        images = [split.images for split in splits.values() if isinstance(split.images, Tensor)]
        if sum(pixels.nbytes for pixels in images) <= READ:
            pieces["pixels"] = [pixels.numpy().tobytes() for pixels in images]
    digests = {key: _digest(some) for key, some in pieces.items() if some}
    return Fingerprint({name: len(split) for name, split in splits.items()}, dataset.classes, names, digests)


def with_absolute_path(settings: Data) -> Data:
    """`settings` with an absolute path, if the dataset is a file or folder."""
    key, text = location(settings)
    if not text or not (path := as_path(text, f"data.{key} {quoted(text)}")).exists():
        return settings
    return settings.model_copy(update={key: path_to_text(os.path.abspath(path))})


def location(settings: Data) -> tuple[str, str | None]:
    """The key that locates the dataset, and its value: `path` of a registered one, else `name`."""
    return ("path", settings.path) if settings.name in datasets.entries else ("name", settings.name)


def _digest(pieces: list[bytes]) -> str:
    total = hashlib.sha256()
    for piece in pieces:
        total.update(hashlib.sha256(piece).digest())
    return total.hexdigest()


def _listing(files: Files) -> Iterator[bytes]:
    """Name below the root and size of each file; the name of a single file does not count."""
    for name in files.names:
        path = os.path.join(files.root, name)
        try:
            size = os.stat(path).st_size
        except OSError as error:
            raise InputError(f"{quoted(path)}: {error.strerror}") from None
        yield b"%b %d" % (os.fsencode(composed(name)) if len(files) > 1 else b"", size)


def _contents(encoded: EncodedImages) -> Iterator[bytes]:
    """Digests of the images or files that are looked into."""
    count = min(len(encoded), LOOKED_INTO)
    for k in range(count):
        try:
            with encoded.read(k * len(encoded) // count) as file:
                yield hashlib.sha256(b"".join(_read(file, READ // count))).digest()
        except (OSError, ValueError):  # an image that a reader reports or skips
            yield b""


def _read(file: BinaryIO, most: int) -> Iterator[bytes]:
    """All bytes of a file, or `most` of them in evenly spaced pieces."""
    size = file.seek(0, os.SEEK_END)
    pieces = 1 if size <= most else _PIECES
    for k in range(pieces):
        file.seek(k * size // pieces)
        yield file.read(min(size, most) // pieces)
