"""Local files of `datasets`: folders that `save_to_disk` wrote, and parquet and Arrow files with what they may name."""

from __future__ import annotations

import json
import os
from functools import partial
from glob import escape
from itertools import chain
from pathlib import Path
from typing import Any

from gan_zoo.data.dataset import TABLE_SUFFIXES
from gan_zoo.data.folder_layout import TRAIN, split_of
from gan_zoo.errors import InputError, quoted
from gan_zoo.files import decode_text

SHAPE_OF_NAME = (
    "'org/name', 'org/name:config', a folder that `save_to_disk` wrote, a .parquet or .arrow file, or a folder of them"
)

_LONGEST_JSON = 2**20


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote a folder."""
    return any((folder / file).is_file() for file in ("dataset_dict.json", "state.json"))


def tables_below(folder: Path, *, follow_links: bool) -> list[str]:
    """The parquet and Arrow files below a folder, as paths below it."""
    found = [file for ending in TABLE_SUFFIXES for file in _below(folder.resolve(), ending, follow_links=follow_links)]
    return [file.relative_to(folder.resolve()).as_posix() for file in found]


def inside(root: Path, path: str | Path, follow_links: bool = False) -> Path | None:
    """The regular file that `path` names, if it is below `root`, whatever links lie on the way unless they count."""
    try:
        root = root.resolve()
        file = Path(os.path.abspath(root / path)) if follow_links else (root / path).resolve()
        return file if file.is_relative_to(root) and file.is_file() else None
    except (OSError, ValueError, RuntimeError):  # no name of a file, or links in a circle
        return None


def check_saved(folder: Path, name: str, *, follow_links: bool) -> None:
    """Refuse a saved folder that names files elsewhere, or that has a split without rows."""
    folder = folder.resolve()
    parts = [folder]
    found = partial(inside, folder, follow_links=follow_links)
    if found("dataset_dict.json") and not found("state.json"):
        parts = [folder / split for split in _json(folder / "dataset_dict.json")["splits"]]
    for part in parts:
        files = ["state.json", "dataset_info.json"]
        if found(part / "state.json"):
            files += (rows := [data["filename"] for data in _json(part / "state.json")["_data_files"]])
            if not rows:  # which the library writes, and fails to read
                raise InputError(
                    f"data.path {name!r}: {quoted(part.name)} is saved without rows; save the set without it"
                )
        for file in files:
            if not found(part / file):
                link = "; data.follow_links = true follows links" if (part / file).is_file() else ""
                raise InputError(f"data.path {name!r}: {quoted(file)} is no file below the set's own folder{link}")


def _json(path: Path) -> Any:
    if path.stat().st_size > _LONGEST_JSON:
        raise ValueError(f"{path.name} is longer than {_LONGEST_JSON:,} bytes")
    return json.loads(decode_text(path.read_bytes()))


def read_tables(path: Path, name: str, *, follow_links: bool) -> Any:
    """The splits of parquet files, or of Arrow files, which are mapped."""
    import datasets
    from pyarrow.parquet import read_metadata

    if path.is_file():
        files = {TRAIN: [path.resolve()]}
        arrow = path.suffix == TABLE_SUFFIXES[1]
    else:
        files = _files(path, TABLE_SUFFIXES[0], follow_links=follow_links)
        arrow = not files
        files = files or _files(path, TABLE_SUFFIXES[1], follow_links=follow_links)
    if not files:
        links = sum(file.is_symlink() for ending in TABLE_SUFFIXES for file in path.rglob(f"*{ending}"))
        why = f": {links} are links that lead out of it; data.follow_links = true follows them" if links else ""
        raise InputError(f"data.path {name!r} holds no set{why}; expected: {SHAPE_OF_NAME}")
    if not arrow:
        for split, found in files.items():
            rows = {file: read_metadata(file).num_rows for file in found}
            for file, count in rows.items():
                _check_rows(file, count)
            if not any(rows.values()):
                raise InputError(f"data.path {name!r}: the split {split} is empty")
        named = {split: [escape(str(file)) for file in found] for split, found in files.items()}
        return datasets.load_dataset("parquet", data_files=named)
    splits = {split: [datasets.Dataset.from_file(str(file)) for file in found] for split, found in files.items()}
    for file, table in zip(chain.from_iterable(files.values()), chain.from_iterable(splits.values()), strict=True):
        _check_rows(file, len(table))
    return datasets.DatasetDict({split: datasets.concatenate_datasets(tables) for split, tables in splits.items()})


def _files(folder: Path, ending: str, *, follow_links: bool) -> dict[str, list[Path]]:
    """The files below a folder whose names end so, by the split that their names tell."""
    folder, found = folder.resolve(), dict[str, list[Path]]()
    for file in _below(folder, ending, follow_links=follow_links):
        splits = split_of(file.relative_to(folder).as_posix()) or {TRAIN}
        if len(splits) > 1:
            raise InputError(f"{file} names more than one split ({' and '.join(sorted(splits))}); rename it")
        found.setdefault(splits.pop(), []).append(file)
    return found


def _below(folder: Path, ending: str, *, follow_links: bool) -> list[Path]:
    """The files below a resolved folder whose names end so, but no hidden ones."""
    return [
        file
        for file in sorted(folder.rglob(f"*{ending}"))
        if inside(folder, file, follow_links)
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]


def _check_rows(file: Path, rows: int) -> None:
    """Refuse a file that a few bytes would blow up, or whose name the library would take for an address."""
    size = file.stat().st_size
    if rows > size:
        raise InputError(f"{file} says that it holds {rows:,} rows, in {size:,} bytes")
    if "::" in str(file):
        raise InputError(f"{file} has '::' in its name, by which an address is chained; rename it")
