"""The record of the model at whose weights a run started."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gan_zoo.errors import quoted
from gan_zoo.files import read_text

MAX_BYTES = 2**16
"""origin.json may not be larger."""


@dataclass(frozen=True)
class Origin:
    """The model at whose weights a run started.

    Attributes:
        source: The absolute path of a run, of one of its checkpoints or of an export, or a name.
        model: Its model.
        step: Its steps.
        sha256: Of its model.safetensors.
    """

    source: str
    model: str
    step: int
    sha256: str

    def __str__(self) -> str:
        source, model, digest = quoted(self.source, 200), quoted(self.model), quoted(self.sha256[:12])
        return f"{source} ({model}, step {self.step:,}, SHA-256 {digest}…)"

    @property
    def without_folders(self) -> Origin:
        """The origin without this machine's folders."""
        path = Path(self.source)
        shown = path.parts[-3:] if path.parent.name == "checkpoints" else path.parts[-1:]
        return replace(self, source="/".join(shown)) if path.is_absolute() else self


def from_record(record: Any) -> Origin | None:
    """The origin of a JSON record; None if it is none."""
    try:
        origin = Origin(**record)
    except TypeError:
        return None
    types = {name: type(value) for name, value in asdict(origin).items()}
    return origin if types == {"source": str, "model": str, "step": int, "sha256": str} else None


def read_origin(file: Path) -> Origin | None:
    """The origin in a file; None if it is missing or damaged."""
    try:
        return None if file.is_symlink() else from_record(json.loads(read_text(file, MAX_BYTES)))
    except (OSError, ValueError, RecursionError):
        return None
