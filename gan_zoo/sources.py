"""The layers of a configuration: models' defaults, presets, files."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_zoo.config import Config, table_name
from gan_zoo.errors import InputError, cut, unknown
from gan_zoo.files import read_text
from gan_zoo.registry import models, presets
from gan_zoo.trees import Tree, quoted_value

Source = str | Path | Mapping[str, Any]
"""A configuration: the name of a preset or a model, a TOML file, or a tree."""

LONGEST_FILE = 2**18
MOST_KEY_PARTS = 16

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*"""
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_PART}){{{MOST_KEY_PARTS}}}")


@dataclass(frozen=True)
class Layer:
    """Values that override those of lower layers.

    Args:
        origin: Their origin: `model sngan`, `preset mnist-5k`, `file mine.toml`, `config` for a tree.
        tree: The values.
    """

    origin: str
    tree: Tree


def recipe(model: str) -> Any:
    """The `gan_zoo.config.Recipe` of a model; of a plug-in, the model's class.

    Raises:
        InputError: If the plug-in's object is not a model, or the model has the name of a shared table.
    """
    brought, origin = models.recipe(model), models.entries[model].origin
    if not (hasattr(brought, "defaults") and hasattr(brought, "settings")):
        raise InputError(f"model {model!r} from {origin} is {brought!r}; it must be a class derived from gan_zoo's GAN")
    if table_name(model) in Config.model_fields:
        raise InputError(f"model {model!r} from {origin} has the name of a table of every configuration; rename it")
    return brought


def defaults(model: str) -> Layer:
    """The layer of a model's defaults."""
    return Layer(f"model {model}", dict(recipe(model).defaults))


def read(config: Source) -> list[Layer]:
    """The layers of a configuration, the lowest first: the preset that its key `preset` names, and its own.

    Args:
        config: The configuration.
    """
    if isinstance(config, Mapping):
        return _on_its_base("config", {**config})
    if layer := _named(str(config)):
        return [layer]
    path = Path(config)
    if not path.is_file():
        raise unknown("preset, model or file", str(config), [*presets(), *models.entries])
    return _on_its_base(f"file {path}", _toml(path))


def _on_its_base(origin: str, tree: Tree) -> list[Layer]:
    """A layer, above the preset or model that its key `preset` names."""
    if "preset" not in tree:
        return [Layer(origin, tree)]
    base = tree.pop("preset")
    below = _named(base) if isinstance(base, str) else None
    if below is None:
        name = cut(base) if isinstance(base, str) else quoted_value(base)
        raise unknown("preset", name, [*presets(), *models.entries], where=f"{origin.removeprefix('file ')}: ")
    return [below, Layer(origin, tree)]


def _named(name: str) -> Layer | None:
    """The layer of a preset, or of a model's name and defaults."""
    if path := presets().get(name):
        return Layer(f"preset {name}", _toml(path))
    if name not in models.entries:
        return None
    layer = defaults(name)
    return Layer(layer.origin, {"model": name, **layer.tree})


def _toml(path: Path) -> Tree:
    """Read a file, within bounds: a huge file, or a key of very many parts, can block the parser for hours."""
    try:
        text = read_text(path, LONGEST_FILE)
        if _LONG_KEY.search(text):
            raise ValueError(f"a key has {MOST_KEY_PARTS} parts or more")
        return tomllib.loads(text)
    except RecursionError:
        raise InputError(f"{path}: not readable as TOML: brackets are nested too deeply") from None
    except (ValueError, OSError) as error:  # also a number of thousands of digits
        raise InputError(f"{path}: not readable as TOML: {error}") from None
