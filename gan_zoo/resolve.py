"""How a configuration is filled: defaults < the model's own < preset < file < flags, later ones winning.

One rule holds for a model that is swapped into a configuration, by the word in the file or on the command line: what
the configuration states holds, and what it leaves open are the defaults of the model that is trained.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import tomli_w
from pydantic import BaseModel, ValidationError, create_model

from gan_zoo.config import Config, table_name
from gan_zoo.errors import InputError, shown
from gan_zoo.registry import models, presets
from gan_zoo.sources import Layer, defaults, read, recipe
from gan_zoo.trees import FLAG, Tree, check_keys, expand, flat, invalid, labelled, merge, value_shown

DEFAULT_PRESET = "mnist-5k"
OWN_PRESETS = {"sprites": "sprites-32", "dsprites": "sprites-32"}
"""Presets for sets whose name they do not have."""
PRESET_FOR_OTHERS = "folder-64"
DATA_AND_BUDGET = ("data", "training", "logging")


@dataclass(frozen=True)
class Resolved:
    """A tree, and how it came about.

    Args:
        config: The tree.
        origins: Where each value came from, by dotted key: a layer's origin or `flag`; a key that is missing here
            has its default.
        notes: What was decided without being asked for, a line each.
    """

    config: Config
    origins: Mapping[str, str]
    notes: tuple[str, ...] = ()


def lineage(model: str) -> list[str]:
    """`model`, the model that it extends, the one that this extends, and so on."""
    names = [model]
    while (base := recipe(names[-1]).extends) and base not in names:
        names.append(models.check(base, where=f"model {names[-1]!r} extends an "))
    return names


def config_type(model: str) -> type[Config]:
    """The type of the whole tree for `model`: the shared tables, and the model's own if it has settings."""
    settings = recipe(model).settings
    return Config if settings is None else _with_table(table_name(model), settings)


@cache  # one type, so that equal trees are equal
def _with_table(name: str, settings: type[BaseModel]) -> type[Config]:
    own = {name: (settings, settings())}
    return cast(type[Config], create_model("Config", __base__=_Tree, __doc__=Config.__doc__, **own))  # type: ignore[call-overload]


class _Tree(Config):
    """A tree with a table of the model's own; its type cannot be imported, and a pickle names the model instead."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.model_dump(),)


def _unpickled(tree: Tree) -> Config:
    return config_type(tree["model"]).model_validate(tree)


def resolve(
    model: str | None = None,
    config: str | Path | Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """Fill the tree.

    Args:
        model: A model's name; by default the one that `config` names. It wins over `config`, so that a
            configuration written for one model trains another.
        config: The name of a preset or a model, a TOML file, or a tree. By default the preset that fits the data:
            for the bundled digits `mnist-5k`.
        overrides: Values by dotted key (`training.steps`), by a leaf's own name where no other leaf has it
            (`steps`), or a table by its name; the flags of the command line.

    Raises:
        InputError: For an unknown key, a wrong value, a missing file, in one line that names it.
    """
    return trace(model, config, overrides).config


def trace(
    model: str | None = None,
    config: str | Path | Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Resolved:
    """The same, with where each value came from and what was decided without being asked for."""
    notes: list[str] = []
    if config is None:
        name = models.check(model or str(_of_preset(DEFAULT_PRESET)["model"]))
        flags = expand(overrides or {}, config_type(name))
        layers, notes = _fitting(name, flags.get("data", {}))
    else:
        layers = read(config)
        written_for = _written_for(layers, model)
        name = models.check(model or written_for)
        flags = expand(overrides or {}, config_type(name))
        if written_for != name:
            notes = [*_swapped(name, written_for, layers, flags)]
        layers = [defaults(name), *layers]
    kind = config_type(name)
    check_keys(flags, kind, "")
    values, origins = _stacked([*layers, Layer(FLAG, flags)], name)
    try:
        filled = kind.model_validate(values | {"model": name})
    except ValidationError as error:
        raise invalid(error, origins) from None
    return Resolved(filled, flat(origins) | ({"model": FLAG} if model else {}), tuple(notes))


def _written_for(layers: Sequence[Layer], model: str | None) -> str:
    """The model that a configuration names, or `model` where it names none."""
    source = layers[-1].origin.removeprefix("file ")
    written_for = next((layer.tree["model"] for layer in reversed(layers) if "model" in layer.tree), model)
    if not isinstance(written_for, str):
        what = "names no model" if written_for is None else f"has model = {value_shown(written_for)}"
        raise InputError(f"{source} {what}; accepted: {', '.join(models.entries)}")
    return models.check(written_for, where=f"{source}: ")


def _of_preset(name: str) -> Tree:
    (layer,) = read(name)
    return layer.tree


def _fitting(model: str, data: Any) -> tuple[list[Layer], list[str]]:
    """The layers where no configuration is named: the model's defaults, and the preset that fits the data.

    A preset gives all that it says to the models that it was written for or has a table of. To another model it gives
    data and budget, which that model's own defaults win over. What a preset says of its data is for its own set alone.
    """
    name = data.get("name", DEFAULT_PRESET) if isinstance(data, Mapping) else DEFAULT_PRESET
    preset, part = _preset_of(str(name)), ""
    tree = _of_preset(preset)
    if tree["data"]["name"] != name or preset == PRESET_FOR_OTHERS:
        del tree["data"]
        part = ", without its [data]"
    brought = defaults(model)
    if model == tree["model"] or table_name(model) in map(table_name, tree):
        layers = [brought, Layer(f"preset {preset}", tree)]
    else:
        kept = {table: tree[table] for table in DATA_AND_BUDGET if table in tree}
        layers = [Layer(f"preset {preset}", kept), brought]
        part = f", its {' and '.join(f'[{table}]' for table in kept)} alone"
    return layers, [] if preset == DEFAULT_PRESET else [f"no configuration is named: preset {preset}{part}"]


def _preset_of(data: str) -> str:
    """The preset that fits a set: its own, or the one for images of someone's own."""
    if data in presets() and _of_preset(data)["data"]["name"] == data:
        return data
    return OWN_PRESETS.get(data, PRESET_FOR_OTHERS)


def _swapped(model: str, written_for: str, layers: Sequence[Layer], flags: Tree) -> Iterator[str]:
    """What becomes of a configuration of `written_for` that trains `model`, where it is not what one may expect."""
    own, others = flat(defaults(model).tree), flat(defaults(written_for).tree)
    mine = flat(Config(model=model).model_dump()) | own
    stated: Tree = {}
    for layer in (*layers, Layer(FLAG, flags)):
        stated |= flat(layer.tree)
    source = shown(layers[-1].origin.removeprefix("file "), 200)
    relied_on = {key: value for key, value in others.items() if key not in stated and mine.get(key, value) != value}
    if relied_on:
        yield (
            f"{source} leaves to its model what {model} and {written_for} set differently: {model}'s "
            f"{_listed({key: mine[key] for key in relied_on})}, not {written_for}'s {_listed(relied_on)}; "
            f'preset = "{written_for}" in it takes the latter'
        )
    lost = {key: value for key, value in own.items() if key.startswith("loss.") and stated.get(key, value) != value}
    if lost := {key: value for key, value in lost.items() if key not in flat(flags)}:
        yield f"{source} states {_listed({key: stated[key] for key in lost})}, not {model}'s own {_listed(lost)}"


def _listed(values: Tree) -> str:
    return ", ".join(f"{key} = {value_shown(value)}" for key, value in values.items())


def _stacked(layers: Sequence[Layer], model: str) -> tuple[Tree, Tree]:
    """The layers as one tree of values for `model`, and the tree of their origins."""
    values: Tree = {}
    origins: Tree = {}
    source = layers[-2].origin.removeprefix("file ")
    kind = config_type(model)
    for layer in layers:
        values, origins = merge(values, layer.tree), merge(origins, labelled(layer.tree, layer.origin))
    values = _own_tables(values, model, source)
    check_keys(values, kind, source)
    return values, _own_tables(origins, model, source)


def changes(before: Config, after: Config) -> list[str]:
    """What differs between two trees, as `key: old → new`."""
    old, new = flat(before.model_dump()), flat(after.model_dump())
    return [f"{key}: {old.get(key)} → {new.get(key)}" for key in new if old.get(key) != new[key]]


def to_toml(config: Config, origins: Mapping[str, str] | None = None) -> str:
    """The resolved tree as TOML; `resolve` gives the same tree back. A key that is none is left out.

    Args:
        config: The tree.
        origins: Where values came from, by dotted key: said in a comment beside each.
    """
    text = tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))
    if origins is None:
        return text
    lines, table = [], ""
    for line in text.splitlines():
        if header := re.fullmatch(r"\[(.+)\]", line):
            table = f"{header[1]}."
        elif key := re.match(r"([A-Za-z0-9_-]+) = ", line):
            line += f"  # {shown(origins.get(table + key[1], 'default'), 200)}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def _own_tables(tree: Tree, model: str, source: str) -> Tree:
    """`tree` without the tables of other models, which a preset may carry beside its own."""
    others = {table_name(n): n for n in models.entries if n != model and table_name(n) not in Config.model_fields}
    own: Tree = {}
    beside: dict[str, Mapping[str, Any]] = {}
    for key, value in tree.items():
        table = table_name(key)
        if table in others and not isinstance(value, Mapping):
            raise InputError(f"{source}: {key} is the table of model {others[table]}, not {value_shown(value)}")
        if table == table_name(model):
            own[table] = value
        elif table not in others:
            own[key] = value
        else:
            if _built_in(others[table]):  # another's plug-in is not imported for this
                check_keys({table: value}, config_type(others[table]), source)
            beside[others[table]] = value
    mine = own.get(table_name(model), {})
    if (ground := _inherited(beside, model)) and isinstance(mine, Mapping):
        own[table_name(model)] = ground | {**mine}
    return own


def _inherited(tables: Mapping[str, Mapping[str, Any]], model: str) -> Tree:
    """What the tables of related models say about `model`'s own keys, the nearest one winning.

    A model that extends another takes over what is said for that one, and back: codes that are written for InfoGAN
    hold for its extensions, and InfoGAN beside one of them trains on the same codes.
    """
    known = recipe(model).settings.model_fields if recipe(model).settings else {}
    extensions = [name for name in tables if _built_in(name) and model in lineage(name)]
    ground: Tree = {}
    for name in [*extensions, *reversed(lineage(model))]:
        ground |= {key: value for key, value in tables.get(name, {}).items() if key in known}
    return ground


def _built_in(model: str) -> bool:
    return models.entries[model].origin == "gan-zoo"
