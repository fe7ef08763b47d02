"""The notebook runs from top to bottom, its bounds hold, and it was saved with its outputs."""

from __future__ import annotations

import json
import math
import re
from base64 import b64decode
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs/notebooks/infogan.ipynb"
STEPS = 3
FIGURES = ("exact", "tight", "of_eq4", "worse", "too_sure", "exact_gaussian", "tight_gaussian", "fixed_gaussian")

PROGRESS = """from gan_zoo import terminal
terminal.PATIENCE = 0.0
for done in terminal.with_progress(range(3), 3, "decoding"):
    terminal.time.sleep(0.001)
with terminal.silent():
    list(terminal.with_progress(range(3), 3, "decoding"))
"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The notebook's cells after a short run, one with a line that moves, and one that prints some of its figures."""
    if not (find_spec("nbclient") and find_spec("ipykernel") and find_spec("matplotlib")):
        pytest.skip("needs a Jupyter kernel and matplotlib: pip install 'gan-zoo[plot]' nbclient ipykernel")
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    figures = f"import json; print(json.dumps({{name: globals()[name] for name in {FIGURES}}}))"
    notebook.cells += map(nbformat.v4.new_code_cell, (PROGRESS, figures))
    place = {"metadata": {"path": str(tmp_path_factory.mktemp("notebook"))}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAN_ZOO_STEPS", str(STEPS))
        NotebookClient(notebook, timeout=300, resources=place).execute()
    return list(notebook.cells)


def test_the_notebook_draws_its_figures(executed: list[Any]) -> None:
    outputs = [output for cell in executed for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 5 + 2  # and of two trainings


def test_the_bound_is_what_the_text_says(executed: list[Any]) -> None:
    figures = json.loads(executed[-1].outputs[0].text)
    assert figures["exact"] == pytest.approx(math.log(10) + 0.8 * math.log(0.8) + 0.2 * math.log(0.2 / 9))
    assert figures["tight"] == pytest.approx(figures["exact"], abs=0.02)  # five standard errors of 200,000 draws
    assert figures["of_eq4"] == pytest.approx(figures["exact"], abs=0.02)
    assert figures["worse"] < figures["exact"] - 0.1 and figures["too_sure"] < figures["exact"] - 0.1
    assert figures["tight_gaussian"] == pytest.approx(figures["exact_gaussian"], abs=0.02)
    assert figures["fixed_gaussian"] < 0.5 < figures["exact_gaussian"]


def test_a_training_shows_one_line_that_moves_and_its_newest_samples(executed: list[Any]) -> None:
    (training,) = [cell for cell in executed if "gan_zoo.train(" in cell.source and cell.cell_type == "code"]
    shown = [output.data for output in training.outputs if output.output_type == "display_data"]
    assert [data["text/plain"] for data in shown if "image/png" in data] == [f"samples, step {STEPS}"] * 2
    assert b64decode(next(data["image/png"] for data in shown if "image/png" in data)).startswith(b"\x89PNG")
    lines = [data["text/plain"] for data in shown if "image/png" not in data]
    assert len(lines) == 2  # a line for each of two trainings
    assert all(line.startswith(f"step {STEPS}/{STEPS}  ") and "L_I" in line for line in lines)
    printed = "".join(output.text for output in training.outputs if output.output_type == "stream")
    assert printed.count("\n") == 4  # where each lies, that the term does not fade in 3 steps, and the time of both
    assert "\x1b" not in printed


def test_the_notebook_names_the_setting_if_gan_zoo_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    first = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    code = re.sub(r"%pip install --quiet (.+)", r"asked.append(f'\1')", first)
    asked: list[str] = []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delenv("GAN_ZOO_SOURCE", raising=False)
    with pytest.raises(SystemExit, match="set SOURCE"):
        exec(code, {"asked": asked})
    assert not asked
    monkeypatch.setenv("GAN_ZOO_SOURCE", "dist/a.whl")
    exec(code, {"asked": asked})
    assert asked == ['"dist/a.whl"', "matplotlib"]


def test_what_takes_a_while_shows_one_line_that_moves(executed: list[Any]) -> None:
    (line,) = executed[-2].outputs
    assert line.output_type == "display_data"
    assert line.data == {"text/plain": "decoding 3/3"}


def test_the_notebook_was_saved_after_a_whole_run_and_is_small() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not [output for cell in code for output in cell["outputs"] if output["output_type"] == "error"]
    assert any("2 × 1200 steps, seed 0" in "".join(output.get("text", "")) for c in code for output in c["outputs"])
    assert NOTEBOOK.stat().st_size < 400_000
