"""The columns of a table of `datasets` that have a meaning here: the images, and labels of several kinds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gan_zoo.data.bounds import listed
from gan_zoo.errors import InputError, quoted

IMAGE_COLUMNS = ("image", "img", "images", "pixel_values")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target", "y")


@dataclass(frozen=True)
class Columns:
    """Which columns of a table have a meaning here.

    Attributes:
        image: The column of images.
        label: That of labels, if there is one.
        kind: What its labels are: classes, integers, text or bool.
        odd: A column that is called like labels and holds none, with its type; empty if there is none.
    """

    image: str
    label: str | None = None
    kind: str = ""
    odd: str = ""


def find_columns(table: Any, where: str) -> Columns:
    """The columns, by their features and then by their names."""
    from datasets import ClassLabel, Image

    features = table.features
    image = _preferred([name for name, feature in features.items() if isinstance(feature, Image)], IMAGE_COLUMNS)
    if image is None:
        found = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in features.items())
        raise InputError(
            f"{where} has no column of images: it has {found}; expected: a column whose feature is an Image"
        )
    label = _preferred([name for name, feature in features.items() if isinstance(feature, ClassLabel)], LABEL_COLUMNS)
    if label is not None:
        return Columns(image, label, "classes")
    called = [name for name in LABEL_COLUMNS if name in features and name != image]
    kinds = {name: _kind(features[name]) for name in called}
    label = next((name for name in called if kinds[name]), None)
    if label is not None:
        return Columns(image, label, kinds[label])
    return Columns(image, odd=f"{called[0]} ({getattr(features[called[0]], 'dtype', 'nested')})" if called else "")


def _kind(feature: Any) -> str:
    """What a column's values are as labels: integers, text, bool; or empty."""
    dtype = getattr(feature, "dtype", "")
    found = re.fullmatch(r"(?P<integers>u?int\d+)|(?P<text>(large_)?string|string_view)|(?P<bool>bool)", str(dtype))
    return found.lastgroup or "" if found else ""


def _preferred(found: list[str], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in found), found[0] if found else None)


def read_labels(tables: dict[str, Any], columns: Columns, where: str) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """The labels of each table, int64 [n]; the classes' names, if they are known; and lines for the user.

    Args:
        tables: Those of the splits that are used, the one that is learned from first.
        columns: Their columns.
        where: The set, for messages.
    """
    column = columns.label
    if column is None:
        return {}, [], [f"no labels: the column {quoted(columns.odd)} holds none"] if columns.odd else []
    found = {split: _values(table, column, where) for split, table in tables.items() if column in table.features}
    train, *_ = found.values()
    names: list[str] = []
    if columns.kind == "classes":
        names = [*next(iter(tables.values())).features[column].names]
    elif columns.kind == "bool":
        names = ["False", "True"]
    elif columns.kind == "text":
        names = sorted(set(train))
        number = {name: label for label, name in enumerate(names)}
        for split, values in found.items():
            if (odd := next((value for value in values if value not in number), None)) is not None:
                raise InputError(f"{where}: the label {quoted(odd)} of the split {split} is that of no training image")
            found[split] = [number[value] for value in values]
    lines = [f"{len(names):,} classes, by the {columns.kind} in {column!r}: {listed(names)}"]
    labels = {split: torch.tensor(values, dtype=torch.int64) for split, values in found.items()}
    return labels, names, lines if columns.kind in ("text", "bool") else []


def _values(table: Any, column: str, where: str) -> list[Any]:
    values: list[Any] = table.select_columns([column]).with_format(None)[:][column]
    if any(value is None for value in values):
        raise InputError(
            f"{where}: the column {column!r} has rows without a label; set data.classes to 0 to learn without labels"
        )
    return values
