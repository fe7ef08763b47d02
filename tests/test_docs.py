"""The pages that are made from the code are those that the code makes, and the site builds without a warning."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, written anew in a process of its own, whose terminal has a fixed width."""
    folder = tmp_path_factory.mktemp("docs")
    code = (
        "import sys, pathlib, runpy; made = runpy.run_path(sys.argv[1]); "
        "[pathlib.Path(sys.argv[2], name).write_text(page(), encoding='utf-8') for name, page in made['PAGES'].items()]"
    )
    subprocess.run([sys.executable, "-c", code, str(ROOT / "docs/generate.py"), str(folder)], check=True, cwd=ROOT)
    return folder


@pytest.mark.parametrize("name", ["commands.md", "configuration.md", "models.md"])
def test_a_page_of_the_reference_is_what_the_code_says(name: str, pages: Path) -> None:
    assert (ROOT / "docs/reference" / name).read_text(encoding="utf-8") == (pages / name).read_text(encoding="utf-8")


def test_every_key_has_a_line_that_tells_what_it_is() -> None:
    rows = [
        line for line in (ROOT / "docs/reference/configuration.md").read_text().splitlines() if line.startswith("| `")
    ]
    assert len(rows) > 60
    assert not [row for row in rows if row.endswith("|  |")]


def test_links_out_of_the_docs_become_text() -> None:
    spec = spec_from_file_location("hooks", ROOT / "docs/hooks.py")
    assert spec is not None and spec.loader is not None
    hooks: Any = module_from_spec(spec)
    spec.loader.exec_module(hooks)
    assert (
        hooks.on_page_markdown("see [test_a.py](../tests/test_a.py) and [b](b.md)") == "see `test_a.py` and [b](b.md)"
    )


@pytest.mark.skipif(find_spec("mkdocs") is None, reason="needs the extra: pip install 'gan-zoo[docs]'")
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
    text = (tmp_path / "site/method/index.html").read_text()
    assert 'src="http' not in text
    assert "fonts.googleapis" not in text
