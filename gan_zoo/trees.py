"""Trees of values before they are checked: merge them, find keys in them, and refuse what does not fit in one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from reprlib import Repr
from typing import Any

from pydantic import BaseModel, ValidationError

from gan_zoo.errors import InputError, cut, unknown

Tree = dict[str, Any]

FLAG = "flag"
"""The label of a value that was given by itself: on the command line, or as a keyword."""

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 120
_SHORT.maxlong = 40
_TOLD = 5


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> Tree:
    """Two trees as one; where both have a value, `above`'s."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def flat(tree: Mapping[str, Any], prefix: str = "") -> Tree:
    """The values of a tree by dotted key."""
    found: Tree = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return found


def labelled(tree: Mapping[str, Any], label: str) -> Tree:
    """The same tree with `label` in place of every value."""
    return {k: labelled(v, label) if isinstance(v, Mapping) else label for k, v in tree.items()}


def tables(kind: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """The fields of a tree that are tables themselves."""
    fields = {name: field.annotation for name, field in kind.model_fields.items()}
    return {n: t for n, t in fields.items() if isinstance(t, type) and issubclass(t, BaseModel)}


def leaves(kind: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted keys of all values in a tree."""
    inner = tables(kind)
    for name in kind.model_fields:
        if name in inner:
            yield from leaves(inner[name], f"{prefix}{name}.")
        else:
            yield prefix + name


def check_keys(tree: Mapping[str, Any], kind: type[BaseModel], source: str, prefix: str = "") -> None:
    """Refuse a key that the tree does not have, naming the nearest that it has."""
    where = f"{source}: " if source else ""
    for key, value in tree.items():
        if key not in kind.model_fields:
            if not prefix and isinstance(value, Mapping):
                raise unknown("table", key, tables(kind), where=where)
            raise unknown("key", prefix + key, [prefix + name for name in kind.model_fields], where=where)
        table = tables(kind).get(key)
        if table and not isinstance(value, table):
            if not isinstance(value, Mapping):
                raise InputError(f"{where}{prefix}{key} is a table, not {quoted_value(value)}")
            check_keys(value, table, source, f"{prefix}{key}.")


def expand(flags: Mapping[str, Any], kind: type[BaseModel]) -> Tree:
    """Overrides as a tree: dotted keys nested, leaves found by their own name, a table's string as its `name`."""
    known = list(leaves(kind))
    tree: Tree = {}
    for key, value in flags.items():
        dotted = key
        if key not in kind.model_fields and "." not in key:
            found = [leaf for leaf in known if leaf.rsplit(".", 1)[-1] == key]
            if len(found) > 1:
                raise InputError(f"{key} could be any of {', '.join(found)}; name one")
            if not found:
                raise unknown("key", key, {leaf.rsplit(".", 1)[-1] for leaf in known})
            dotted = found[0]
        elif key in ("data", "trunk") and isinstance(value, str | Path):
            dotted, value = f"{key}.name", str(value)
        if isinstance(value, BaseModel):
            value = value.model_dump()
        for part in reversed(dotted.split(".")):
            value = {part: value}
        tree = merge(tree, value)
    return tree


def invalid(error: ValidationError, origins: Mapping[str, Any] | None = None) -> InputError:
    """What a tree's check found, in one line.

    Args:
        error: What pydantic raised.
        origins: Where the values came from, as a tree of labels; they are named before what is wrong with a value,
            unless it is a flag's.
    """
    found = error.errors(include_url=False, include_context=False)
    told = [f"{_where(origins or {}, one['loc'])}{_one_line(one)}" for one in found[:_TOLD]]
    rest = [f"and {len(found) - _TOLD} more"] if len(found) > _TOLD else []
    return InputError("; ".join([*told, *rest]))


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
    "extra_forbidden": "is no key here",
}


def in_our_words(error: Mapping[str, Any]) -> str:
    """What one of pydantic's errors finds wrong."""
    found: str = _IN_OUR_WORDS.get(error["type"], error["msg"].removeprefix("Value error, "))
    return found.replace("Input should", "must")


def _one_line(error: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    message = in_our_words(error)
    shown = quoted_value(error["input"])
    if isinstance(error["input"], str):
        message = message.replace(repr(error["input"]), shown)
    return f"{cut(key)} = {shown}: {message[0].lower()}{message[1:]}"


def quoted_value(value: Any) -> str:
    """A value as a message shows it, which may be of any size and depth."""
    try:
        return _SHORT.repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python writes
        return f"a {type(value).__name__} too large to show"
