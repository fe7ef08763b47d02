"""The errors a user can meet, and how messages quote what comes from outside."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 80
"""Longest name from outside in a message, in characters."""


class InputError(ValueError):
    """Invalid input. The message says what was given, where, and what is accepted. Exit code 2."""


class TrainingError(RuntimeError):
    """A failed run. The message says where it failed and what was saved. Exit code 1."""


class DamagedCheckpointWarning(UserWarning):
    """A checkpoint is damaged, and an older one is used instead."""


def cut(text: str, longest: int = LONGEST) -> str:
    """Shorten a text from outside for a message."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def quoted(name: object, longest: int = LONGEST) -> str:
    """A name from outside for a message: shortened, on one line, without control characters."""
    text = cut(str(name), longest)
    return text if text.isprintable() else repr(text)


def first_line(error: BaseException, longest: int = 200) -> str:
    """The first line of another library's error message, or its type if the message is empty."""
    lines = (line for line in str(error).splitlines() if line.strip())
    return quoted(next(lines, type(error).__name__), longest)


def unknown(kind: str, name: str, known: Iterable[str], *, where: str = "", also: str = "") -> InputError:
    """The error for a name that is not in `known`, with the nearest one that is; `also` follows the name.

    Returns:
        An `InputError` to raise, e.g. ``unknown model 'infogen'; did you mean 'infogan'? Known: acgan, …``.
    """
    names = sorted(known)
    if not names:
        return InputError(f"{where}unknown {kind} {cut(name)!r}{also}; there are none")
    nearest = get_close_matches(name, names, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
    return InputError(f"{where}unknown {kind} {cut(name)!r}{also}{hint} Known: {', '.join(names)}")
