"""What the documents say can be typed, and what they link to is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
from commandline import zoo

from gan_zoo.cli import COMMANDS
from gan_zoo.errors import InputError
from gan_zoo.resolve import resolve
from gan_zoo.training.run import build

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LISTS = ("models", "trunks", "datasets", "loggers", "configs")
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(path: Path, language: str) -> list[tuple[str, str]]:
    """The fenced blocks of a language: what follows its name, and the content."""
    found = BLOCK.findall(path.read_text(encoding="utf-8")) if path.exists() else []
    return [(rest, content) for kind, rest, content in found if kind == language]


def commands(path: Path) -> list[str]:
    """The lines of the console blocks that call gan-zoo, without prompt, continuation and comment."""
    lines = "\n".join(content for kind in ("console", "bash", "sh") for _, content in blocks(path, kind))
    typed = [line.strip().removeprefix("$ ") for line in lines.replace("\\\n", " ").splitlines()]
    return [line for line in typed if line.startswith("gan-zoo ")]


def links(path: Path) -> list[str]:
    """The targets of links and pictures that lie in the repository."""
    if not path.exists():
        return []
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    return [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]


def examples() -> list[str]:
    """The lines of the commands' own examples that call gan-zoo and nothing else."""
    lines = [line.strip() for command in COMMANDS.values() for line in (command.__doc__ or "").splitlines()]
    return [line.partition(" > ")[0] for line in lines if line.startswith("gan-zoo ")]


@pytest.mark.parametrize("line", sorted({line for path in DOCUMENTS for line in commands(path)} | {*examples()}))
def test_a_command_of_the_documents_is_one(line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    args = shlex.split(line, comments=True)[1:]
    if args[0] in LISTS and not (args[0] == "datasets" and args[1:]):
        ended = zoo(*args)
        assert ended.code == 0, ended.err
        assert ended.out
        return
    assert args[0] in COMMANDS or args[0].startswith("-")
    called = []
    for name in {*COMMANDS, "compare_reports", "look"} - {*LISTS, "completion", "new"}:
        monkeypatch.setattr(f"gan_zoo.commands.{name}", lambda *_, **__: called.append(True))
    if "--resume" in args:
        held = SimpleNamespace(ground=lambda _: "mnist-5k")
        monkeypatch.setattr("gan_zoo.training.run.held_run", lambda _: held)
    ended = zoo(*args)
    assert ended.code == 0, ended.err
    assert called or ended.out


@pytest.mark.parametrize(
    ("path", "target"), [(path.name, target) for path in DOCUMENTS for target in sorted(set(links(path)))]
)
def test_a_linked_file_exists(path: str, target: str) -> None:
    (document,) = (document for document in DOCUMENTS if document.name == path)
    assert (document.parent / target).exists()


@pytest.mark.parametrize("content", [content for path in DOCUMENTS for _, content in blocks(path, "python")])
def test_a_python_block_is_python(content: str) -> None:
    compile(content, "block", "exec")


@pytest.mark.parametrize(
    "content", [content for path in DOCUMENTS for rest, content in blocks(path, "python") if "quick" in rest]
)
def test_a_quick_python_block_runs(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(content, "block", "exec"), {"__name__": "block"})


@pytest.mark.parametrize("content", [content for path in DOCUMENTS for _, content in blocks(path, "toml")])
def test_a_toml_block_with_a_model_or_a_preset_is_accepted(content: str, tmp_path: Path) -> None:
    if not re.search(r"^(model|preset) = ", content, re.MULTILINE):
        return
    file = tmp_path / "block.toml"
    file.write_text(content, encoding="utf-8")
    try:
        build(resolve(None if "model = " in content else "infogan", file, {"trunk.width": 4}))
    except InputError as error:
        pytest.fail(str(error))
