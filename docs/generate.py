"""Write docs/reference/ from the types, the registry and the commands. `make docs` runs it."""

from __future__ import annotations

import ast
import inspect
import io
import os
import re
import textwrap
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

os.environ |= {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}

import tomli_w
from equations import INSTEAD, LOSSES, PENALTIES, TERMS
from pydantic import BaseModel

from gan_zoo import cli, registry
from gan_zoo.config import Config
from gan_zoo.resolve import resolve, table_name
from gan_zoo.sources import recipe

HERE = Path(__file__).parent / "reference"
WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "none"}
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{5})")
LISTS = ("models", "trunks", "datasets", "loggers", "configs", "weights")


def docstrings(kind: type[BaseModel]) -> dict[str, str]:
    """The docstring of each field of a settings type, from its source."""
    (body,) = (node.body for node in ast.parse(textwrap.dedent(inspect.getsource(kind))).body)  # type: ignore[attr-defined]
    texts = {}
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            texts[ast.unparse(field.target)] = " ".join(str(below.value.value).split())
    return texts


INTRODUCTION = """# Configuration

Every key of the configuration, generated from its types. A key is a flag of `gan-zoo train` (`--training.steps 200`),
a line of a TOML file (`steps = 200` below `[training]`), and a keyword of `gan_zoo.train` (`steps=200`). Later layers
win: defaults, the model's defaults, preset, file, flags.
"""
SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def limits(metadata: Iterable[Any]) -> str:
    """Bounds on a number, in signs."""
    bounds = (bound for item in metadata for bound in getattr(item, "metadata", [item]))
    signs = [
        f"{sign} {getattr(bound, name):g}" for bound in bounds for name, sign in SIGNS.items() if hasattr(bound, name)
    ]
    return " ".join(["", *signs])


def accepted(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """What a type accepts, in words."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return accepted(parts[0], parts[1:])
    if origin in (Union, UnionType):
        return " or ".join(accepted(part) for part in parts)
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin is tuple:
        return f"several: {accepted(parts[0])}"
    return f"{WORDS.get(annotation, annotation)}{limits(metadata)}"


def table(kind: type[BaseModel], prefix: str) -> list[str]:
    """The keys of one table, a row each."""
    descriptions = {}
    for base in reversed(kind.__mro__):
        if issubclass(base, BaseModel) and base.__module__.startswith("gan_zoo"):
            descriptions |= docstrings(base)
    rows = ["| key | accepted | default | |", "| --- | --- | --- | --- |"]
    for name, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            continue
        default = "" if field.is_required() else f"`{field.default!r}`"
        description = descriptions.get(name, "").replace("|", r"\|")
        rows.append(f"| `{prefix}{name}` | {accepted(field.annotation, field.metadata)} | {default} | {description} |")
    return rows


def configuration() -> str:
    """Every key of the tree."""
    lines = [INTRODUCTION, *table(Config, "")]
    for name, field in Config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            lines += [
                "",
                f"## [{name}]",
                "",
                inspect.getdoc(field.annotation) or "",
                "",
                *table(field.annotation, f"{name}."),
            ]
    for model in registry.models.entries:
        settings = recipe(model).settings
        if settings is not None:
            table_key = table_name(model)
            lines += [
                "",
                f"## [{table_key}]",
                "",
                inspect.getdoc(settings) or "",
                "",
                *table(settings, f"{table_key}."),
            ]
    return "\n".join(lines) + "\n"


def models() -> str:
    """The models, a line each."""
    lines = [
        "# Models",
        "",
        "Train one with `gan-zoo train NAME`, on any preset.",
        "",
        "| model | |",
        "| --- | --- |",
    ]
    lines += [f"| [{name}](models/{name}.md) | {registry.models.entries[name].summary} |" for name in built_in()]
    return "\n".join(lines) + "\n"


def built_in() -> list[str]:
    """The models of this package, whatever else is installed here."""
    return [name for name, entry in registry.models.entries.items() if entry.origin == "gan-zoo"]


def model(name: str) -> str:
    """The page of one model."""
    kind, table_key = registry.models.get(name), table_name(name)
    paragraphs = [part for part in (inspect.getdoc(kind) or "").split("\n\n") if not part.startswith("Args:")]
    parts = [f"# {name}", f"*{registry.models.entries[name].summary}*"]
    parts += [ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", part) for part in paragraphs]
    if kind.extends:
        parts.append(
            f"Extends [{kind.extends}]({kind.extends}.md): values in that model's table apply to this one, too."
        )
    parts += [f"```console\n$ gan-zoo train {name}\n```", *objective(name)]
    if kind.defaults:
        defaults = tomli_w.dumps(dict(kind.defaults)).strip()
        parts += ["## Defaults", f"```toml\n{defaults}\n```"]
    code = [f"- {place(kind)}"]
    if kind.settings is not None:
        parts += [f"## Settings: [{table_key}]", inspect.getdoc(kind.settings) or ""]
        parts.append("\n".join(table(kind.settings, f"{table_key}.")))
        code.append(f"- {place(kind.settings)}: the settings")
    return "\n\n".join([*parts, "## Presets", *suiting(name), "## Code", "\n".join(code)]) + "\n"


def place(kind: type) -> str:
    """The file in which a class stands, and its name."""
    return f"`{kind.__module__.replace('.', '/')}.py`, `{kind.__name__}`"


def objective(name: str) -> list[str]:
    """What D and G minimise by default."""
    loss = resolve(name, {}).loss
    discriminator, generator = LOSSES[loss.adversarial]
    for penalty, formula in PENALTIES.items():
        if weight := getattr(loss, penalty):
            discriminator += " + " + formula if weight == 1 else rf" + {weight:g} \, {formula}"
    of_d, of_g, letters = TERMS.get(name, ("", "", ""))
    if name in INSTEAD:
        discriminator, generator, letters = INSTEAD[name]
    begin = "D minimises" if name in INSTEAD else "With its default losses, D minimises"
    parts = ["## Objective", begin, f"$$\n{discriminator}{of_d}\n$$"]
    parts += ["and G", f"$$\n{generator}{of_g}\n$$", letters]
    if loss.gradient_penalty:
        parts.append(r"where $\hat x = \epsilon x + (1 - \epsilon) G(z)$, ε uniform in [0, 1].")
    return [part for part in parts if part]


def suiting(name: str) -> list[str]:
    """The presets that were written for a model, or for the one that it extends."""
    for written_for in (name, recipe(name).extends):
        rows = [
            f"- `{preset}`: {path.read_text(encoding='utf-8').partition(chr(10))[0][2:]}"
            for preset, path in registry.presets().items()
            if resolve(config=preset).model == written_for
        ]
        if rows:
            return [
                f"Works with any preset, whose values override the defaults. Written for {written_for}:",
                "\n".join(rows),
            ]
    return ["Works with any preset, whose values override the defaults. `gan-zoo configs` lists them."]


def output_of(*args: str) -> str:
    """The output of a command."""
    out = io.StringIO()
    with redirect_stdout(out), suppress(SystemExit):
        cli.main(args)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip()


def commands() -> str:
    """The help of each command, and the output of the lists."""
    lines = [
        "# Commands",
        "",
        "The output of `gan-zoo COMMAND --help`. `gan-zoo train MODEL --help` shows every key; see",
        "[Configuration](configuration.md).",
    ]
    for name in sorted({*cli.COMMANDS} - {"train"}):
        lines += ["", f"## {name}", "", "```text", output_of(name, "--help"), "```"]
        if name in LISTS:
            lines += ["", "```console", f"$ gan-zoo {name}", output_of(name), "```"]
    return "\n".join(lines) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "configuration.md": configuration,
    "models.md": models,
    "commands.md": commands,
    **{f"models/{name}.md": partial(model, name) for name in built_in()},
}


def main() -> None:
    """Write the pages."""
    (HERE / "models").mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
