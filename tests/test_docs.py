"""Generated pages are up to date, and the site builds without a warning."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gan_zoo.registry import losses, models

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, generated in a new process whose terminal has a fixed width."""
    folder = tmp_path_factory.mktemp("docs")
    code = (
        "import sys, pathlib, runpy; sys.path.insert(0, str(pathlib.Path(sys.argv[1]).parent)); "
        "made = runpy.run_path(sys.argv[1]); "
        "pathlib.Path(sys.argv[2], 'models').mkdir(); "
        "[pathlib.Path(sys.argv[2], name).write_text(page(), encoding='utf-8') for name, page in made['PAGES'].items()]"
    )
    subprocess.run([sys.executable, "-c", code, str(ROOT / "docs/generate.py"), str(folder)], check=True, cwd=ROOT)
    return folder


MODELS = [name for name, entry in models.entries.items() if entry.origin == "gan-zoo"]
PAGES = ["commands.md", "configuration.md", "models.md", *(f"models/{name}.md" for name in MODELS)]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_the_reference_is_what_the_code_says(name: str, pages: Path) -> None:
    assert (ROOT / "docs/reference" / name).read_text(encoding="utf-8") == (pages / name).read_text(encoding="utf-8")


def test_every_key_has_a_line_that_tells_what_it_is() -> None:
    rows = [
        line for line in (ROOT / "docs/reference/configuration.md").read_text().splitlines() if line.startswith("| `")
    ]
    assert len(rows) > 60
    assert not [row for row in rows if row.endswith("|  |")]


def test_the_pages_are_those_of_the_models_and_stand_in_the_navigation() -> None:
    assert {path.stem for path in (ROOT / "docs/reference/models").glob("*.md")} == set(MODELS)
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("nav:")[2]
    assert not [page for page in PAGES if f"reference/{page}\n" not in navigation]


def test_every_loss_has_its_equations() -> None:
    of_here = {name for name, entry in losses.entries.items() if entry.origin == "gan-zoo"}
    assert set(module("equations").LOSSES) == of_here


def test_links_out_of_the_docs_become_text() -> None:
    hooks, page = module("hooks"), SimpleNamespace(file=SimpleNamespace(src_uri="a.md"))
    text = "see [test_a.py](../tests/test_a.py), [b](b.md) and [`c`](c.ipynb)"
    assert hooks.on_page_markdown(text, page=page) == "see `test_a.py`, [b](b.md) and [`c`](c.md)"
    page.file.src_uri = "models/a.md"
    assert hooks.on_page_markdown("[m](../../m.py) [b](../b.md#x)", page=page) == "`m` [b](../b.md#x)"


def module(name: str) -> Any:
    """A script of docs/ as a module."""
    spec = spec_from_file_location(name, ROOT / f"docs/{name}.py")
    assert spec is not None and spec.loader is not None
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


DRAWN = ("method", "notebooks/infogan", "reference/models/infogan")
"""Pages with formulas."""


@pytest.mark.skipif(
    not (find_spec("mkdocs") and find_spec("latex2mathml")), reason="needs the extra: pip install 'gan-zoo[docs]'"
)
def test_the_site_builds_without_a_warning_and_loads_nothing_from_afar(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    site = {page: (tmp_path / "site" / page / "index.html").read_text(encoding="utf-8") for page in DRAWN}
    for text in site.values():
        assert 'src="http' not in text
        assert "fonts.googleapis" not in text
        assert "<math" in text and "arithmatex" not in text
    pictures = sorted(path.name for path in (tmp_path / "site/notebooks").rglob("*.png"))
    assert len(pictures) == 7
    assert all(name in site["notebooks/infogan"] for name in pictures)
