"""Weights by name, and the formats that weights are stored in."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import torch
from commandline import zoo
from narrow import narrow_train, one_line
from PIL import Image
from safetensors.torch import load_file, save_file

import gan_zoo
from gan_zoo.analysis.weights import Registered, sources_of
from gan_zoo.config import Data
from gan_zoo.data.batches import normalise
from gan_zoo.data.bundled import mnist_5k
from gan_zoo.errors import InputError
from gan_zoo.export.card import training_command
from gan_zoo.export.write import export
from gan_zoo.registry import weights
from gan_zoo.resolve import resolve
from gan_zoo.training.checkpoint import read_tensors
from gan_zoo.training.compact import compact, expand
from gan_zoo.training.exported import read_description
from gan_zoo.training.run import Run, _say_once, open_run

ROOT = Path(__file__).parents[1]
SHIPPED = [name for name, entry in weights.entries.items() if entry.origin == "gan-zoo"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    _say_once.cache_clear()
    return tmp_path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return narrow_train("infogan", tmp_path_factory.mktemp("runs") / "run", training__steps=2)


def test_the_digits_are_loaded_by_name_and_read_digits(here: Path) -> None:
    model: Any = gan_zoo.load("mnist-5k")
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32, torch.int64}
    split = mnist_5k(Data(name="mnist-5k")).test
    assert split is not None and split.labels is not None
    modes = model.encode(normalise(split.pixels(torch.arange(500))))["c1"].argmax(1)
    largest = sum(int(torch.bincount(split.labels[modes == k]).max()) for k in modes.unique())
    assert largest >= 0.95 * 500
    images = model.sample(100, codes={"c1": 3})
    assert (model.encode(images)["c1"].argmax(1) == 3).float().mean() > 0.95
    assert not any(here.iterdir())


def test_every_command_on_runs_takes_the_name_and_writes_here(here: Path) -> None:
    Image.fromarray(mnist_5k(Data(name="mnist-5k")).train.pixels(torch.tensor([7]))[0, 0].numpy()).save("digit.png")
    for command, output in {
        "sample mnist-5k -n 4": "mnist-5k/samples/samples.png",
        "sample mnist-5k -n 4 --codes c1=3 --out threes.png": "threes.png",
        "traverse mnist-5k --code c2 --rows 2": "mnist-5k/samples/traversal-c2-rows-2.png",
        "encode mnist-5k digit.png": "mnist-5k/codes-digit.csv",
        "export mnist-5k --out again --precision int8": "again/model.safetensors",
        "evaluate mnist-5k --metrics information -n 40": "mnist-5k/evaluation.json",
        "cluster mnist-5k --split test --out clusters.json": "clusters.json",
    }.items():
        ended = zoo(*command.split())
        assert ended.code == 0, ended.err
        assert (here / output).is_file()
    again = (here / "again" / "model.safetensors").read_bytes()
    assert again == (ROOT / "gan_zoo/weights/mnist-5k/model.safetensors").read_bytes()
    assert read_description(here / "again").data_license == "MNIST (LeCun, Cortes and Burges), CC BY-SA 3.0"


def test_a_run_of_that_name_here_is_used_instead_and_reported_once(run: Run, here: Path) -> None:
    Path("mnist-5k").symlink_to(run.folder)
    for model in (gan_zoo.load("mnist-5k"), gan_zoo.load(Path("mnist-5k"))):
        assert model.config == run.config
    _say_once.cache_clear()
    ended = zoo("sample", "mnist-5k", "-n", "1", "--out", "a.png")
    assert (ended.code, ended.err) == (0, "mnist-5k: using the folder here, not the weights of that name\n")


def test_a_run_of_that_name_that_is_damaged_is_not_passed_over(here: Path) -> None:
    (here / "mnist-5k" / "checkpoints").mkdir(parents=True)
    ended = zoo("sample", "mnist-5k")
    assert ended.code == 2
    assert "mnist-5k is not a run folder: it has no config.toml" in ended.err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sample mnist-5", "did you mean 'mnist-5k'?"),
        ("report mnist-5k", "mnist-5k is an exported model, without a log and checkpoints; a run folder is needed"),
    ],
)
def test_what_no_weights_can_do_is_told(command: str, words: str, here: Path) -> None:
    ended = zoo(*command.split())
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert words in ended.err
    assert not any(here.iterdir())


def test_a_run_may_be_trained_into_a_folder_of_that_name(here: Path) -> None:
    made = narrow_train("gan", Path("mnist-5k"), training__steps=1)
    assert open_run("mnist-5k").config == made.config
    assert narrow_train(None, Path("mnist-5k"), resume=True, steps=2).metrics()[-1]["step"] == 2


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the shipped digits, for tests that modify it."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in (ROOT / "gan_zoo/weights/mnist-5k").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr("gan_zoo.weights.MNIST_5K", folder)
    return folder


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "flipped": (lambda f: f.write_bytes(f.read_bytes()[:-1] + b"x"), "changed since it was written (SHA-256 differs)"),
    "cut": (lambda f: f.write_bytes(f.read_bytes()[:1000]), "changed since it was written (SHA-256 differs)"),
    "gone": (lambda f: f.unlink(), "model.safetensors is missing"),
    "undescribed": (lambda f: f.with_name("config.json").unlink(), "is not the path of an exported model"),
    "unlicensed": (lambda f: relicense(f.with_name("config.json"), 3), "data_license must be a text"),
}


def relicense(file: Path, value: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | {"data_license": value}))


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_weights_are_told_in_one_line(damage: str, copied: Path, here: Path) -> None:
    spoil, words = DAMAGE[damage]
    spoil(copied / "model.safetensors")
    with pytest.raises(InputError) as error:
        gan_zoo.load("mnist-5k")
    assert words in one_line(error)
    assert str(copied) in one_line(error)


def test_the_list_names_model_data_size_figures_and_licence() -> None:
    header, *lines = zoo("weights").out.splitlines()
    assert max(map(len, [header, *lines])) <= 80
    (line,) = (line for line in lines if line.startswith("mnist-5k "))
    for word in ("weights", "model", "data", "size", "accuracy", "Fréchet"):
        assert word in header
    for word in ("mnist-5k", "infogan", "MiB"):
        assert word in line
    assert "data of mnist-5k: MNIST (LeCun, Cortes and Burges), CC BY-SA 3.0" in lines
    (row,) = (row for row in json.loads(zoo("weights", "--json").out) if row["name"] == "mnist-5k")
    assert row["figures"]["clustering/accuracy"] > 0.95
    assert row["from"] == "gan-zoo"
    assert f"{row['figures']['clustering/accuracy']:.4f}" in line


def test_the_list_names_the_plug_in_of_weights_and_says_where_no_licence_is_stated() -> None:
    ours, theirs = (
        Registered("a", "gan", "a", 1, {}, text, origin) for text, origin in (("CC0", "gan-zoo"), ("", "p"))
    )
    assert sources_of([ours, theirs]) == ["data of a: CC0", "data of a: licence not stated; weights from p"]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_have_a_card_with_figures_and_the_command_and_no_folder_of_a_machine(name: str) -> None:
    folder: Path = weights.get(name)
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "config.json", "evaluation.json", "model.safetensors"
    }  # fmt: skip
    card = (folder / "README.md").read_text(encoding="utf-8")
    for line in ("## Figures", "| clustering | accuracy |", f'gan_zoo.load("{name}")', "$ gan-zoo train infogan"):
        assert line in card
    for file in folder.glob("*[nd]"):  # .json and .md
        assert not [
            word for word in file.read_text(encoding="utf-8").split('"') if word.startswith(("/", "~", "file:"))
        ]
    text = b"".join(file.read_bytes() for file in folder.iterdir())
    assert not [place for place in (b"/home/", b"/tmp/", b"/root/", b"/Users/", b"/work/") if place in text]
    assert read_description(folder).data_license


FORMATS = {"fp16": (0.52, 2e-3), "int8": (0.35, 5e-2)}
"""By precision: the share of fp32's size, and the largest change of a pixel, of 2."""


@pytest.mark.parametrize("precision", FORMATS)
def test_weights_in_fewer_bits_make_nearly_the_same_images_and_are_stored_alike_again(
    precision: Any, run: Run, tmp_path: Path
) -> None:
    share, change = FORMATS[precision]
    sizes = {}
    for folder, source, stored in (("a", run.folder, "fp32"), ("b", run.folder, precision), ("c", "b", precision)):
        assert zoo("export", tmp_path / source, "--out", tmp_path / folder, "--precision", stored).code == 0
        sizes[folder] = (tmp_path / folder / "model.safetensors").stat().st_size
    assert sizes["b"] < share * sizes["a"]
    a, b = (gan_zoo.load(tmp_path / folder) for folder in "ab")
    assert 0 < (a.sample(64) - b.sample(64)).abs().max() < change
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "b" / file).read_bytes() == (tmp_path / "c" / file).read_bytes()
    assert precision in (tmp_path / "b" / "README.md").read_text()


def test_values_beyond_fp16_stay_fp32_and_rows_of_zeros_zero() -> None:
    tensors = {"large": torch.tensor([1.0, 1e6]), "matrix": torch.tensor([[0.0, 0.0], [1.0, -2.0]])}
    stored = compact(tensors, "int8")
    assert stored["large"].dtype == torch.float32
    assert stored["matrix"].tolist() == [[0, 0], [64, -127]]
    assert torch.equal(expand(stored, "here")["matrix"][0], torch.zeros(2))


@pytest.mark.parametrize("scale", [None, torch.ones(3), torch.ones(5, 1), torch.ones(5, dtype=torch.int8)])
def test_int8_without_its_scales_is_refused(scale: torch.Tensor | None, run: Run, tmp_path: Path) -> None:
    folder = export(run.folder, tmp_path / "out", precision="int8")
    stored = load_file(folder / "model.safetensors")
    name = next(name for name, tensor in stored.items() if tensor.dtype == torch.int8)
    del stored[f"{name}.scale"]
    save_file(stored if scale is None else stored | {f"{name}.scale": scale}, tmp_path / "odd.safetensors")
    with pytest.raises(InputError, match="odd.safetensors: .* is int8 and requires a scale for each of its rows"):
        read_tensors(tmp_path / "odd.safetensors")


@pytest.mark.parametrize("flag", [("--precision", "int8"), ("--data-license", "mine"), ("--onnx",)])
def test_what_an_upload_cannot_change_requires_out(flag: tuple[str, ...], run: Run) -> None:
    ended = zoo("export", run.folder, "--push", "org/name", *flag)
    assert (ended.code, "--onnx, --precision, --data-license and --checkpoint require --out" in ended.err) == (2, True)


@pytest.mark.parametrize(
    ("model", "preset", "settings", "command"),
    [
        ("infogan", None, {}, "gan-zoo train infogan"),
        ("infogan", "mnist-5k-paper", {"seed": 4}, "gan-zoo train infogan --config mnist-5k-paper --seed 4"),
        ("gan", None, {"data.splits": False, "trackers": ["wandb", "trackio"]}, ""),
        ("wgan-gp", "faces-32", {"augment": "flip:0.5, shift:0.1", "data.path": "my faces"}, ""),
    ],
)
def test_the_command_of_a_card_resolves_to_the_configuration(
    model: str, preset: str | None, settings: dict[str, Any], command: str
) -> None:
    config = resolve(model, preset, settings)
    words = shlex.split(training_command(config))
    assert command in ("", shlex.join(words))
    captured: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            sys.modules["gan_zoo.cli.train"], "_train", lambda resolved, **_: captured.append(resolved.config)
        )
        assert zoo(*words[1:]).code == 0
    assert captured == [config]


@pytest.mark.slow
def test_a_run_is_shipped_by_one_command(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_from_file_location("weights_benchmark", ROOT / "benchmarks/weights.py")
    assert spec is not None and spec.loader is not None
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "SHIPPED", tmp_path)
    monkeypatch.setattr(script, "SAMPLES", 64)
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "old").touch()
    monkeypatch.setattr(sys, "argv", ["weights.py", "digits", str(run.folder), "--data-license", "MNIST"])
    script.main()
    assert {path.name for path in (tmp_path / "digits").iterdir()} == {
        "README.md", "config.json", "evaluation.json", "model.safetensors"
    }  # fmt: skip
    assert "| clustering | accuracy |" in (tmp_path / "digits" / "README.md").read_text()
    assert read_description(tmp_path / "digits").data_license == "MNIST"


def test_drawing_imports_no_compiler() -> None:
    """torch imports it, for seconds, to draw normal numbers without memory."""
    code = (
        "import sys, gan_zoo; gan_zoo.load('mnist-5k').sample(2);"
        "assert 'torch' in sys.modules and 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
