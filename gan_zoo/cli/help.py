"""What help says of a command."""

from __future__ import annotations

import inspect
from collections.abc import Callable


def about(command: Callable[..., None]) -> str:
    """What a command's help says above its arguments: its docstring without them, the examples last."""
    sections = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(
        section.replace("Examples:\n", "examples:\n").replace("\n    ", "\n  ")
        for section in sections
        if not section.startswith("Args:")
    )
