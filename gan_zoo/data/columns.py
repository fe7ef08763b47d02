"""The columns of a table of `datasets` that are used: images, and labels of several types."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gan_zoo.data.bounds import listed
from gan_zoo.data.folder_layout import composed
from gan_zoo.errors import InputError, quoted

IMAGE_COLUMNS = ("image", "img", "images", "pixel_values")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target", "y")


@dataclass(frozen=True)
class Columns:
    """The columns of a table that are used.

    Attributes:
        image: The column of images.
        label: The column of labels, if there is one.
        kind: The labels' type: classes, integers, text or bool.
        unusable: A column with a name for labels but another type, with that type; empty if there is none.
    """

    image: str
    label: str | None = None
    kind: str = ""
    unusable: str = ""


def find_columns(table: Any, where: str) -> Columns:
    """Choose columns by their features, then by their names."""
    from datasets import ClassLabel, Image

    features = table.features
    image = _preferred([name for name, feature in features.items() if isinstance(feature, Image)], IMAGE_COLUMNS)
    if image is None:
        columns = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in features.items())
        raise InputError(f"{where} has no column with the feature Image; its columns are {columns}")
    label = _preferred([name for name, feature in features.items() if isinstance(feature, ClassLabel)], LABEL_COLUMNS)
    if label is not None:
        return Columns(image, label, "classes")
    kinds = {name: _kind(features[name]) for name in LABEL_COLUMNS if name in features and name != image}
    for name, kind in kinds.items():
        if kind:
            return Columns(image, name, kind)
    unusable = [f"{name} ({getattr(features[name], 'dtype', 'nested')})" for name in kinds]
    return Columns(image, unusable=unusable[0] if unusable else "")


def _kind(feature: Any) -> str:
    """The type of a column's values as labels: integers, text or bool; empty for others."""
    dtype = str(getattr(feature, "dtype", ""))
    match = re.fullmatch(r"(?P<integers>u?int\d+)|(?P<text>(large_)?string|string_view)|(?P<bool>bool)", dtype)
    return match.lastgroup or "" if match else ""


def _preferred(columns: list[str], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in columns), columns[0] if columns else None)


def read_labels(tables: dict[str, Any], columns: Columns, where: str) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """The labels of each table, int64 [n]; the classes' names, if known; and notes for the user.

    Args:
        tables: By split, the training split first.
        columns: Their columns.
        where: The dataset, for messages.
    """
    column = columns.label
    if column is None:
        unusable = f"no labels: the column {quoted(columns.unusable)} cannot be used as labels"
        return {}, [], [unusable] if columns.unusable else []
    tables = {split: table for split, table in tables.items() if column in table.features}
    _check_kinds({split: table.features[column] for split, table in tables.items()}, columns, where)
    values = {split: _values(table, column, where) for split, table in tables.items()}
    names: list[str] = []
    if columns.kind == "classes":
        class_names = {split: [*map(composed, table.features[column].names)] for split, table in tables.items()}
        names = next(iter(class_names.values()))
        for split, others in class_names.items():  # each split may number its names in another order
            if unknown := [name for name in others if name not in names]:
                raise InputError(f"{where}: the split {split} has the class {unknown[0]!r}, which training has not")
            values[split] = [names.index(others[label]) if label >= 0 else label for label in values[split]]
    elif columns.kind == "bool":
        names = ["False", "True"]
    elif columns.kind == "text":
        values = {split: [*map(composed, texts)] for split, texts in values.items()}
        names = sorted(set(next(iter(values.values()))))
        number = {name: label for label, name in enumerate(names)}
        for split, texts in values.items():
            if unknown := [text for text in texts if text not in number]:
                raise InputError(
                    f"{where}: the split {split} has the label {quoted(repr(unknown[0]))}, which no training image has"
                )
            values[split] = [number[text] for text in texts]
    notes = [f"{len(names):,} classes, by the {columns.kind} in {column!r}: {listed(names)}"]
    labels = {split: torch.tensor(some, dtype=torch.int64) for split, some in values.items()}
    return labels, names, notes if columns.kind in ("text", "bool") else []


def _check_kinds(features: dict[str, Any], columns: Columns, where: str) -> None:
    """Refuse a column whose labels are of one type in a split and of another in the next."""
    from datasets import ClassLabel

    kinds = {split: "classes" if isinstance(one, ClassLabel) else _kind(one) for split, one in features.items()}
    if odd := next((split for split, kind in kinds.items() if kind != columns.kind), None):
        raise InputError(
            f"{where}: the column {columns.label!r} holds {columns.kind} in the training split and "
            f"{kinds[odd] or getattr(features[odd], 'dtype', 'nested values')} in {odd}; give both splits one type"
        )


def _values(table: Any, column: str, where: str) -> list[Any]:
    values: list[Any] = table.select_columns([column]).with_format(None)[:][column]
    if any(value is None for value in values):
        raise InputError(
            f"{where}: the column {column!r} has rows without a label; set data.classes to 0 to train without labels"
        )
    return values
