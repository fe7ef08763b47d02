"""Extras: optional dependencies of single features."""

from __future__ import annotations

from importlib.util import find_spec

from gan_zoo.errors import InputError


def missing(extra: str, what: str, cause: str = "") -> InputError:
    """The error for a feature whose extra is missing; `cause` is why it cannot be imported, if it is installed.

    Returns:
        An `InputError` to raise, e.g. ``Inception requires an extra: pip install 'gan-zoo[inception]'``.
    """
    details = f" ({cause})" if cause else ""
    return InputError(f"{what} requires an extra: pip install 'gan-zoo[{extra}]'{details}")


def require(module: str, extra: str, what: str) -> None:
    """Check that `module`, which the feature `what` needs, is installed.

    Raises:
        InputError: See `missing`.
    """
    if find_spec(module) is None:
        raise missing(extra, what)
