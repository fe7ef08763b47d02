"""A file layer with faults: it counts operations on files below a folder, and at one of them fills the disk or kills
the process, before the operation or in the middle of a write.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

Fault = Literal["none", "full", "kill", "kill in the middle"]
FREEING = ("unlink", "rmdir")
"""Operations that succeed on a full disk."""


class FaultyFiles:
    """Counts operations below `root`; from number `at` on the disk is full, or there the process is killed.

    They are counted from the first one on that is `since`, as in "mkdir .step": an operation and how a name begins.
    """

    def __init__(self, root: Path, fault: Fault, at: int, since: str = "") -> None:
        self.root, self.fault, self.at = root.resolve(), fault, at
        self.since, self.counting = since, not since
        self.done: list[str] = []
        self.places: list[Path] = []

    def meet(self, operation: str, path: Any, carry_out: Callable[[], Any], halve: Callable[[], Any]) -> Any:
        """Carry an operation out, or fail as requested."""
        place = self._place(path)
        if place is None or not place.is_relative_to(self.root):
            return carry_out()
        self.counting = self.counting or f"{operation} {place.name}".startswith(self.since)
        if not self.counting:
            return carry_out()
        number = len(self.done)
        self.done.append(operation)
        self.places.append(place)
        if self.fault == "full" and number >= self.at and operation not in FREEING:
            halve()
            raise OSError(
                errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path) if not isinstance(path, int) else None
            )
        if self.fault.startswith("kill") and number == self.at:
            if self.fault == "kill in the middle":
                halve()
            os.kill(os.getpid(), signal.SIGKILL)
        return carry_out()

    def _place(self, path: Any) -> Path | None:
        try:
            return Path(os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else os.path.abspath(path))
        except OSError:
            return None

    @contextmanager
    def installed(self) -> Iterator[FaultyFiles]:
        """Install the layer in this process for the block."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("mkdir", "rename", "replace", "unlink", "rmdir", "fsync"):
                patch.setattr(os, name, self._wrap(name, getattr(os, name)))
            opened = self._open(io.open)
            patch.setattr(io, "open", opened)
            patch.setattr(builtins, "open", opened)
            yield self

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(path: Any, *args: Any, **keywords: Any) -> Any:
            folder = keywords.get("dir_fd")
            place = path if folder is None else Path(os.readlink(f"/proc/self/fd/{folder}"), path)
            return self.meet(name, place, lambda: real(path, *args, **keywords), lambda: None)

        return operation

    def _open(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def opening(path: Any, mode: str = "r", *args: Any, **keywords: Any) -> Any:
            if isinstance(path, int) or not set(mode) & set("wax+"):
                return real(path, mode, *args, **keywords)
            file = self.meet("create", path, lambda: real(path, mode, *args, **keywords), lambda: None)
            write = file.write

            def half(content: Any) -> None:
                write(content[: len(content) // 2])
                file.flush()

            file.write = lambda content: self.meet("write", path, lambda: write(content), lambda: half(content))
            return file

        return opening
