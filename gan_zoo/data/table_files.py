"""Local files of the library `datasets`: folders that `save_to_disk` wrote, parquet and Arrow files."""

from __future__ import annotations

import json
import os
from functools import partial
from glob import escape
from pathlib import Path
from typing import Any

from gan_zoo.data.dataset import TABLE_SUFFIXES
from gan_zoo.data.folder_layout import TRAIN, split_of
from gan_zoo.errors import InputError, quoted
from gan_zoo.files import decode_text

EXPECTED = (
    "'org/name', 'org/name:config', a folder that `save_to_disk` wrote, a .parquet or .arrow file, or a folder of them"
)

_LONGEST_JSON = 2**20


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote a folder."""
    return any((folder / file).is_file() for file in ("dataset_dict.json", "state.json"))


def tables_below(folder: Path, *, follow_links: bool) -> list[str]:
    """The parquet and Arrow files below a folder, as paths below it."""
    folder = folder.resolve()
    files = [file for ending in TABLE_SUFFIXES for file in _below(folder, ending, follow_links=follow_links)]
    return [file.relative_to(folder).as_posix() for file in files]


def inside(root: Path, path: str | Path, follow_links: bool = False) -> Path | None:
    """The regular file `path`, if it is below `root`: after resolving links, or by its name if links are followed."""
    try:
        root = root.resolve()
        file = Path(os.path.abspath(root / path)) if follow_links else (root / path).resolve()
        return file if file.is_relative_to(root) and file.is_file() else None
    except (OSError, ValueError, RuntimeError):  # not a name of a file, or a circle of links
        return None


def check_saved(folder: Path, name: str, *, follow_links: bool) -> None:
    """Refuse a saved folder that refers to files elsewhere, or has a split without rows."""
    folder = folder.resolve()
    present = partial(inside, folder, follow_links=follow_links)
    splits = [folder]
    if present("dataset_dict.json") and not present("state.json"):
        splits = [folder / split for split in _json(folder / "dataset_dict.json")["splits"]]
    for split in splits:
        files = ["state.json", "dataset_info.json"]
        if present(split / "state.json"):
            rows = [data["filename"] for data in _json(split / "state.json")["_data_files"]]
            if not rows:  # the library writes such splits, but cannot read them
                raise InputError(f"data.path {name!r}: the split {quoted(split.name)} has no rows; save without it")
            files += rows
        for file in files:
            if not present(split / file):
                link = "; data.follow_links = true follows links" if (split / file).is_file() else ""
                raise InputError(f"data.path {name!r}: {quoted(file)} is not a file below the dataset's folder{link}")


def _json(path: Path) -> Any:
    if path.stat().st_size > _LONGEST_JSON:
        raise ValueError(f"{path.name} is longer than {_LONGEST_JSON:,} bytes")
    return json.loads(decode_text(path.read_bytes()))


def read_tables(path: Path, name: str, *, follow_links: bool) -> Any:
    """The splits of parquet files or, if there are none, of Arrow files, which are memory-mapped."""
    import datasets
    from pyarrow.parquet import read_metadata

    parquet, arrow = TABLE_SUFFIXES
    if path.is_file():
        files, is_arrow = {TRAIN: [path.resolve()]}, path.suffix == arrow
    else:
        files = _files(path, parquet, follow_links=follow_links)
        is_arrow = not files
        files = files or _files(path, arrow, follow_links=follow_links)
    if not files:
        links = sum(file.is_symlink() for ending in TABLE_SUFFIXES for file in path.rglob(f"*{ending}"))
        why = f": {links} are links that lead out of it; data.follow_links = true follows them" if links else ""
        raise InputError(f"data.path {name!r} contains no dataset{why}; expected: {EXPECTED}")
    if is_arrow:
        tables = {split: [datasets.Dataset.from_file(str(file)) for file in some] for split, some in files.items()}
        for split, some in files.items():
            for file, table in zip(some, tables[split], strict=True):
                _check_rows(file, len(table))
        return datasets.DatasetDict({split: datasets.concatenate_datasets(some) for split, some in tables.items()})
    for split, some in files.items():
        rows = [read_metadata(file).num_rows for file in some]
        for file, count in zip(some, rows, strict=True):
            _check_rows(file, count)
        if not any(rows):
            raise InputError(f"data.path {name!r}: the split {split} is empty")
    named = {split: [escape(str(file)) for file in some] for split, some in files.items()}
    return datasets.load_dataset("parquet", data_files=named)


def _files(folder: Path, ending: str, *, follow_links: bool) -> dict[str, list[Path]]:
    """The files below a folder with this ending, by the split that their names mention."""
    folder, files = folder.resolve(), dict[str, list[Path]]()
    for file in _below(folder, ending, follow_links=follow_links):
        splits = split_of(file.relative_to(folder).as_posix()) or {TRAIN}
        if len(splits) > 1:
            raise InputError(f"{file} names more than one split ({' and '.join(sorted(splits))}); rename it")
        files.setdefault(splits.pop(), []).append(file)
    return files


def _below(folder: Path, ending: str, *, follow_links: bool) -> list[Path]:
    """The files below a resolved folder with this ending, without hidden ones."""
    return [
        file
        for file in sorted(folder.rglob(f"*{ending}"))
        if inside(folder, file, follow_links)
        and not any(name.startswith(".") for name in file.relative_to(folder).parts)
    ]


def _check_rows(file: Path, rows: int) -> None:
    """Refuse a file whose rows would take far more memory than it, or whose name the library would read as a URL."""
    size = file.stat().st_size
    if rows > size:
        raise InputError(f"{file} states {rows:,} rows in {size:,} bytes")
    if "::" in str(file):
        raise InputError(f"{file} has '::' in its name, which `datasets` reads as a chained URL; rename it")
