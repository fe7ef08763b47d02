"""The tour shows every command, and its output has the shape of today's."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gan_zoo.cli import COMMANDS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/tour.md").read_text(encoding="utf-8")
SHOWN = dict(re.findall(r"^## (\w+)\n.*?^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
"""What stands in the page's blocks, by command."""

CHEAP = ("models", "trunks", "datasets", "loggers", "configs", "weights", "completion")
NOW = """
import runpy, sys, json
made = runpy.run_path(sys.argv[1])
names = {stop.command for stop in made["STOPS"]}
taken = made["tour"](without=names - {*sys.argv[2:]})
said = {stop.command: "\\n".join(f"$ {line}\\n{printed}" for line, printed in lines) for stop, lines in taken}
typed = [line.format(**made["lengths"]()) for stop in made["STOPS"] for line in stop.lines]
print(json.dumps(said | {"typed": typed}))
"""

AGAIN = """
import runpy, sys, json
from gan_zoo.analysis import classifier
classifier.EPOCHS, classifier.LEAST_STEPS = 0, 15
made = runpy.run_path(sys.argv[1])
taken = made["tour"](3, without=("explore",))
said = {stop.command: "\\n".join(f"$ {line}\\n{printed}" for line, printed in lines) for stop, lines in taken}
shapes = [{name: made["shape"](text) for name, text in texts.items()} for texts in (said, json.loads(sys.argv[2]))]
json.dump(shapes, open("shapes.json", "w"))
"""


def test_the_tour_shows_every_command() -> None:
    assert set(SHOWN) == {*COMMANDS, "train"}
    assert all(f"$ gan-zoo {command}" in text for command, text in SHOWN.items())


def test_the_tour_shows_what_its_script_types_and_what_the_quick_commands_print(tmp_path: Path) -> None:
    command = [sys.executable, "-c", NOW, ROOT / "docs/tour.py", *CHEAP]
    now = json.loads(subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout)
    assert now["typed"] == [line[2:] for text in SHOWN.values() for line in text.splitlines() if line[:2] == "$ "]
    for name in CHEAP:
        printed, shown = ([" ".join(line.split()) for line in text.splitlines()] for text in (now[name], SHOWN[name]))
        assert [line for line in shown if line not in printed] == [], name  # a plug-in that is installed adds some


@pytest.mark.slow
def test_the_commands_of_the_tour_print_what_it_shows_but_for_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if torch.cuda.is_available():
        pytest.skip("the page shows a CPU")
    monkeypatch.setenv("GAN_ZOO_CACHE", str(tmp_path / ".cache"))
    command = [sys.executable, "-c", AGAIN, ROOT / "docs/tour.py", json.dumps(SHOWN)]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=600)
    now, page = json.loads((tmp_path / "shapes.json").read_text(encoding="utf-8"))
    for name, lines in now.items():
        assert lines == page[name], name
