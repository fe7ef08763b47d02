"""Splits and classes by the names of folders and files: the layout `imagefolder` of the library `datasets`.

Tests compare the rules with those of the library. Names are paths below the dataset's folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from unicodedata import normalize

from gan_zoo.data.bounds import listed
from gan_zoo.errors import InputError, quoted

TRAIN, VALIDATION, TEST = "train", "validation", "test"
WORDS = {
    TRAIN: ("train", "training"),
    VALIDATION: ("validation", "valid", "val", "dev"),
    TEST: ("test", "testing", "eval", "evaluation"),
}
"""The words that name a split."""
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Files by which `imagefolder` replaces the classes of folder names."""

_SEPARATOR = "[-._ 0-9]"
_PATTERNS = {
    split: re.compile(rf"(.*{_SEPARATOR})?({'|'.join(words)})({_SEPARATOR}.*)?", re.IGNORECASE | re.DOTALL)
    for split, words in WORDS.items()
}
_RENAME = "rename it, or set data.splits = false to use all images as one split"


@dataclass(frozen=True)
class FolderLayout:
    """The splits of a folder, and the class of each image.

    Attributes:
        splits: The images of each split, in order.
        outside: Images in no split.
        classes: The classes' names, in the order of their labels; empty if there are none.
        obstacle: Why there are no classes, where the folders' names might suggest some.
    """

    splits: dict[str, list[str]]
    outside: list[str]
    classes: tuple[str, ...] = ()
    obstacle: str = ""

    def labels(self, split: str) -> list[int]:
        """The label of each image of a split."""
        number = {name: label for label, name in enumerate(self.classes)}
        return [number[_parent(name)] for name in self.splits[split]]


def splits_named(name: str) -> set[str]:
    """The splits that the name of a folder or file mentions, such as train-2017, My_Test or dev.png."""
    return {split for split, pattern in _PATTERNS.items() if pattern.fullmatch(name)}


def split_of(path: str) -> set[str]:
    """The splits that a path's folders mention or, if none does, its file."""
    *folders, file = path.split("/")
    return set().union(*map(splits_named, folders)) or splits_named(file)


def folder_layout(names: Sequence[str], *, by_names: bool = True, metadata: str = "", where: str) -> FolderLayout:
    """Find splits and classes in the images' paths.

    A folder at any depth names a split or, if none does, the files do. Classes are the innermost folders, if every
    image lies at the same depth; a folder that names a split is not a class.

    Args:
        names: Paths of the images below the dataset's folder.
        by_names: Whether names decide splits.
        metadata: The metadata file that replaces the folders' names, if there is one.
        where: The dataset, for messages.

    Raises:
        InputError: If the names are ambiguous.
    """
    splits, outside = _splits(names, where) if by_names else ({TRAIN: [*names]}, [])
    classes, obstacle = _classes(splits, by_names=by_names, where=where)
    if metadata:
        obstacle = f"{metadata} is not read" + ", and replaces the folders' names" * bool(classes)
        classes = ()
    trained = {_parent(name) for name in splits[TRAIN]}
    for name in (name for inside in splits.values() for name in inside):
        if classes and _parent(name) not in trained:
            raise InputError(
                f"{where}: {quoted(name)} is in none of the classes of the training images: {listed(sorted(trained))}"
            )
    return FolderLayout(splits, outside, classes, obstacle)


def plain_split(split: str) -> str:
    """The standard name of a split, such as validation for dev; other names are unchanged."""
    return next((name for name, words in WORDS.items() if split.lower() in words), split)


def evaluation_split(splits: Iterable[str]) -> str | None:
    """The split for evaluation: test, else validation, else none."""
    return next((split for split in (TEST, VALIDATION) if split in splits), None)


def summary(
    images: Mapping[str, int], outside: int = 0, classes: Sequence[str] | None = None, obstacle: str = ""
) -> str:
    """A line for the user about what names decided.

    Args:
        images: Number of images by split, the training split first.
        outside: Number of images in no split.
        classes: The classes' names, if names decide them.
        obstacle: Why there are none, if names might suggest some.
    """
    (train, count), *others = images.items()
    line = f"{count:,} image{'s' * (count != 1)}"
    if classes is not None:
        line += f" in {len(classes):,} classes" if classes else ", no classes" + f" ({obstacle})" * bool(obstacle)
    if others or outside or train != TRAIN:
        line += f", split {quoted(train)}"
    used = evaluation_split(images)
    clauses = [line, *(f"{n:,} in {quoted(split)} unused" for split, n in others if split != used)]
    if outside:
        clauses.append(f"{outside:,} in no split unused")
    clauses += [f"{n:,} in {split} for evaluation" for split, n in others if split == used]
    if classes:
        clauses.append(f"classes: {listed([*classes])}")
    return "; ".join(clauses)


def composed(name: str) -> str:
    """A name with composed characters (NFC): some systems store accents as separate characters."""
    return normalize("NFC", name)


def _parent(name: str) -> str:
    """The innermost folder of an image; empty for one in the dataset's folder itself."""
    return composed(name.rpartition("/")[0].rpartition("/")[2])


def _splits(names: Sequence[str], where: str) -> tuple[dict[str, list[str]], list[str]]:
    """The images of each split, and those of none."""
    named = [set().union(*map(splits_named, name.split("/")[:-1])) for name in names]
    if by_files := not any(named):
        named = [splits_named(name.rpartition("/")[2]) for name in names]
    if not any(named):
        return {TRAIN: [*names]}, []
    images: dict[str, list[str]] = {split: [] for split in WORDS}
    outside: list[str] = []
    for name, splits in zip(names, named, strict=True):
        if len(splits) > 1:
            raise InputError(
                f"{where}: {quoted(name)} names more than one split ({' and '.join(sorted(splits))}); {_RENAME}"
            )
        (images[splits.pop()] if splits else outside).append(name)
    images = {split: inside for split, inside in images.items() if inside}
    first = next(iter(images.values()))[0]
    if TRAIN not in images:
        raise InputError(
            f"{where} contains no training images: their names, such as {quoted(first)}, are of the split "
            f"{' and '.join(images)}; give the folder to train on itself, or set data.splits = false to train on all"
        )
    if outside and by_files:
        raise InputError(f"{where}: {quoted(first)} names a split, but {quoted(outside[0])} does not; {_RENAME}")
    if len(images) == 1 and (odd := _beside(images[TRAIN], outside)):
        raise InputError(
            f"{where}: {quoted(first)} names a split, but no folder beside it does, such as that of {quoted(odd)}; "
            "give the folder to train on itself, or set data.splits = false if it is a class"
        )
    return images, outside


def _beside(inside: list[str], outside: list[str]) -> str | None:
    """The first image outside a split that lies in another folder, not above the split's."""
    above = {name[:end] for name in inside for end, letter in enumerate(name) if letter == "/"} | {""}
    return next((name for name in outside if name.rpartition("/")[0] not in above), None)


def _classes(splits: Mapping[str, list[str]], *, by_names: bool, where: str) -> tuple[tuple[str, ...], str]:
    """The classes, and why there are none where that is not obvious."""
    names = [name for inside in splits.values() for name in inside]
    deepest, highest = (pick(names, key=lambda name: name.count("/")) for pick in (max, min))
    if highest.count("/") != deepest.count("/"):
        return (), f"images lie at several depths, such as {quoted(highest)} and {quoted(deepest)}"
    bare = [name for name in names if by_names and not any(map(splits_named, name.split("/")[:-2]))]
    bare = [name for name in bare if splits_named(_parent(name))]
    if not bare:
        classes = sorted({_parent(name) for name in names})
        return (tuple(classes) if len(classes) > 1 else ()), ""
    above = {name.rpartition("/")[0].rpartition("/")[0] for name in names}
    if len(bare) < len(names) or len(above) > 1:
        raise InputError(
            f"{where}: {quoted(bare[0])} is in the folder of a split, but of no class; expected: classes below the "
            "splits, such as train/cat, or data.splits = false"
        )
    return (), ""
