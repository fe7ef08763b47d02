"""The extras: packages that one feature needs and the rest does without."""

from __future__ import annotations

from importlib.util import find_spec

from gan_zoo.errors import InputError


def missing(extra: str, what: str, reason: str = "") -> InputError:
    """The error for `what` that an extra is needed for, in words that can be typed.

    Returns:
        An `InputError` to raise, e.g. ``Inception needs the extra: pip install 'gan-zoo[inception]'``.
    """
    return InputError(f"{what} needs the extra: pip install 'gan-zoo[{extra}]'{f' ({reason})' if reason else ''}")


def require(module: str, extra: str, what: str) -> None:
    """Refuse `what` if the extra that brings `module` is not installed.

    Raises:
        InputError: See `missing`.
    """
    if find_spec(module) is None:
        raise missing(extra, what)
