"""Names say what a thing is; these words were each used for several."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BANNED = {"told", "found", "said", "own", "held"}
TERMS = {"held_out", "found_inf"}
"""The field's and torch's."""


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The names that a module defines or uses, with their lines."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name) | ast.Name(id=name) | ast.Attribute(attr=name):
                yield node.lineno, name


@pytest.mark.parametrize("package", ["gan_zoo", "kernels", "benchmarks", "examples"])
def test_no_name_is_one_of_the_words_that_mean_several_things(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    assert not [
        f"{file.relative_to(ROOT)}:{line}: {name}"
        for file in files
        for line, name in names(ast.parse(file.read_text(encoding="utf-8")))
        if name.lower() not in TERMS and BANNED.intersection(name.strip("_").lower().split("_"))
    ]
