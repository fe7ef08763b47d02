"""By what a set is known again, wherever it lies: how many images, the classes, and digests of its files and labels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from torch import Tensor

from gan_zoo.config import Data
from gan_zoo.data.bounds import listed
from gan_zoo.data.dataset import Dataset, as_path
from gan_zoo.data.encoded import Encoded
from gan_zoo.data.folder import Files
from gan_zoo.errors import InputError, quoted
from gan_zoo.files import path_to_text
from gan_zoo.registry import datasets

LOOKED_INTO = 256
"""Of many files or rows, the contents of so many are read, spread evenly."""
READ = 2**27
"""Bytes that are read of a set, at most: 60,000 grey digits whole."""
_PIECES = 64
LONGEST_NAMES = 2**16
"""Letters of class names beyond which they are told by their labels alone."""

CHANGED = {
    "files": "the list of files differs, in names or sizes",
    "contents": "the contents of files differ",
    "pixels": "the images differ",
    "labels": "the labels differ",
}


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of a set.

    Attributes:
        images: How many, by split.
        classes: How many.
        class_names: In order; empty if the set does not say them, or they are too long to keep.
        digests: SHA-256, by what they are of: `files` (names and sizes) and their `contents`; `pixels`, of images that
            a plug-in holds in memory; `labels`.
    """

    images: Mapping[str, int]
    classes: int
    class_names: tuple[str, ...]
    digests: Mapping[str, str]

    @property
    def record(self) -> dict[str, Any]:
        """The same, for JSON."""
        return asdict(self) | {"class_names": list(self.class_names)}

    def change(self, now: Fingerprint) -> str:
        """What is not as it was, in a few words; nothing if `now` is of the same set."""
        for split in [*self.images, *(now.images.keys() - self.images.keys())]:
            before, after = self.images.get(split, 0), now.images.get(split, 0)
            if before != after:
                return f"{before:,} images then, {after:,} now" + (
                    "" if split == "train" else f" (split {quoted(split)})"
                )
        gone = [name for name in self.class_names if name not in now.class_names]
        new = [name for name in now.class_names if name not in self.class_names]
        if self.class_names and now.class_names and (gone or new):
            if len(gone) == len(new) == 1:
                return f"class {quoted(gone[0])} is called {quoted(new[0])} now"
            return f"the classes were {listed([*self.class_names])}, and are {listed([*now.class_names])}"
        if self.classes != now.classes:
            return f"{self.classes} classes then, {now.classes} now"
        common = self.digests.keys() & now.digests.keys()
        return next((told for of, told in CHANGED.items() if of in common and self.digests[of] != now.digests[of]), "")


def from_record(record: object) -> Fingerprint | None:
    """The fingerprint that `record` was written of, if it is one's."""
    if not isinstance(record, dict) or record.keys() != Fingerprint.__dataclass_fields__.keys():
        return None
    images, classes, names, digests = record["images"], record["classes"], record["class_names"], record["digests"]
    sound = (
        isinstance(images, dict)
        and all(type(count) is int for count in (*images.values(), classes))
        and isinstance(names, list)
        and isinstance(digests, dict)
        and all(isinstance(text, str) for text in (*names, *digests.values()))
    )
    return Fingerprint(images, classes, tuple(names), digests) if sound else None


def fingerprint(dataset: Dataset) -> Fingerprint:
    """What a set is known by; of many or large files a sample is read, and of all of them names and sizes.

    Raises:
        InputError: If a file is gone.
    """
    splits = {"train": dataset.train} | ({"test": dataset.test} if dataset.test is not None else {})
    names = dataset.class_names if sum(map(len, dataset.class_names)) <= LONGEST_NAMES else ()
    found = {"labels": [split.labels.numpy().tobytes() for split in splits.values() if split.labels is not None]}
    found["files"] = [line for part in dataset.origin if isinstance(part, Files) for line in _listing(part)]
    found["contents"] = [piece for part in dataset.origin for piece in _contents(part)]
    entry = datasets.entries.get(dataset.name)
    if entry and entry.origin != "gan-zoo" and not dataset.origin:  # pixels that were resized differ by the processor
        held = [split.images for split in splits.values() if isinstance(split.images, Tensor)]
        found["pixels"] = (
            [images.numpy().tobytes() for images in held] if sum(images.nbytes for images in held) <= READ else []
        )
    digests = {of: _digest(pieces) for of, pieces in found.items() if pieces}
    return Fingerprint({name: len(split) for name, split in splits.items()}, dataset.classes, names, digests)


def with_absolute_path(settings: Data) -> Data:
    """`settings` with the set's place, if it is one on this machine, as it is called from every folder."""
    key, text = location(settings)
    if not text or not (path := as_path(text, f"data.{key} {quoted(text)}")).exists():
        return settings
    return settings.model_copy(update={key: path_to_text(os.path.abspath(path))})


def location(settings: Data) -> tuple[str, str | None]:
    """The key that says where the set lies, and what it says: `path` of a registered set, else `name`."""
    return ("path", settings.path) if settings.name in datasets.entries else ("name", settings.name)


def _digest(pieces: list[bytes]) -> str:
    total = hashlib.sha256()
    for piece in pieces:
        total.update(hashlib.sha256(piece).digest())
    return total.hexdigest()


def _listing(files: Files) -> Iterator[bytes]:
    """Name, below the root, and size of each file; a file that is alone may have any name."""
    for name in files.names:
        path = os.path.join(files.root, name)
        try:
            size = os.stat(path).st_size
        except OSError as error:
            raise InputError(f"{quoted(path)}: {error.strerror}") from None
        yield b"%b %d" % (os.fsencode(name) if len(files) > 1 else b"", size)


def _contents(part: Encoded) -> Iterator[bytes]:
    """What is read of the images, or files."""
    chosen = (
        range(len(part)) if len(part) <= LOOKED_INTO else [k * len(part) // LOOKED_INTO for k in range(LOOKED_INTO)]
    )
    for index in chosen:
        try:
            with part.read(index) as file:
                yield hashlib.sha256(b"".join(_read(file, READ // len(chosen)))).digest()
        except (OSError, ValueError):  # of an image that a reader names, or leaves out
            yield b""


def _read(file: BinaryIO, most: int) -> Iterator[bytes]:
    """A file's bytes, or of a longer one than `most` as many, in pieces spread evenly."""
    size = file.seek(0, os.SEEK_END)
    pieces = 1 if size <= most else _PIECES
    for k in range(pieces):
        file.seek(k * size // pieces)
        yield file.read(min(size, most) // pieces)
