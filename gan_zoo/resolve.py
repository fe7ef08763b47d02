"""Resolve a configuration from layers: defaults < the model's defaults < preset < file < flags; later ones win.

If another model is swapped into a configuration, in the file or on the command line, the values that the configuration
sets stay, and all others are the defaults of the new model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from pydantic import BaseModel, ValidationError, create_model

from gan_zoo.config import Config, Latent, TrunkSettings, table_name
from gan_zoo.config_text import network_notes, swap_notes
from gan_zoo.errors import InputError
from gan_zoo.registry import models, presets
from gan_zoo.sources import Layer, Source, defaults, read, recipe
from gan_zoo.trees import FLAG, Tree, check_keys, expand, flat, invalid, labelled, merge, quoted_value

DEFAULT_PRESET = "mnist-5k"
PRESET_OF = {"sprites": "sprites-32", "dsprites": "sprites-32"}
"""Presets of datasets that have another name than the preset."""
FALLBACK_PRESET = "folder-64"
MODEL_INDEPENDENT = ("data", "training", "logging")
"""The tables of a preset that also apply to models for which it was not written."""


@dataclass(frozen=True)
class Resolved:
    """A configuration and how it was resolved.

    Args:
        config: The configuration.
        origins: The origin of each value by dotted key: a layer's origin or `flag`. A missing key has its default.
        notes: Decisions that the user did not ask for, one line each.
    """

    config: Config
    origins: Mapping[str, str]
    notes: tuple[str, ...] = ()


def lineage(model: str) -> list[str]:
    """The chain of models that `model` extends, beginning with itself."""
    names = [model]
    while (base := recipe(names[-1]).extends) and base not in names:
        names.append(models.check(base, where=f"model {names[-1]!r} extends an "))
    return names


def config_type(model: str) -> type[Config]:
    """The type of a configuration of `model`: the shared tables, and the model's table if it has one."""
    settings = recipe(model).settings
    return Config if settings is None else _with_table(table_name(model), settings)


@cache  # one type, so that equal configurations compare equal
def _with_table(name: str, settings: type[BaseModel]) -> type[Config]:
    table: Any = {name: (settings, settings())}
    return cast(type[Config], create_model("Config", __base__=_Extended, __doc__=Config.__doc__, **table))


class _Extended(Config):
    """A configuration with a model's table. Its type cannot be imported, so a pickle stores the model's name."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.model_dump(),)


def _unpickled(tree: Tree) -> Config:
    return config_type(tree["model"]).model_validate(tree)


def resolve(
    model: str | None = None, config: Source | None = None, overrides: Mapping[str, Any] | None = None
) -> Config:
    """Resolve a configuration.

    Args:
        model: A model's name; defaults to the one that `config` names, and takes precedence over it.
        config: The name of a preset or a model, a TOML file, or a nested mapping. Defaults to the preset that fits
            the data, `mnist-5k` for the bundled digits.
        overrides: Values by dotted key (`training.steps`), by the last part of a key if it is unique (`steps`), or
            tables by name; the flags of the command line.

    Raises:
        InputError: For an unknown key, an invalid value, or a missing file.
    """
    return trace(model, config, overrides).config


def trace(
    model: str | None = None,
    config: Source | None = None,
    overrides: Mapping[str, Any] | None = None,
    networks: Layer | None = None,
) -> Resolved:
    """As `resolve`, with the origin of each value and notes for the user.

    Args:
        model: As for `resolve`.
        config: As for `resolve`.
        overrides: As for `resolve`.
        networks: The networks of a trained model to start at, which override presets, but not files and flags; see
            `networks_of`.
    """
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
            notes = [*swap_notes(name, written_for, layers, flags)]
        layers = [defaults(name), *layers]
    kind = config_type(name)
    check_keys(flags, kind, "")
    above = Layer(FLAG, flags)
    if networks:
        without, _ = _stacked([*layers, above], name)
        stated = [layer for layer in layers if layer.origin.startswith(("file ", "config"))]
        layers = [*(layer for layer in layers if layer not in stated), networks, *stated]
    values, origins = _stacked([*layers, above], name)
    if networks:
        theirs, _ = _stacked([networks, networks], name)
        assumed = merge(kind(model=name).model_dump(), without)
        notes = [*notes, *network_notes(networks.origin, flat(theirs), flat(assumed), flat(values))]
    try:
        filled = kind.model_validate(values | {"model": name})
    except ValidationError as error:
        raise invalid(error, origins) from None
    return Resolved(filled, flat(origins) | ({"model": FLAG} if model else {}), tuple(notes))


def networks_of(config: Config, origin: str) -> Layer:
    """The layer of the settings that a model's weights depend on."""
    table = table_name(config.model)
    keys = {"data": ("resolution",), "latent": Latent.model_fields, "trunk": TrunkSettings.model_fields}
    keys[table] = recipe(config.model).networks
    tree = config.model_dump(exclude_none=True)
    taken = {name: {key: tree[name][key] for key in keys[name] if key in tree.get(name, {})} for name in keys}
    del taken["trunk"]["freeze_d"]
    return Layer(origin, {name: values for name, values in taken.items() if values})


def _written_for(layers: Sequence[Layer], model: str | None) -> str:
    """The model that a configuration names, or else `model`."""
    source = layers[-1].origin.removeprefix("file ")
    written_for = next((layer.tree["model"] for layer in reversed(layers) if "model" in layer.tree), model)
    if not isinstance(written_for, str):
        what = "names no model" if written_for is None else f"has model = {quoted_value(written_for)}"
        raise InputError(f"{source} {what}; choose one of {', '.join(models.entries)}")
    return models.check(written_for, where=f"{source}: ")


def _of_preset(name: str) -> Tree:
    (layer,) = read(name)
    return layer.tree


def _fitting(model: str, data: Any) -> tuple[list[Layer], list[str]]:
    """The layers if no configuration is named: the model's defaults, and the preset that fits the data.

    A preset applies as a whole to the model it was written for, to models that extend that, and to models whose table
    it has. For another model, only its model-independent tables apply, below the model's defaults. Its [data] applies
    to its own dataset only.
    """
    name = data.get("name", DEFAULT_PRESET) if isinstance(data, Mapping) else DEFAULT_PRESET
    preset, limits = _preset_of(str(name)), ""
    if preset == DEFAULT_PRESET:
        preset = recipe(model).preset or preset
    tree = _of_preset(preset)
    if tree["data"]["name"] != name or preset == FALLBACK_PRESET:
        del tree["data"]
        limits = " without its [data]"
    model_defaults = defaults(model)
    if tree["model"] in lineage(model) or table_name(model) in map(table_name, tree):
        layers = [model_defaults, Layer(f"preset {preset}", tree)]
    else:
        kept = {table: tree[table] for table in MODEL_INDEPENDENT if table in tree}
        layers = [Layer(f"preset {preset}", kept), model_defaults]
        limits = f", only its {' and '.join(f'[{table}]' for table in kept)}"
    return layers, [] if preset == DEFAULT_PRESET else [f"no --config given: using preset {preset}{limits}"]


def _preset_of(data: str) -> str:
    """The preset of a dataset: its own, or the one for a user's images."""
    if data in presets() and _of_preset(data)["data"]["name"] == data:
        return data
    return PRESET_OF.get(data, FALLBACK_PRESET)


def _stacked(layers: Sequence[Layer], model: str) -> tuple[Tree, Tree]:
    """The layers merged into a tree of values for `model`, and the tree of their origins."""
    values: Tree = {}
    origins: Tree = {}
    source = layers[-2].origin.removeprefix("file ")
    kind = config_type(model)
    for layer in layers:
        tree = _with_table_names(layer)
        values, origins = merge(values, tree), merge(origins, labelled(tree, layer.origin))
    values = _with_model_table(values, model, source)
    check_keys(values, kind, source)
    return values, _with_model_table(origins, model, source)


def _with_table_names(layer: Layer) -> Tree:
    """The tree of a layer, with the tables of models under one name each: `infogan_cr` for `infogan-cr`, too."""
    known = {table_name(name) for name in models.entries}
    tree: Tree = {}
    for key, value in layer.tree.items():
        name = table_name(key) if table_name(key) in known else key
        if name in tree:
            raise InputError(f"{layer.origin.removeprefix('file ')} has two tables {key} and {name}; keep one")
        tree[name] = value
    return tree


def _with_model_table(tree: Tree, model: str, source: str) -> Tree:
    """`tree` without the tables of other models; what related models set is moved into the table of `model`."""
    others = {table_name(n): n for n in models.entries if n != model and table_name(n) not in Config.model_fields}
    kept: Tree = {}
    removed: dict[str, Mapping[str, Any]] = {}
    for key, value in tree.items():
        if key not in others:
            kept[key] = value
            continue
        if not isinstance(value, Mapping):
            raise InputError(f"{source}: {key} is the table of model {others[key]}, not {quoted_value(value)}")
        if _built_in(others[key]):  # do not import a plug-in for this check
            check_keys({key: value}, config_type(others[key]), source)
        removed[others[key]] = value
    explicit = kept.get(table_name(model), {})
    if (inherited := _inherited(removed, model)) and isinstance(explicit, Mapping):
        kept[table_name(model)] = inherited | {**explicit}
    return kept


def _inherited(tables: Mapping[str, Mapping[str, Any]], model: str) -> Tree:
    """The values of related models' tables for the keys of `model`; the nearest relative wins.

    Works in both directions: InfoGAN's codes also apply to its extensions, and an extension's to InfoGAN.
    """
    settings = recipe(model).settings
    keys = settings.model_fields if settings else {}
    extensions = [name for name in tables if _built_in(name) and model in lineage(name)]
    inherited: Tree = {}
    for name in [*extensions, *reversed(lineage(model))]:
        inherited |= {key: value for key, value in tables.get(name, {}).items() if key in keys}
    return inherited


def _built_in(model: str) -> bool:
    return models.entries[model].origin == "gan-zoo"
