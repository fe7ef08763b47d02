"""The reading path of docs/design.md and docs/one_batch.md names files and functions that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DESIGN = (ROOT / "docs/design.md").read_text(encoding="utf-8")
STEPS = sorted(set(re.findall(r"`([\w/]+\.py)`:\s+`([\w.]+)`", (ROOT / "docs/one_batch.md").read_text("utf-8"))))


def test_the_six_files_to_read_first_have_as_many_lines_as_stated() -> None:
    introduction = DESIGN.partition("## ")[0]
    files = re.findall(r"^\d\. \[(\S+)\]\(\.\./\1\)", introduction, re.MULTILINE)
    stated = int(re.search(r"six files, ([\d,]+) lines", introduction)[1].replace(",", ""))
    assert len(files) == 6
    assert files[0] == "examples/infogan.py"
    assert sum(len((ROOT / file).read_text("utf-8").splitlines()) for file in files) == pytest.approx(stated, abs=100)


def test_the_page_names_enough_steps() -> None:
    assert len(STEPS) > 30


@pytest.mark.parametrize(("file", "name"), STEPS)
def test_a_step_of_the_page_is_in_the_code(file: str, name: str) -> None:
    node: ast.AST = ast.parse((ROOT / file).read_text("utf-8"))
    for part in name.split("."):
        matches = [child for child in ast.iter_child_nodes(node) if getattr(child, "name", None) == part]
        assert matches, f"docs/one_batch.md: {file} defines no {name}"
        node = matches[0]
