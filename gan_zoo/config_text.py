"""A configuration as text: TOML with the origin of each value, changes, and notes on a model swapped into it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import tomli_w

from gan_zoo.config import Config
from gan_zoo.errors import quoted
from gan_zoo.sources import Layer, defaults
from gan_zoo.trees import FLAG, Tree, flat, quoted_value


def changes(before: Config, after: Config) -> list[str]:
    """The differences between two configurations, as `key: old → new`."""
    old, new = flat(before.model_dump()), flat(after.model_dump())
    return [f"{key}: {_shown(old.get(key))} → {_shown(new[key])}" for key in new if old.get(key) != new[key]]


def _shown(value: object) -> object:
    return "(empty)" if value == "" else value


def to_toml(config: Config, origins: Mapping[str, str] | None = None) -> str:
    """A configuration as TOML, from which `resolve` returns an equal one. Keys whose value is None are omitted.

    Args:
        config: The configuration.
        origins: The origin of each value by dotted key, to write as comments.
    """
    text = tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))
    if origins is None:
        return text
    lines, table = [], ""
    for line in text.splitlines():
        if header := re.fullmatch(r"\[(.+)\]", line):
            table = f"{header[1]}."
        elif key := re.match(r"([A-Za-z0-9_-]+) = ", line):
            line += f"  # {quoted(origins.get(table + key[1], 'default'), 200)}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def swap_notes(model: str, written_for: str, layers: Sequence[Layer], flags: Tree) -> Iterator[str]:
    """Notes on a configuration of `written_for` that trains `model`, where values may surprise."""
    defaults_now, defaults_then = flat(defaults(model).tree), flat(defaults(written_for).tree)
    values_now = flat(Config(model=model).model_dump()) | defaults_now
    explicit: Tree = {}
    for layer in (*layers, Layer(FLAG, flags)):
        explicit |= flat(layer.tree)
    source = quoted(layers[-1].origin.removeprefix("file "), 200)
    changed = {k: v for k, v in defaults_then.items() if k not in explicit and values_now.get(k, v) != v}
    if changed:
        yield (
            f"{source} was written for {written_for} and leaves settings open whose defaults differ: using {model}'s "
            f"{listed({key: values_now[key] for key in changed})}, not {written_for}'s {listed(changed)}; "
            f'add preset = "{written_for}" to use the latter'
        )
    losses = {key: value for key, value in defaults_now.items() if key.startswith("loss.") and key not in flat(flags)}
    if replaced := {key: value for key, value in losses.items() if explicit.get(key, value) != value}:
        yield f"{source} sets {listed({key: explicit[key] for key in replaced})}, not {model}'s {listed(replaced)}"


def network_notes(origin: str, theirs: Tree, without: Tree, values: Tree) -> Iterator[str]:
    """Notes on the networks of a trained model to start at, where values may surprise.

    Args:
        origin: The origin of the layer of its settings.
        theirs: Its settings, by dotted key.
        without: The values that would apply without them.
        values: Those that apply.
    """
    source = quoted(origin.removeprefix("from "), 200)
    taken = {key: v for key, v in theirs.items() if values[key] == v and without[key] not in (None, v)}
    stated = {key: values[key] for key, v in theirs.items() if values[key] != v}
    if taken:
        yield f"as in {source}: {listed(taken, 'not', without)}"
    if stated:
        yield f"unlike {source}: {listed(stated, 'there', theirs)}"


def listed(values: Tree, word: str = "", others: Tree | None = None) -> str:
    """Values by key, each followed by a word and another value."""
    beside = {key: f" ({word} {quoted_value(others[key])})" for key in values} if others else {}
    return ", ".join(f"{key} = {quoted_value(value)}{beside.get(key, '')}" for key, value in values.items())
