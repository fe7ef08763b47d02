"""Imports go downward only, through the layers of docs/design.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOMES = {"gan_zoo": ROOT, "gan_zoo_kernels": ROOT / "kernels"}
"""Where each package lies."""
MODULES = [file for name, home in HOMES.items() for file in sorted((home / name).rglob("*.py"))]


def floors() -> dict[str, int]:
    """The paths that the block names, a folder with its slash, and the floor of each, counted from the top."""
    (block,) = re.findall(r"^```\n(.*?)^```", (ROOT / "docs/design.md").read_text(encoding="utf-8"), re.M | re.S)
    found = {}
    for number, line in enumerate(line for line in block.splitlines() if line[0] != " "):
        first, *others = re.match(r"\S+(?: \w+\.py)*", line)[0].split()
        found |= dict.fromkeys([first, *(f"{Path(first).parent}/{other}" for other in others)], number)
    return found


FLOORS = floors()


@cache
def floor_of(module: Path) -> int | None:
    """A module's floor: its own, else its folder's, else that of the folders beside it."""
    path = module.relative_to(ROOT)
    folders = [f"{folder.as_posix()}/" for folder in path.parents]
    beside = f"{Path(*path.parts[:2]).as_posix()}/<name>/"
    return next((FLOORS[name] for name in (path.as_posix(), *folders, beside) if name in FLOORS), None)


def imports(tree: ast.AST, package: list[str]) -> Iterator[str]:
    """The dotted names that a module of `package` imports, also within a function, but not for its types alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            yield from (".".join([*above, *filter(None, [node.module]), alias.name]) for alias in node.names)
        if not isinstance(node, ast.expr):
            yield from imports(node, package)


@cache
def module_of(name: str) -> Path | None:
    """The file that a dotted name leads to, if it is one of the project's."""
    parts = name.split(".")
    if parts[0] not in HOMES or name == "gan_zoo.__version__":  # a text, which is there before any floor
        return None
    for end in range(len(parts), 0, -1):
        place = HOMES[parts[0]].joinpath(*parts[:end])
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return file
    return None


def test_every_module_stands_on_a_floor_and_every_floor_is_there() -> None:
    assert [str(module) for module in MODULES if floor_of(module) is None] == []
    assert [name for name in FLOORS if "<" not in name and not (ROOT / name).exists()] == []


def test_imports_run_downward() -> None:
    upward = []
    for module in MODULES:
        path = module.relative_to(ROOT)
        package = [part for part in path.parent.parts if part != "kernels"]
        for name in imports(ast.parse(module.read_text(encoding="utf-8")), package):
            target = module_of(name)
            if target and floor_of(target) < floor_of(module):
                upward.append(f"{path} imports {name}")
    assert upward == []
