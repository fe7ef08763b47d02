"""Commands, code and links in the documents work."""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import tomli_w
import torch
from commandline import zoo

import gan_zoo
from gan_zoo import registry
from gan_zoo.cli import COMMANDS
from gan_zoo.config import Data
from gan_zoo.data.bundled import mnist_5k
from gan_zoo.data.dataset import Dataset
from gan_zoo.errors import InputError
from gan_zoo.models.gan.model import GAN
from gan_zoo.resolve import resolve
from gan_zoo.sources import Layer
from gan_zoo.training.build import build_model

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
    return [line.partition(" | ")[0] for line in typed if line.startswith("gan-zoo ")]


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


WORK = (
    "analysis.centrality.open_models", "analysis.cluster.cluster", "analysis.encode.encode",
    "analysis.evaluate.evaluate", "analysis.report_page.run_page", "analysis.survey.survey", "bench.record.read",
    "data.dataset.open_dataset", "explore.view.View", "export.write.export", "export.write.check_exported",
    "training.begin.prepare", "training.loop.train", "training.precision.pick_device",
    "training.run.find", "training.run.open_run",
)  # fmt: skip
"""With what a command begins its work, once its arguments are checked."""


class WorkBeginsError(Exception):
    """A command accepts its arguments."""


def begin(*_: object, **__: object) -> None:
    raise WorkBeginsError


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
    for module, *_ in [f"gan_zoo.{name}".rpartition(".") for name in WORK]:
        import_module(module)  # all of them, before a name that one imports from another is replaced
    for name in WORK:
        monkeypatch.setattr(f"gan_zoo.{name}", begin)
    Path("theirs.toml").write_text('model = "dcgan"', encoding="utf-8")
    if "--resume" in args:
        held = SimpleNamespace(base_config=lambda _: "mnist-5k")
        monkeypatch.setattr("gan_zoo.training.run.existing_run", lambda _: held)
    if "--from" in args and args[0] == "train":
        config = SimpleNamespace(model="infogan")
        source = SimpleNamespace(networks=Layer("from it", {}), run=SimpleNamespace(config=config))
        monkeypatch.setattr("gan_zoo.training.fine_tuning.open_source", lambda *_, **__: source)
    try:
        ended = zoo(*args)
    except WorkBeginsError:
        return
    assert ended.code == 0, ended.err
    assert ended.out


@pytest.mark.parametrize(
    ("path", "target"), [(path.name, target) for path in DOCUMENTS for target in sorted(set(links(path)))]
)
def test_a_linked_file_exists(path: str, target: str) -> None:
    (document,) = (document for document in DOCUMENTS if document.name == path)
    assert (document.parent / target).exists()


def few_digits(settings: Data) -> Dataset:
    """Every tenth of the bundled digits."""
    whole = mnist_5k(settings)
    assert whole.test is not None
    train, test = (split.choose(torch.arange(0, len(split), 10)) for split in (whole.train, whole.test))
    return replace(whole, train=train, test=test)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, where the bundled digits are few, and their presets of small networks and few steps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gan_zoo.data.bundled.mnist_5k", few_digits)
    known = registry.presets()
    for name in ("mnist-5k", "mnist-5k-paper"):
        tree = tomllib.loads(known[name].read_text(encoding="utf-8"))
        tree["trunk"] |= {"width": 4}
        tree["training"] |= {"steps": 2, "batch_size": 8}
        known[name] = tmp_path / f".{name}.toml"
        known[name].write_text(tomli_w.dumps(tree), encoding="utf-8")
    monkeypatch.setattr("gan_zoo.sources.presets", lambda: known)
    monkeypatch.setenv("GAN_ZOO_CACHE", str(tmp_path / ".cache"))
    for setting, short in (("EPOCHS", 0), ("LEAST_STEPS", 15), ("BATCH", 30)):
        monkeypatch.setattr(f"gan_zoo.analysis.classifier.{setting}", short)
    return tmp_path


@pytest.mark.parametrize(
    ("document", "content"),
    [(path.name, content) for path in DOCUMENTS for _, content in blocks(path, "python")],
    ids=lambda value: value if value.endswith(".md") else "",
)
def test_a_python_block_runs(document: str, content: str, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("block")
    exec(compile(content, document, "exec"), module.__dict__)
    for name, made in list(vars(module).items()):
        if isinstance(made, type) and issubclass(made, GAN) and made.__module__ == "block":  # a model: it trains
            monkeypatch.setitem(sys.modules, "block", module)
            monkeypatch.setitem(
                registry.models.entries, "mygan", registry.Entry("mygan", "", "gan-zoo", f"block:{name}")
            )
            assert len(gan_zoo.train("mygan", quiet=True, width=4, batch_size=4, steps=1).metrics()) == 1


@pytest.mark.parametrize("document", ["docs/index.md", "docs/swap.md"])
def test_the_commands_of_the_guides_run_one_after_the_other(document: str, small: Path) -> None:
    theirs = 'model = "dcgan"\n[data]\nname = "mnist-5k"\n[trunk]\nwidth = 4\n[training]\nsteps = 1\nbatch_size = 4\n'
    (small / "theirs.toml").write_text(theirs, encoding="utf-8")
    typed = [line for line in commands(ROOT / document) if not line.startswith("gan-zoo explore")]  # a server
    assert typed
    for line in typed:
        ended = zoo(*shlex.split(line, comments=True)[1:])
        assert ended.code == 0, f"{line}: {ended.err}"
        assert ended.out


def test_the_commands_of_the_readme_run_one_after_the_other(small: Path) -> None:
    run = "runs/infogan-mnist-5k-001"
    typed = [shlex.split(line, comments=True)[1:] for line in commands(ROOT / "README.md")]
    mine = [words for words in typed if run in words and words[0] not in ("explore", "encode")]  # a server; a folder
    assert {words[0] for words in mine} == {"train", "traverse", "evaluate"}
    others = ("sample RUN --codes c1=3", "cluster RUN", "report RUN", "export RUN --out digits", "encode RUN mnist-5k")
    for words in (["train", "infogan"], *mine, *(line.replace("RUN", run).split() for line in others)):
        ended = zoo(*words)
        assert ended.code == 0, f"{words}: {ended.err}"


@pytest.mark.parametrize("content", [content for path in DOCUMENTS for _, content in blocks(path, "toml")])
def test_a_toml_block_is_toml_and_its_entry_points_are_groups(content: str) -> None:
    groups = tomllib.loads(content).get("project", {}).get("entry-points", {})
    known = (registry.models, registry.trunks, registry.datasets, registry.losses, registry.loggers, registry.weights)
    assert set(groups) <= {one.group for one in known}


@pytest.mark.parametrize("content", [content for path in DOCUMENTS for _, content in blocks(path, "toml")])
def test_a_toml_block_with_a_model_or_a_preset_is_accepted(content: str, tmp_path: Path) -> None:
    if not re.search(r"^(model|preset) = ", content, re.MULTILINE):
        return
    file = tmp_path / "block.toml"
    file.write_text(content, encoding="utf-8")
    try:
        build_model(resolve(None if "model = " in content else "infogan", file, {"trunk.width": 4}))
    except InputError as error:
        pytest.fail(str(error))
