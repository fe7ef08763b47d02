"""What names of folders and files say of a set: its splits and its classes, by the rules of the layout `imagefolder`.

The rules are those of the library `datasets`, and tests compare the two. Names are paths below the set's folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gan_zoo.data.bounds import listed
from gan_zoo.errors import InputError, shown

TRAIN, VALIDATION, TEST = "train", "validation", "test"
WORDS = {
    TRAIN: ("train", "training"),
    VALIDATION: ("validation", "valid", "val", "dev"),
    TEST: ("test", "testing", "eval", "evaluation"),
}
"""The words that name a split."""
MEASURED = (TEST, VALIDATION)
"""The splits that are measured on: the first that a set has."""
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Files from which `imagefolder` takes what is known of the images, in place of the folders' names."""

_APART = "[-._ 0-9]"
_NAMES = {
    split: re.compile(rf"(.*{_APART})?({'|'.join(words)})({_APART}.*)?", re.IGNORECASE | re.DOTALL)
    for split, words in WORDS.items()
}
_ASIDE = "rename it, or set data.splits = false to take all images as one split"


@dataclass(frozen=True)
class Layout:
    """The splits of a set, and the class of each image.

    Attributes:
        splits: The images of each split, in their order.
        outside: Images in no split.
        classes: The classes' names, in the order of their labels; empty if there are none.
        why: Why there are no classes, where the folders' names might suggest some.
    """

    splits: dict[str, list[str]]
    outside: list[str]
    classes: tuple[str, ...] = ()
    why: str = ""

    def labels(self, split: str) -> list[int]:
        """The label of each image of a split."""
        number = {name: label for label, name in enumerate(self.classes)}
        return [number[_parent(name)] for name in self.splits[split]]


def splits_named(name: str) -> set[str]:
    """The splits that the name of a folder or file speaks of, as train-2017, My_Test or dev.png do."""
    return {split for split, pattern in _NAMES.items() if pattern.fullmatch(name)}


def split_of(path: str) -> set[str]:
    """The splits that the names of a path's folders speak of or, if none does, that of its file."""
    *folders, file = path.split("/")
    return set().union(*map(splits_named, folders)) or splits_named(file)


def layout(names: Sequence[str], *, by_names: bool = True, metadata: str = "", where: str) -> Layout:
    """Tell splits and classes from the images' paths.

    Splits are named by a folder at any depth or else, if no folder names one, by the files. Classes are the innermost
    folders, where every image lies at the same depth; a folder that names the split is none.

    Args:
        names: Paths of the images below the set's folder.
        by_names: Whether names tell splits at all.
        metadata: The file that stands in place of the folders' names, if there is one.
        where: The set, for messages.

    Raises:
        InputError: If the names leave doubt what is to be learned from.
    """
    splits, outside = _splits(names, where) if by_names else ({TRAIN: [*names]}, [])
    classes, why = _classes(splits, by_names=by_names, where=where)
    if metadata:
        classes, why = (), f"{metadata} is not read" + ", and stands in place of the folders' names" * bool(classes)
    trained = {_parent(name) for name in splits[TRAIN]}
    for found in splits.values():
        if odd := next((name for name in found if classes and _parent(name) not in trained), None):
            raise InputError(
                f"{where}: {shown(odd)} lies in none of the classes that the training images have: "
                f"{listed(sorted(trained))}"
            )
    return Layout(splits, outside, classes, why)


def plain(split: str) -> str:
    """The plain name of a split that is called by one of its words, as dev is validation; any other's as it is."""
    return next((name for name, words in WORDS.items() if split.lower() in words), split)


def measured(splits: Iterable[str]) -> str | None:
    """The split that is measured on, if there is one."""
    return next((split for split in MEASURED if split in splits), None)


def told(images: Mapping[str, int], outside: int = 0, classes: Sequence[str] | None = None, why: str = "") -> str:
    """What was decided from names, in a line.

    Args:
        images: How many images each split has, the one that is learned from first.
        outside: How many are in no split.
        classes: The classes' names, if names decide on them.
        why: Why there are none, if names might suggest some.
    """
    (train, count), *others = images.items()
    parts = [f"{count:,} image{'s' * (count != 1)}"]
    if classes is not None:
        parts[0] += f" in {len(classes):,} classes" if classes else ", no classes" + f" ({why})" * bool(why)
    if others or outside or train != TRAIN:
        parts[0] += f", split {shown(train)}"
    chosen = measured(images)
    parts += [f"{n:,} in {shown(split)} left aside" for split, n in others if split != chosen]
    if outside:
        parts.append(f"{outside:,} in no split left aside")
    parts += [f"{n:,} in {split} measured on" for split, n in others if split == chosen]
    if classes:
        parts.append(f"classes: {listed([*classes])}")
    return "; ".join(parts)


def _parent(name: str) -> str:
    """The innermost folder of an image; empty for one that lies in the set's folder itself."""
    return name.rpartition("/")[0].rpartition("/")[2]


def _splits(names: Sequence[str], where: str) -> tuple[dict[str, list[str]], list[str]]:
    """The images of each split, and those of none."""
    named = [set().union(*map(splits_named, name.split("/")[:-1])) for name in names]
    if by_files := not any(named):
        named = [splits_named(name.rpartition("/")[2]) for name in names]
    if not any(named):
        return {TRAIN: [*names]}, []
    found: dict[str, list[str]] = {split: [] for split in WORDS}
    outside = []
    for name, splits in zip(names, named, strict=True):
        if len(splits) > 1:
            raise InputError(
                f"{where}: {shown(name)} names more than one split ({' and '.join(sorted(splits))}); {_ASIDE}"
            )
        found[splits.pop()].append(name) if splits else outside.append(name)
    found = {split: inside for split, inside in found.items() if inside}
    some = next(iter(found.values()))[0]
    if TRAIN not in found:
        raise InputError(
            f"{where} holds no images to learn from: by their names, as {shown(some)}, they are of the split "
            f"{' and '.join(found)}; name the folder to learn from itself, or set data.splits = false to learn from all"
        )
    if outside and by_files:
        raise InputError(f"{where}: {shown(some)} names a split, and {shown(outside[0])} does not; {_ASIDE}")
    if len(found) == 1 and (odd := _beside(found[TRAIN], outside)):
        raise InputError(
            f"{where}: {shown(some)} names a split, which no folder beside it does, as that of {shown(odd)}; name the "
            "folder to learn from itself, or set data.splits = false if it is a class"
        )
    return found, outside


def _beside(inside: list[str], outside: list[str]) -> str | None:
    """The first image outside a split that lies in a folder of its own, and not above the split's."""
    above = {name[:end] for name in inside for end, letter in enumerate(name) if letter == "/"} | {""}
    return next((name for name in outside if name.rpartition("/")[0] not in above), None)


def _classes(splits: Mapping[str, list[str]], *, by_names: bool, where: str) -> tuple[tuple[str, ...], str]:
    """The classes, and why there are none where that is not plain."""
    names = [name for found in splits.values() for name in found]
    classes = sorted({_parent(name) for name in names})
    deepest, highest = (pick(names, key=lambda name: name.count("/")) for pick in (max, min))
    if highest.count("/") != deepest.count("/"):
        return (), f"they lie at several depths, as {shown(highest)} and {shown(deepest)}"
    bare = [name for name in names if by_names and not any(map(splits_named, name.split("/")[:-2]))]
    bare = [name for name in bare if splits_named(_parent(name))]
    if bare:
        above = {name.rpartition("/")[0].rpartition("/")[0] for name in names}
        if len(bare) < len(names) or len(above) > 1:
            raise InputError(
                f"{where}: {shown(bare[0])} lies in a split's folder and in no class's; expected: classes below the "
                "splits, as train/cat, or data.splits = false"
            )
        return (), ""
    return (tuple(classes), "") if len(classes) > 1 else ((), "")
