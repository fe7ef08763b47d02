"""Nested mappings of settings before validation: merge them, check their keys, and report errors in one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from reprlib import Repr
from typing import Any

from pydantic import BaseModel, ValidationError

from gan_zoo.errors import InputError, cut, unknown

Tree = dict[str, Any]

FLAG = "flag"
"""The origin of a value given on the command line or as a keyword."""

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 120
_SHORT.maxlong = 40
_MOST_ERRORS = 5


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> Tree:
    """Merge two trees; the values of `above` win."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def flat(tree: Mapping[str, Any], prefix: str = "") -> Tree:
    """The values of a tree by dotted key."""
    values: Tree = {}
    for key, value in tree.items():
        values |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return values


def labelled(tree: Mapping[str, Any], label: str) -> Tree:
    """The tree with `label` in place of every value."""
    return {k: labelled(v, label) if isinstance(v, Mapping) else label for k, v in tree.items()}


def tables(kind: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """The fields of a table that are tables."""
    fields = {name: field.annotation for name, field in kind.model_fields.items()}
    return {n: t for n, t in fields.items() if isinstance(t, type) and issubclass(t, BaseModel)}


def leaves(kind: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted keys of all values of a type of configuration."""
    inner = tables(kind)
    for name in kind.model_fields:
        if name in inner:
            yield from leaves(inner[name], f"{prefix}{name}.")
        else:
            yield prefix + name


def check_keys(tree: Mapping[str, Any], kind: type[BaseModel], source: str, prefix: str = "") -> None:
    """Raise an InputError for an unknown key, with the nearest known one."""
    where = f"{source}: " if source else ""
    for key, value in tree.items():
        if key not in kind.model_fields:
            if not prefix and isinstance(value, Mapping):
                raise unknown("table", key, tables(kind), where=where)
            raise unknown("key", prefix + key, [prefix + name for name in kind.model_fields], where=where)
        table = tables(kind).get(key)
        if table and not isinstance(value, table):
            if not isinstance(value, Mapping):
                raise InputError(f"{where}{prefix}{key} must be a table, not {quoted_value(value)}")
            check_keys(value, table, source, f"{prefix}{key}.")


def expand(flags: Mapping[str, Any], kind: type[BaseModel]) -> Tree:
    """Overrides as a tree. Keys are dotted, or the last part of a unique key; `data` and `trunk` may be names."""
    known = list(leaves(kind))
    tree: Tree = {}
    for key, value in flags.items():
        dotted = key
        if key not in kind.model_fields and "." not in key:
            matches = [leaf for leaf in known if leaf.rsplit(".", 1)[-1] == key]
            if len(matches) > 1:
                raise InputError(f"{key} is ambiguous; use one of {', '.join(matches)}")
            if not matches:
                raise unknown("key", key, {leaf.rsplit(".", 1)[-1] for leaf in known})
            dotted = matches[0]
        elif key in ("data", "trunk") and isinstance(value, str | Path):
            dotted, value = f"{key}.name", str(value)
        if isinstance(value, BaseModel):
            value = value.model_dump()
        for part in reversed(dotted.split(".")):
            value = {part: value}
        tree = merge(tree, value)
    return tree


def invalid(error: ValidationError, origins: Mapping[str, Any] | None = None) -> InputError:
    """The errors of a validation in one line.

    Args:
        error: The error that pydantic raised.
        origins: Tree of the values' origins; each error begins with the origin of its value, except for flags.
    """
    errors = error.errors(include_url=False, include_context=False)
    lines = [f"{_where(origins or {}, one['loc'])}{_one_line(one)}" for one in errors[:_MOST_ERRORS]]
    rest = [f"and {len(errors) - _MOST_ERRORS} more"] if len(errors) > _MOST_ERRORS else []
    return InputError("; ".join([*lines, *rest]))


def _where(origins: Mapping[str, Any], keys: Sequence[int | str]) -> str:
    value: Any = origins
    for key in keys:
        value = value.get(key, "") if isinstance(value, Mapping) else value
    labels = dict.fromkeys(flat(value).values() if isinstance(value, Mapping) else filter(None, [value]))
    return "" if FLAG in labels or not labels else f"{', '.join(label.removeprefix('file ') for label in labels)}: "


_IN_OUR_WORDS = {
    "bool_type": "must be true or false (a boolean)",
    "tuple_type": "must be a list",
    "string_type": "must be text in quotes (a string)",
    "model_type": "must be a table (an object)",
    "extra_forbidden": "is not a known key",
}


def in_our_words(error: Mapping[str, Any]) -> str:
    """The message of one of pydantic's errors."""
    message: str = _IN_OUR_WORDS.get(error["type"], error["msg"].removeprefix("Value error, "))
    return message.replace("Input should", "must")


def _one_line(error: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    message = in_our_words(error)
    value = quoted_value(error["input"])
    if isinstance(error["input"], str):
        message = message.replace(repr(error["input"]), value)
    return f"{cut(key)} = {value}: {message[0].lower()}{message[1:]}"


def quoted_value(value: Any) -> str:
    """A value of any size and depth for a message."""
    try:
        return _SHORT.repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python writes
        return f"a {type(value).__name__} too large to show"
