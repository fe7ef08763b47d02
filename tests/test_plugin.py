"""A plug-in distribution adds a model, a trunk, a dataset, a logger and weights, and they train."""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commandline import Ended, pip_install, zoo, zoo_process

from gan_zoo import registry

SOURCE = Path(__file__).parents[1] / "examples" / "gan_zoo_plugin"
Plug = Callable[[Path], None]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip installed the plug-in, outside of this environment."""
    place = tmp_path_factory.mktemp("plugin")
    shutil.copytree(SOURCE, place / "source", ignore=shutil.ignore_patterns("__pycache__"))
    pip_install(place / "source", place / "site")
    return place / "site"


def distribution(place: Path, name: str, entry_points: str, modules: dict[str, str] | None = None) -> Path:
    """A folder on which the distribution `name` is installed, with these entry points and modules."""
    facts = place / f"{name}-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(entry_points)
    for module, content in (modules or {}).items():
        (place / f"{module}.py").write_text(content)
    return place


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plug]:
    """A function that puts a folder with distributions on the path of this process, for as long as the test runs."""
    sites: list[Path] = []

    def forget() -> None:
        for names in vars(registry).values():
            if isinstance(names, registry.Registry):
                vars(names).pop("entries", None)

    def plug(site: Path) -> None:
        monkeypatch.syspath_prepend(site)
        sites.append(site)
        forget()

    yield plug
    forget()
    for name, module in [*sys.modules.items()]:
        if any(site in Path(getattr(module, "__file__", None) or "/").parents for site in sites):
            del sys.modules[name]


def refused_in_one_line(ended: Ended, *words: str) -> None:
    assert ended.code == 2, ended
    assert len(ended.err.strip().splitlines()) == 1, ended.err
    for word in words:
        assert word in ended.err


@pytest.mark.parametrize(
    ("command", "name"),
    [("models", "calm-gan"), ("trunks", "linear"), ("datasets", "stripes"), ("loggers", "csv")],
)
def test_a_plug_in_is_listed_with_its_origin(command: str, name: str, installed: Path) -> None:
    plain = zoo_process(command, PYTHONPATH=str(installed))
    (line,) = (line for line in plain.out.splitlines() if line.startswith(f"{name} "))
    assert line.endswith("(from gan-zoo-plugin 0.1.0)")
    rows = {row["name"]: row for row in json.loads(zoo_process(command, "--json", PYTHONPATH=str(installed)).out)}
    assert rows[name]["from"] == "gan-zoo-plugin 0.1.0"


def test_a_plug_in_is_listed_without_being_imported(installed: Path) -> None:
    ended = zoo_process("models", python=("-X", "importtime"), PYTHONPATH=str(installed))
    assert "calm-gan" in ended.out
    imported = {line.rpartition("|")[2].strip() for line in ended.err.splitlines()}
    assert "gan_zoo.registry" in imported
    assert not imported & {"gan_zoo_plugin", "torch"}


def test_a_plug_in_s_model_trains_with_its_trunk_on_its_dataset(
    installed: Path, plug: Plug, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug(installed)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(
        "[trunk]\nname = 'linear'\n[data]\nname = 'stripes'\n[training]\nprecision = 'fp32'\n"
        "[logging]\ntrackers = ['csv']\n[infogan]\ncodes = 'uniform:1'\n"
    )
    ended = zoo(
        *("train", "calm-gan", "--config", "mine.toml", "--calm-gan.weight", "2", "--latent.noise", "5"),
        *("--steps", "3", "--batch-size", "8", "--log-every", "1", "--device", "cpu", "--out", "run"),
    )
    assert ended.code == 0, ended.err
    run = tmp_path / "run"
    tree = tomllib.loads((run / "config.toml").read_text())
    assert tree["calm_gan"] == {"weight": 2.0}
    assert (tree["model"], tree["trunk"]["name"], tree["data"]["name"]) == ("calm-gan", "linear", "stripes")
    assert (tree["data"]["resolution"], tree["data"]["classes"]) == (12, 2)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert all(line["discriminator/calm"] > 0 for line in lines)
    rows = [row.split(",") for row in (run / "metrics.csv").read_text().splitlines()]
    assert [(int(step), float(value)) for step, name, value in rows if name == "discriminator/calm"] == [
        (line["step"], line["discriminator/calm"]) for line in lines
    ]


EXTENSION = """
from gan_zoo.models.infogan.model import InfoGAN

class Mine(InfoGAN):
    extends = "{base}"
"""


def test_a_plug_in_that_extends_a_model_takes_over_its_table(plug: Plug, tmp_path: Path) -> None:
    module = {"mine": EXTENSION.format(base="infogan")}
    site = distribution(tmp_path / "site", "mine", "[gan_zoo.models]\nmy-gan = mine:Mine\n", module)
    (tmp_path / "mine.toml").write_text('model = "infogan"\n[infogan]\ncodes = "uniform:3"\n')
    plug(site)
    ended = zoo("train", "my-gan", "--config", tmp_path / "mine.toml", "--dry-run")
    assert ended.code == 0, ended.err
    tree = tomllib.loads(ended.out)
    assert (tree["model"], tree["my_gan"]["codes"]) == ("my-gan", "uniform:3")


def test_a_plug_in_that_extends_a_model_that_is_not_there_is_told(plug: Plug, tmp_path: Path) -> None:
    module = {"mine": EXTENSION.format(base="infogun")}
    site = distribution(tmp_path, "mine", "[gan_zoo.models]\nmy-gan = mine:Mine\n", module)
    plug(site)
    ended = zoo("train", "my-gan", "--dry-run")
    refused_in_one_line(ended, "'my-gan' extends an unknown model 'infogun'", "'infogan'")


def test_infogan_trains_on_a_plug_in_s_trunk_and_dataset(installed: Path, plug: Plug, tmp_path: Path) -> None:
    plug(installed)
    ended = zoo(
        *("train", "infogan", "--trunk.name", "linear", "--data", "stripes", "--trunk.width", "4"),
        *("--steps", "2", "--batch-size", "4", "--precision", "fp32", "--device", "cpu", "--out", tmp_path / "run"),
    )
    assert ended.code == 0, ended.err
    assert (tmp_path / "run" / "samples" / "traversal.png").is_file()


def test_a_run_whose_plug_in_is_gone_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('model = "calm-gan"\n')
    refused_in_one_line(zoo("sample", tmp_path), "unknown model 'calm-gan'")


def test_a_plug_in_s_weights_are_listed_and_drawn(installed: Path, tmp_path: Path) -> None:
    listed = json.loads(zoo_process("weights", "--json", PYTHONPATH=str(installed)).out)
    rows = {row["name"]: row for row in listed}
    assert rows.keys() == {"calm-stripes", *registry.weights.entries}
    assert (rows["calm-stripes"]["from"], rows["calm-stripes"]["model"]) == ("gan-zoo-plugin 0.1.0", "calm-gan")
    ended = zoo_process("sample", "calm-stripes", "-n", 4, cwd=tmp_path, PYTHONPATH=str(installed))
    assert (ended.code, ended.out) == (0, "calm-stripes/samples/samples.png\n"), ended.err


@pytest.mark.parametrize("command", [("sample", "odd"), ("weights",)])
@pytest.mark.parametrize("thing", ["math:pi", "mine:NOWHERE"])
def test_weights_of_a_plug_in_must_be_an_export(
    thing: str, command: tuple[str, ...], plug: Plug, tmp_path: Path
) -> None:
    module = {"mine": "from pathlib import Path\nNOWHERE = Path('nowhere')\n"}
    plug(distribution(tmp_path, "odd", f"[gan_zoo.weights]\nodd = {thing}\n", module))
    refused_in_one_line(zoo(*command), "weights 'odd' from odd 1.0", "is not the path of an exported model")


@pytest.mark.parametrize(
    ("group", "name", "command"),
    [
        ("gan_zoo.models", "infogan", ("models",)),
        ("gan_zoo.trunks", "dcgan", ("trunks",)),
        ("gan_zoo.datasets", "mnist", ("datasets",)),
        ("gan_zoo.models", "infogan", ("train", "infogan", "--dry-run")),
        ("gan_zoo.trunks", "dcgan", ("train", "infogan", "--dry-run")),
        ("gan_zoo.weights", "mnist-5k", ("sample", "mnist-5k")),
    ],
)
def test_a_name_that_is_taken_is_refused(
    group: str, name: str, command: tuple[str, ...], plug: Plug, tmp_path: Path
) -> None:
    site = distribution(tmp_path, "usurper", f"[{group}]\n{name} = nowhere:nothing\n")
    plug(site)
    ended = zoo(*command)
    refused_in_one_line(ended, f"named {name!r}", "gan-zoo", "usurper 1.0")


def test_a_loss_whose_name_is_taken_is_refused(tmp_path: Path) -> None:
    site = distribution(tmp_path, "usurper", "[gan_zoo.losses]\nhinge = nowhere:nothing\n")
    ended = zoo_process("datasets", "mnist-5k", PYTHONPATH=str(site))  # the names are read when gan_zoo.config is
    refused_in_one_line(ended, "named 'hinge'", "gan-zoo", "usurper 1.0")


def test_two_plug_ins_of_one_name_are_refused(installed: Path, plug: Plug, tmp_path: Path) -> None:
    site = distribution(tmp_path, "usurper", "[gan_zoo.models]\ncalm-gan = nowhere:nothing\n")
    plug(installed)
    plug(site)
    ended = zoo("models")
    refused_in_one_line(ended, "named 'calm-gan'", "gan-zoo-plugin 0.1.0", "usurper 1.0")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("import no_such_module_at_all", "no_such_module_at_all"),
        ("def", "SyntaxError"),
    ],
)
def test_a_plug_in_that_cannot_be_imported_is_told(content: str, reason: str, plug: Plug, tmp_path: Path) -> None:
    site = distribution(tmp_path, "broken", "[gan_zoo.models]\nbroken = broken:Broken\n", {"broken": content})
    plug(site)
    assert "broken" in zoo("models").out
    ended = zoo("train", "broken")
    refused_in_one_line(ended, "model 'broken' from broken 1.0 cannot be loaded", reason)
