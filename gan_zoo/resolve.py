"""How a configuration is filled: defaults < the model's own < preset < file < flags, later ones winning."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from reprlib import Repr
from typing import Any, cast

import tomli_w
from pydantic import BaseModel, ValidationError, create_model

from gan_zoo.config import Config
from gan_zoo.errors import InputError, cut, unknown
from gan_zoo.registry import models, presets

DEFAULT_PRESET = "mnist-5k"
DATA_AND_BUDGET = ("data", "training", "logging")

LONGEST_FILE = 2**18
MOST_PARTS = 16

Tree = dict[str, Any]

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*"""
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_PART}){{{MOST_PARTS}}}")
_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 120
_SHORT.maxlong = 40
_TOLD = 5


def table_name(model: str) -> str:
    """The key of a model's own table: its name, with underscores."""
    return model.replace("-", "_")


def lineage(model: str) -> list[str]:
    """`model`, the model that it extends, the one that this extends, and so on."""
    names = [model]
    while (base := model_class(names[-1]).extends) and base not in names:
        names.append(models.check(base, where=f"model {names[-1]!r} extends an "))
    return names


def model_class(name: str) -> Any:
    """The class of the model called `name`.

    Raises:
        InputError: If what a plug-in registers is no model, or its table would have the name of a shared one.
    """
    found, origin = models.get(name), models.entries[name].origin
    if not (hasattr(found, "defaults") and hasattr(found, "settings")):
        raise InputError(f"model {name!r} from {origin} is {found!r}, and no class derived from gan_zoo's GAN")
    if table_name(name) in Config.model_fields:
        raise InputError(f"model {name!r} from {origin} is named like a key of every tree; it needs another name")
    return found


def config_type(model: str) -> type[Config]:
    """The type of the whole tree for `model`: the shared tables, and the model's own if it has settings."""
    settings = model_class(model).settings
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
        config: A preset's name, a TOML file, or a tree. By default the preset `mnist-5k`.
        overrides: Values by dotted key (`training.steps`), by a leaf's own name where no other leaf has it
            (`steps`), or a table by its name; the flags of the command line.

    Raises:
        InputError: For an unknown key, a wrong value, a missing file, in one line that names it.
    """
    source, layers = _read(config if config is not None else DEFAULT_PRESET)
    written_for = layers.get("model", model)
    if not isinstance(written_for, str):
        what = "names no model" if written_for is None else f"has model = {_shown(written_for)}"
        raise InputError(f"{source} {what}; accepted: {', '.join(models.entries)}")
    models.check(written_for, where=f"{source}: ")
    name = model or written_for
    kind = config_type(models.check(name))
    own_layers = _own_tables(layers, name, source)
    _check_keys(own_layers, kind, source)
    tree = _below(name, written_for, own_layers, implicit=config is None)
    flags = _expand(overrides or {}, kind)
    _check_keys(flags, kind, "")
    try:
        return kind.model_validate(_merge(_merge(tree, flags), {"model": name}))
    except ValidationError as error:
        raise refused(error, source, flags) from None


def _below(name: str, written_for: str, layers: Tree, *, implicit: bool) -> Tree:
    """The tree before flags, from a configuration's layers and the models' defaults.

    A model that adds to the objective (it has a table of its own, as InfoGAN) takes over the networks, loss and
    optimizer of the configuration that it is swapped into, also where these are defaults of the model that the
    configuration was written for. A model that is a choice of networks, loss and optimizer brings its own. The preset
    that is used where none is named gives data and budget only.
    """
    own = cast(Tree, model_class(name).defaults)
    if name == written_for:
        return _merge(own, layers)
    if implicit:
        return _merge({table: layers[table] for table in DATA_AND_BUDGET if table in layers}, own)
    if model_class(name).settings is None:
        return _merge(own, layers)
    return _merge(_merge(own, cast(Tree, model_class(written_for).defaults)), layers)


def refused(error: ValidationError, source: str = "", flags: Mapping[str, Any] | None = None) -> InputError:
    """What a tree's check found, in one line; what stands in `flags` does not come from `source`."""
    found = error.errors(include_url=False, include_context=False)
    told = [
        ("" if not source or _has(flags or {}, one["loc"]) else f"{source}: ") + _one_line(one) for one in found[:_TOLD]
    ]
    rest = [f"and {len(found) - _TOLD} more"] if len(found) > _TOLD else []
    return InputError("; ".join([*told, *rest]))


def _has(tree: Mapping[str, Any], keys: Sequence[int | str]) -> bool:
    """Whether a tree holds the value, or a part of the table or list, that `keys` lead to."""
    value: Any = tree
    for key in keys:
        if not isinstance(value, Mapping):
            return True
        if key not in value:
            return False
        value = value[key]
    return True


def changes(before: Config, after: Config) -> list[str]:
    """What differs between two trees, as `key: old → new`."""

    def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in tree.items():
            found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
        return found

    old, new = flat(before.model_dump()), flat(after.model_dump())
    return [f"{key}: {old.get(key)} → {new.get(key)}" for key in new if old.get(key) != new[key]]


def to_toml(config: Config) -> str:
    """The resolved tree as TOML; `resolve` gives the same tree back. A key that is none is left out."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))


def _read(config: str | Path | Mapping[str, Any]) -> tuple[str, Tree]:
    """Name and content of a preset, a file (with the preset it starts from) or a tree."""
    if isinstance(config, Mapping):
        return "config", {**config}
    known = presets()
    if str(config) in known:
        return f"preset {config}", _toml(known[str(config)])
    path = Path(config)
    if not path.is_file():
        raise unknown("preset or file", str(config), known)
    tree = _toml(path)
    if "preset" in tree:
        base = tree.pop("preset")
        if not isinstance(base, str) or base not in known:
            told = cut(base) if isinstance(base, str) else _shown(base)
            raise unknown("preset", told, known, where=f"{path}: ")
        tree = _merge(_toml(known[base]), tree)
    return str(path), tree


def _toml(path: Path) -> Tree:
    """A file's tree, within bounds: a long file, or a key of very many parts, can hold up the parser for hours."""
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST_FILE + 1)
        if len(content) > LONGEST_FILE:
            raise ValueError(f"it is longer than {LONGEST_FILE:,} bytes")
        text = content.decode()
        if _LONG_KEY.search(text):
            raise ValueError(f"a key has {MOST_PARTS} parts or more")
        return tomllib.loads(text)
    except RecursionError:
        raise InputError(f"{path}: not readable as TOML: too many brackets within each other") from None
    except (ValueError, OSError) as error:  # a number of thousands of digits is a ValueError, too
        raise InputError(f"{path}: not readable as TOML: {error}") from None


def _own_tables(tree: Tree, model: str, source: str) -> Tree:
    """`tree` without the tables of other models, which a preset may carry beside its own."""
    others = {table_name(n): n for n in models.entries if n != model and table_name(n) not in Config.model_fields}
    own: Tree = {}
    beside: dict[str, Mapping[str, Any]] = {}
    for key, value in tree.items():
        table = table_name(key)
        if table in others and not isinstance(value, Mapping):
            raise InputError(f"{source}: {key} is the table of model {others[table]}, not {_shown(value)}")
        if table == table_name(model):
            own[table] = value
        elif table not in others:
            own[key] = value
        else:
            if _built_in(others[table]):  # another's plug-in is not imported for this
                _check_keys({table: value}, config_type(others[table]), source)
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
    known = model_class(model).settings.model_fields if model_class(model).settings else {}
    extensions = [name for name in tables if _built_in(name) and model in lineage(name)]
    ground: Tree = {}
    for name in [*extensions, *reversed(lineage(model))]:
        ground |= {key: value for key, value in tables.get(name, {}).items() if key in known}
    return ground


def _built_in(model: str) -> bool:
    return models.entries[model].origin == "gan-zoo"


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> Tree:
    """Two trees as one; where both have a value, `above`'s."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _tables(kind: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """The fields of a tree that are tables themselves."""
    fields = {name: field.annotation for name, field in kind.model_fields.items()}
    return {n: t for n, t in fields.items() if isinstance(t, type) and issubclass(t, BaseModel)}


def leaves(kind: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted keys of all values in a tree."""
    tables = _tables(kind)
    for name in kind.model_fields:
        if name in tables:
            yield from leaves(tables[name], f"{prefix}{name}.")
        else:
            yield prefix + name


def _check_keys(tree: Mapping[str, Any], kind: type[BaseModel], source: str, prefix: str = "") -> None:
    """Refuse a key that the tree does not have, naming the nearest that it has."""
    where = f"{source}: " if source else ""
    for key, value in tree.items():
        if key not in kind.model_fields:
            if not prefix and isinstance(value, Mapping):
                raise unknown("table", key, _tables(kind), where=where)
            raise unknown("key", prefix + key, [prefix + name for name in kind.model_fields], where=where)
        table = _tables(kind).get(key)
        if table and not isinstance(value, table):
            if not isinstance(value, Mapping):
                raise InputError(f"{where}{prefix}{key} is a table, not {_shown(value)}")
            _check_keys(value, table, source, f"{prefix}{key}.")


def _expand(flags: Mapping[str, Any], kind: type[Config]) -> Tree:
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
        for part in reversed(dotted.split(".")):
            value = {part: value}
        tree = _merge(tree, value)
    return tree


def _one_line(error: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    shown = _shown(error["input"])
    if isinstance(error["input"], str):
        message = message.replace(repr(error["input"]), shown)
    return f"{cut(key)} = {shown}: {message[0].lower()}{message[1:]}"


def _shown(value: Any) -> str:
    """A value as a message shows it, which may be of any size and depth."""
    try:
        return _SHORT.repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python writes
        return f"a {type(value).__name__} too large to show"
