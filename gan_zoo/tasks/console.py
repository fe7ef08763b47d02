"""What the commands share: consoles, checks of what was typed, and results that are printed before errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from gan_zoo.errors import InputError
from gan_zoo.files import check_writable

Attempt = Callable[[Callable[[], Any]], Any]

console = Console(highlight=False, soft_wrap=True, markup=False)
wide = Console(highlight=False, soft_wrap=True, markup=False, width=240)
"""For tables, whose numbers are not to be cut where a terminal is narrow."""


@contextmanager
def printed_first() -> Iterator[Attempt]:
    """Within, results are printed even if their files cannot be written.

    The function that is given returns what its argument, which writes files, returns; or None where that fails, and the
    error ends the block after everything else in it.

    Raises:
        InputError: At the end, for the files that could not be written.
    """
    failed: list[str] = []

    def attempt(write: Callable[[], Any]) -> Any:
        try:
            return write()
        except OSError as error:
            failed.append(_unwritten(error))
            return None

    yield attempt
    if failed:
        raise InputError("; ".join(failed))


def print_json(told: object) -> None:
    """Print a result as JSON, for scripts."""
    print(json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False), flush=True)


def check_place(path: Path, *, folder: bool = False) -> None:
    """Refuse a place for a result that cannot be written, before the work.

    Raises:
        InputError: If it cannot.
    """
    try:
        check_writable(path, folder=folder)
    except OSError as error:
        raise InputError(f"{_unwritten(error)}; name another place by --out") from None


def check_seed(seed: int) -> None:
    """Refuse a seed out of range."""
    if not 0 <= seed < 2**63:
        raise InputError(f"--seed lies in 0 to 2^63 - 1, not at {seed}")


def check_json(out: Path | None) -> None:
    """Refuse a file for figures that is not named .json, or that cannot be written."""
    if out is None:
        return
    if out.suffix.lower() != ".json":
        raise InputError(f"{out}: results are written as .json")
    check_place(out)


def _unwritten(error: OSError) -> str:
    return f"{error.filename} cannot be written: {error.strerror}" if error.filename else str(error)
