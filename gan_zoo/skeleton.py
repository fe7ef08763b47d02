"""`gan-zoo new model NAME`: the model of examples/gan_zoo_plugin as a distribution of another name."""

from __future__ import annotations

import re
from importlib import resources
from keyword import iskeyword
from pathlib import Path

from gan_zoo.config import Config, table_name
from gan_zoo.errors import InputError, cut
from gan_zoo.files import write_text
from gan_zoo.registry import models

FILES = (
    "pyproject.toml", "README.md", "gan_zoo_plugin/__init__.py", "gan_zoo_plugin/model.py", "tests/test_calm_gan.py"
)  # fmt: skip
OTHER_ENTRY_POINTS = re.compile(r'\[project\.entry-points\."gan_zoo\.(?!models")\w+"\]\n.*?\n\n', re.DOTALL)
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def new_model(name: str, parent: Path) -> Path:
    """Write a distribution with the model `name` into `parent`/gan_zoo_NAME, and return that folder.

    Raises:
        InputError: If the name is invalid or taken, or the folder exists.
    """
    if not NAME.fullmatch(name) or len(name) > 40:
        raise InputError(
            f"new model {cut(name)!r}: a name is at most 40 lower-case letters, digits and hyphens, and starts with a "
            "letter, as in my-gan"
        )
    if name in models.entries:
        raise InputError(f"new model {name!r}: {models.entries[name].origin} already has a model of that name")
    table = table_name(name)
    if iskeyword(table) or table in Config.model_fields:
        what = "a keyword of Python" if iskeyword(table) else "a key of every configuration"
        raise InputError(f"new model {name!r}: the name is {what}; choose another")
    package = f"gan_zoo_{table}"
    folder = parent / package
    if folder.exists() or folder.is_symlink():
        raise InputError(f"{folder} already exists; choose another name, or another folder with --out")
    words = {
        "gan_zoo_plugin": package,
        "gan-zoo-plugin": f"gan-zoo-{name}",
        "calm-gan": name,
        "calm_gan": table,
        "CalmGAN": "Model",
        "CalmSettings": "ModelSettings",
    }
    for path in FILES:
        text = OTHER_ENTRY_POINTS.sub("", (example() / path).read_text(encoding="utf-8"))
        write_text(_replaced(text, words), folder / _replaced(path, words))
    return folder


def example() -> Path:
    """The example plug-in: in a wheel, a folder of the package; in a checkout, examples/gan_zoo_plugin."""
    packaged = Path(str(resources.files("gan_zoo") / "plugin_example"))
    return packaged if packaged.is_dir() else Path(__file__).parents[1] / "examples" / "gan_zoo_plugin"


def _replaced(text: str, words: dict[str, str]) -> str:
    return re.sub("|".join(words), lambda match: words[match[0]], text)
