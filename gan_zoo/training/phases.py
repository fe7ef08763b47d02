"""Whether a model's `phase` speaks for all that its objectives read of the step."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from gan_zoo.models.gan.model import GAN


def announces_phases(kind: type[GAN]) -> bool:
    """Whether models of this class override `phase` wherever their objectives read `latents.step`.

    A class may inherit `phase` if it does not read the step itself, of which the inherited phases know nothing. Its
    methods are searched for an attribute `step`, and so are the functions of its package that they call.
    """
    owner = next(cls for cls in kind.__mro__ if "phase" in vars(cls))
    derived = [cls for cls in kind.__mro__ if cls not in owner.__mro__]
    seen: set[FunctionType] = set()
    return owner is not GAN and not any(
        _reads_step(function, seen) for cls in derived for value in vars(cls).values() for function in _functions(value)
    )


def _functions(value: Any) -> Iterator[FunctionType]:
    """The functions that an attribute of a class consists of, and those that they wrap."""
    if isinstance(value, property):
        parts = [value.fget, value.fset]
    else:
        parts = [value.__func__ if isinstance(value, classmethod | staticmethod) else value]
    for part in parts:
        while inspect.isfunction(part):
            yield part
            part = getattr(part, "__wrapped__", None)


def _reads_step(function: FunctionType, seen: set[FunctionType]) -> bool:
    if function in seen:
        return False
    seen.add(function)
    names = set(_names(function.__code__))
    called = (function.__globals__.get(name) for name in names)
    package = function.__module__.partition(".")[0]
    return "step" in names or any(
        _reads_step(other, seen)
        for other in called
        if inspect.isfunction(other) and other.__module__.partition(".")[0] == package
    )


def _names(code: CodeType) -> Iterator[str]:
    """The attributes and globals that code names, with the functions defined in it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
