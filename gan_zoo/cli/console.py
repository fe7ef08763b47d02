"""Consoles, checks of output paths, and results that are printed even if their files cannot be written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gan_zoo.data.pixels import SUFFIXES
from gan_zoo.errors import InputError
from gan_zoo.files import check_writable, write_json
from gan_zoo.images import is_made_here
from gan_zoo.training.hub_download import check_is_path
from gan_zoo.training.run import CONFIG, RUN_FILES

Attempt = Callable[[Callable[[], Any]], Any]

console = Console(highlight=False, soft_wrap=True, markup=False)
wide = Console(highlight=False, soft_wrap=True, markup=False, width=240)
"""For tables, whose numbers must not be cut on a narrow terminal."""


@contextmanager
def printed_first() -> Iterator[Attempt]:
    """A block that prints its results even if their files cannot be written.

    Yields:
        A function that calls its argument, which writes files, and returns its result, or None if it raised OSError.

    Raises:
        InputError: At the end of the block, naming the files that could not be written.
    """
    failures: list[str] = []

    def attempt(write: Callable[[], Any]) -> Any:
        try:
            return write()
        except OSError as error:
            failures.append(_not_writable(error))
            return None

    yield attempt
    if failures:
        raise InputError("; ".join(failures))


def print_json(result: object) -> None:
    """Print a result as JSON, for scripts."""
    print(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False), flush=True)


def print_result(
    record: Any, out: Path | None, table: Table, *, as_json: bool, about: str = "", lines: Sequence[str] = ()
) -> None:
    """Write a result to the JSON file `out`, if given; print it as JSON, or as a table, the file and further lines."""
    with printed_first() as attempt:
        written = attempt(lambda: write_json(record, out)) if out else None
        if as_json:
            print_json(record)
            return
        console.print(table)
        for line in (*([f"{about}{written}"] if written else []), *lines):
            console.print(line)


def check_output(path: Path, *, folder: bool = False) -> None:
    """Check, before the work, that an output can be written, and replaces no file of a run and no picture of others.

    Raises:
        InputError: If it cannot, or would.
    """
    check_is_path(path)
    run = next((above for above in path.absolute().parents[:3] if (above / CONFIG).is_file()), None)
    if run and path.absolute().relative_to(run).parts[0] in RUN_FILES:
        raise InputError(f"--out {path} is a file of a run; choose another path")
    if not run and path.suffix.lower() in SUFFIXES and path.is_file() and not is_made_here(path):
        raise InputError(f"--out {path} exists and was not written by gan-zoo; choose another path")
    try:
        check_writable(path, folder=folder)
    except OSError as error:
        raise InputError(f"{_not_writable(error)}; choose another path with --out") from None


def check_json(out: Path | None) -> None:
    """Check that `out`, if given, is a .json file that can be written."""
    if out is None:
        return
    if out.suffix.lower() != ".json":
        raise InputError(f"--out {out}: results are written as JSON; the file name must end in .json")
    check_output(out)


def _not_writable(error: OSError) -> str:
    return f"{error.filename} cannot be written: {error.strerror}" if error.filename else str(error)
