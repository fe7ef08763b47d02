"""`gan-zoo new model NAME` writes a distribution that installs, trains and passes its own test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commandline import pip_install, zoo, zoo_process


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder that `new model` wrote, and the place that pip installed it to."""
    place = tmp_path_factory.mktemp("new")
    ended = zoo("new", "model", "my-gan", "--out", place)
    assert ended.code == 0, ended.err
    folder = place / "gan_zoo_my_gan"
    assert ended.out.startswith(f"{folder}: ")
    pip_install(folder, place / "site")
    return folder, place / "site"


def test_the_skeleton_is_a_few_short_files(written: tuple[Path, Path]) -> None:
    folder, _ = written
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "README.md", "pyproject.toml", "gan_zoo_my_gan/__init__.py", "gan_zoo_my_gan/model.py", "tests/test_my_gan.py"
    }  # fmt: skip
    assert "{" not in (folder / "pyproject.toml").read_text()


def test_the_skeleton_is_listed_and_passes_its_own_test(written: tuple[Path, Path]) -> None:
    folder, site = written
    listed = zoo_process("models", PYTHONPATH=str(site)).out
    assert any(line.startswith("my-gan ") and "gan-zoo-my-gan 0.1.0" in line for line in listed.splitlines())
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder / "tests"],
        env=os.environ | {"PYTHONPATH": path},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    assert "1 passed" in ended.stdout


def test_the_skeleton_needs_no_change_by_ruff(written: tuple[Path, Path]) -> None:
    folder, _ = written
    for command in (("format", "--check"), ("check", "--select", "E,F,I,UP")):
        line = [sys.executable, "-m", "ruff", *command, "--isolated", "--line-length", "120", "."]
        ended = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout


def test_the_skeleton_is_written_once(written: tuple[Path, Path]) -> None:
    folder, _ = written
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    ended = zoo("new", "model", "my-gan", "--out", folder.parent)
    assert (ended.code, len(ended.err.splitlines())) == (2, 1)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
