"""The errors a user can meet, each told in one line."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 80
"""Characters of a name from outside that a message shows."""


class InputError(ValueError):
    """Input that cannot be accepted: the message says what, where and what would be. Exit code 2."""


class TrainingError(RuntimeError):
    """A run that failed: the message says where and what is left of it. Exit code 1."""


class PassedOver(UserWarning):
    """A damaged checkpoint that an older one is read instead of."""


def cut(text: str, longest: int = LONGEST) -> str:
    """A text that comes from outside, not longer than a message should be."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def shown(name: object, longest: int = LONGEST) -> str:
    """A name that comes from outside, as a message shows it: cut, in one line, without control characters."""
    text = cut(str(name), longest)
    return text if text.isprintable() else repr(text)


def reason(error: BaseException, longest: int = 200) -> str:
    """What another library's error says, as a message shows it: its first line, or its type where it says nothing."""
    lines = (line for line in str(error).splitlines() if line.strip())
    return shown(next(lines, type(error).__name__), longest)


def unknown(kind: str, name: str, known: Iterable[str], *, where: str = "", also: str = "") -> InputError:
    """The error for a name that is not among `known`, with the nearest that is; `also` follows the name.

    Returns:
        An `InputError` to raise, e.g. ``unknown model 'infogen'; did you mean 'infogan'? Known: acgan, …``.
    """
    names = sorted(known)
    nearest = get_close_matches(name, names, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
    return InputError(f"{where}unknown {kind} {cut(name)!r}{also}{hint} Known: {', '.join(names) or 'none'}")
