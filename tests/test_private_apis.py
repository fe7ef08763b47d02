"""The list of private APIs is complete, and each is there."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

from gan_zoo.private_apis import USED

ROOT = Path(__file__).parents[1]
SOURCES = [*(ROOT / "gan_zoo").rglob("*.py"), *(ROOT / "kernels").rglob("*.py")]


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def used(tree: ast.AST) -> set[str]:
    """The private names that a module takes from torch or tyro, dotted as far as they are private or above."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("torch", "tyro"):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        if isinstance(node, ast.Attribute) and ast.unparse(node).split(".")[0] in ("torch", "tyro"):
            names.add(ast.unparse(node))
    return {name for name in names if any(private(part) for part in name.split("."))}


def test_every_private_name_is_listed() -> None:
    names = {name for path in SOURCES for name in used(ast.parse(path.read_text(encoding="utf-8")))}
    assert {name for name in names if not any(name.startswith(one) or one.startswith(name) for one in USED)} == set()


def test_every_listed_name_is_there() -> None:
    for name in USED:
        if "DataLoader." in name:  # of an instance
            continue
        module, _, attribute = name.rpartition(".")
        assert hasattr(import_module(module), attribute), name
