"""The errors a user can meet, each told in one line."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Input that cannot be accepted: the message says what, where and what would be. Exit code 2."""


class TrainingError(RuntimeError):
    """A run that failed: the message says where and what is left of it. Exit code 1."""


class PassedOver(UserWarning):
    """A damaged checkpoint that an older one is read instead of."""


def unknown(kind: str, name: str, known: Iterable[str], *, where: str = "") -> InputError:
    """The error for a name that is not among `known`, with the nearest that is.

    Returns:
        An `InputError` to raise, e.g. ``unknown model 'infogen'; did you mean 'infogan'? Known: acgan, …``.
    """
    names = sorted(known)
    nearest = get_close_matches(name, names, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
    return InputError(f"{where}unknown {kind} {name!r}{hint} Known: {', '.join(names) or 'none'}")
