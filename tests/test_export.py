"""Exported models: the files, that they equal the run's model, errors, and the Hub."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from commandline import zoo, zoo_process
from hub import Hub, hub
from narrow import narrow_train, one_line
from safetensors.torch import load_file, save_file

import gan_zoo
from gan_zoo.analysis.results import Measurement, fingerprint
from gan_zoo.config import Config, Data
from gan_zoo.errors import InputError
from gan_zoo.export.hub_upload import push
from gan_zoo.export.write import without_folders
from gan_zoo.files import digest
from gan_zoo.training.hub_download import HubModel, download
from gan_zoo.training.origin import Origin
from gan_zoo.training.run import Run, open_run

CODES = "categorical:5, uniform:1, gaussian:1, bernoulli(0.3):1"
FILES = {"config.json", "model.safetensors", "README.md", "samples.png", "traversal.png"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of two checkpoints, whose average is not its weights."""
    place = tmp_path_factory.mktemp("runs") / "run"
    return narrow_train(
        "infogan", place, training__steps=4, training__ema=0.5, logging__checkpoint_every=2, infogan__codes=CODES
    )


@pytest.fixture(scope="module")
def exported(run: Run) -> Path:
    """Its export, with figures."""
    numbers, weights = {"accuracy": 0.97123, "nmi": 0.5}, fingerprint(run.load())
    one = Measurement("clustering", numbers, step=4, weights=weights, n=500, seed=0, note="c1 | of <b>10</b> values")
    (run.folder / "evaluation.json").write_text(json.dumps({"measurements": [asdict(one)]}))
    out = run.folder.parent / "exported"
    ended = zoo("export", run.folder, "--out", out)
    assert ended.code == 0, ended.err
    assert ended.out.strip() == str(out)
    return out


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    """A copy for tests that modify it."""
    return Path(shutil.copytree(exported, tmp_path / "copy"))


def images_and_codes(source: object) -> list[torch.Tensor]:
    model: Any = gan_zoo.load(source)  # type: ignore[arg-type]
    images = model.sample(6, seed=3)
    told = model.encode(images)
    return [images, told["c1"], *told["c2"], *told["c3"], told["c4"]]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(a, b, strict=True))


def test_an_export_is_the_runs_model(run: Run, exported: Path) -> None:
    assert {path.name for path in exported.iterdir()} == FILES
    assert same(images_and_codes(run.folder), images_and_codes(exported))
    assert gan_zoo.load(exported).config == run.config
    assert not gan_zoo.load(exported).training
    described = json.loads((exported / "config.json").read_text())
    assert described["step"] == 4
    assert described["sha256"]["model.safetensors"] == digest(exported / "model.safetensors")
    average = load_file(run.checkpoint(4) / "ema.safetensors")
    written = load_file(exported / "model.safetensors")
    assert all(torch.equal(tensor, written[f"generator.{name}"]) for name, tensor in average.items())
    trained = load_file(run.checkpoint(4) / "model.safetensors")
    assert any(not torch.equal(trained[f"generator.{name}"], average[name]) for name in average)


def test_a_description_may_begin_with_a_byte_order_mark(exported: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(exported, tmp_path / "copy")
    (copy / "config.json").write_text((exported / "config.json").read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert same(images_and_codes(copy), images_and_codes(exported))


def test_a_checkpoint_and_an_export_are_exported_too(run: Run, exported: Path, tmp_path: Path) -> None:
    ended = zoo("export", run.checkpoint(2), "--out", tmp_path / "older")
    assert ended.code == 0
    assert "no figures" in ended.err
    assert same(images_and_codes(run.checkpoint(2)), images_and_codes(tmp_path / "older"))
    assert "## Figures" not in (tmp_path / "older" / "README.md").read_text()
    assert zoo("export", exported, "--out", tmp_path / "again").code == 0
    for name in ("config.json", "model.safetensors", "samples.png"):
        assert (tmp_path / "again" / name).read_bytes() == (exported / name).read_bytes()


def test_the_card_tells_figures_and_use_and_shows_pictures_that_are_there(exported: Path) -> None:
    card = (exported / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: gan-zoo\n")
    assert "| clustering | accuracy | 0.9712 |" in card
    assert "c1 \\| of \\<b\\>10\\</b\\> values" in card
    assert 'gan_zoo.load("exported")' in card
    assert "(samples.png)" in card
    assert "(traversal.png)" in card
    for line in ("| c1 | categorical | 0 to 4 | 1.609 |", "| c4 | bernoulli | 0, 1 | 0.611 |"):
        assert line in card


def test_every_command_reads_an_export(copy: Path, run: Run, tmp_path: Path) -> None:
    for command in (("sample", "-n", 4), ("traverse", "--code", "c2", "--rows", 2)):
        of_run, of_export = tmp_path / "run.png", tmp_path / "export.png"
        assert zoo(command[0], run.folder, *command[1:], "--out", of_run).code == 0
        assert zoo(command[0], copy, *command[1:], "--out", of_export).code == 0
        assert of_run.read_bytes() == of_export.read_bytes()
    assert zoo("encode", copy, copy / "samples.png", "--out", tmp_path / "codes.csv").code == 0
    assert zoo("evaluate", copy, "--metrics", "information", "-n", 40).code == 0
    assert json.loads((copy / "evaluation.json").read_text())["step"] == 4


def test_a_model_without_codes_is_exported(tmp_path: Path) -> None:
    plain = narrow_train("gan", tmp_path / "plain", training__steps=1)
    assert zoo("export", plain.folder, "--out", tmp_path / "out").code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES - {"traversal.png"}
    assert "Q(c | x)" not in (tmp_path / "out" / "README.md").read_text()


def _described(spoil: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def spoiled(folder: Path) -> None:
        told = json.loads((folder / "config.json").read_text())
        spoil(told)
        (folder / "config.json").write_text(json.dumps(told))

    return spoiled


def _other_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors.pop("q.0.weight")
    save_file(tensors, file)
    _described(lambda told: told["sha256"].update({"model.safetensors": digest(file)}))(folder)


SPOILED: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "no weights": (lambda f: (f / "model.safetensors").unlink(), ["model.safetensors is missing"]),
    "other weights": (_other_weights, ["model.safetensors", "q.0.weight is missing"]),
    "changed": (lambda f: (f / "model.safetensors").write_bytes(b"x"), ["damaged", "SHA-256"]),
    "no JSON": (lambda f: (f / "config.json").write_text("{"), ["config.json", "not readable as JSON"]),
    "brackets": (lambda f: (f / "config.json").write_text("[" * 10**5), ["config.json", "not readable as JSON"]),
    "UTF-16": (lambda f: (f / "config.json").write_text("{}", encoding="utf-16"), ["config.json", "UTF-16"]),
    "a list": (lambda f: (f / "config.json").write_text("[]"), ["config.json", "not an object"]),
    "NaN": (lambda f: (f / "config.json").write_text('{"step": NaN}'), ["config.json", "NaN"]),
    "long": (lambda f: (f / "config.json").write_text(" " * 10**6), ["config.json", "longer than 262,144 bytes"]),
    "another's": (lambda f: (f / "config.json").write_text('{"model_type": "bert"}'), ["does not describe"]),
    "newer": (_described(lambda told: told.update(format=2)), ["format 2", "pip install --upgrade gan-zoo"]),
    "no step": (_described(lambda told: told.update(step=-1)), ["config.json is damaged", "step"]),
    "no sums": (_described(lambda told: told.pop("sha256")), ["config.json is damaged", "SHA-256"]),
    "a key": (_described(lambda told: told["config"].update(odd=1)), ["config.json", "unknown key 'odd'"]),
    "a model": (_described(lambda told: told["config"].update(model="x:y")), ["config.json", "unknown model 'x:y'"]),
    "a size": (
        _described(lambda told: told["config"]["trunk"].update(width=10**6)),
        ["networks of this configuration", "memory"],
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_damaged_export_is_told_in_one_line(name: str, copy: Path) -> None:
    spoil, words = SPOILED[name]
    spoil(copy)
    with pytest.raises(InputError) as error:
        gan_zoo.load(copy)
    for word in [*words, str(copy)]:
        assert word in one_line(error)


def test_nothing_is_left_where_an_export_fails(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gan_zoo.files.os.fsync", refuse)
    ended = zoo("export", run.folder, "--out", tmp_path / "out")
    assert ended.code == 2
    assert "No space left" in ended.err
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def there(exported: Path) -> Iterator[Hub]:
    """A Hub with the export as org/digits and an irrelevant file."""
    with hub() as held:
        held.put("org/digits", exported)
        held.models["org/digits"]["run-me.py"] = b"raise SystemExit"
        yield held


@pytest.fixture
def environment(there: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Environment variables that direct a process to that Hub."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    own = {"HF_ENDPOINT": there.address, "HF_HOME": str(tmp_path / "cache"), "HF_TOKEN": "hf_loopback"}
    return own | {"HF_HUB_DISABLE_XET": "1"}  # large files by git-lfs, which this Hub has


@pytest.fixture
def here(there: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The same for this process, whose library has read its variables already: its address is named to each call."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_loopback")
    monkeypatch.chdir(tmp_path)
    return there


def test_a_model_of_the_hub_is_loaded_by_its_name(exported: Path, here: Hub) -> None:
    here.asked.clear()
    folder = download(HubModel("org/digits"), endpoint=here.address)
    assert same(images_and_codes(exported), images_and_codes(folder))
    files = {asked.rpartition("/")[2] for asked in here.asked if "/resolve/" in asked}
    assert files == {"config.json", "model.safetensors"}
    assert {path.name for path in folder.iterdir()} == files


@pytest.mark.slow
def test_a_process_uploads_and_loads(exported: Path, environment: dict[str, str], there: Hub, tmp_path: Path) -> None:
    ended = zoo_process("export", exported, "--out", "out", "--push", "org/new", cwd=tmp_path, **environment)
    assert ended.code == 0, ended.err
    assert ended.out.split() == ["out", f"{there.address}/org/new"]
    assert there.models["org/new"].keys() == FILES
    assert 'gan_zoo.load("org/new")' in there.models["org/new"]["README.md"].decode()
    assert any(asked == "PUT /large" for asked in there.asked), "weights go up as a large file"
    assert there.models["org/new"]["model.safetensors"] == (exported / "model.safetensors").read_bytes()
    command = [sys.executable, "-c", "import gan_zoo; print(gan_zoo.load('org/new').image)"]
    loaded = subprocess.run(
        command, check=False, env=os.environ | environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert loaded.returncode == 0, loaded.stderr
    assert "28" in loaded.stdout


def test_what_is_uploaded_tells_no_folder_of_this_machine(run: Run, tmp_path: Path) -> None:
    data = Data(name="folder", path=str(tmp_path / "faces"))
    assert without_folders(run.config.model_copy(update={"data": data})).data.path == "faces"
    data = Data(name=str(tmp_path / "set.npz"))
    assert without_folders(run.config.model_copy(update={"data": data})).data.name == "set.npz"
    data = Data(name="hub", path="org/name:config")
    assert without_folders(run.config.model_copy(update={"data": data})).data == data


def test_an_export_is_uploaded_again_if_it_was_made_for_that_name(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    monkeypatch.setattr("gan_zoo.export.hub_upload.push", lambda folder, name, private: asked.append(folder) or name)
    out = tmp_path / "out"
    assert zoo("export", run.folder, "--out", out, "--push", "org/new").code == 0
    assert zoo("export", out, "--push", "org/new").code == 0
    assert asked == [out, out]
    ended = zoo("export", out, "--push", "org/other")
    assert (ended.code, len(ended.err.splitlines())) == (2, 1)
    assert f"{out} was not exported as org/other" in ended.err
    for words in ((run.folder, "--push", "org/new"), (run.folder,), (out, "--push", "org/new", "--onnx")):
        assert zoo("export", *words).code == 2
    assert asked == [out, out]


def test_a_name_goes_to_the_hub_only_if_no_path_can_be_meant(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[HubModel] = []

    def found(model: HubModel) -> Path:
        asked.append(model)
        return exported

    monkeypatch.setattr("gan_zoo.training.run.download", found)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for path in ("runs/misspelt", tmp_path / "org" / "digits", "org/digits/more", "digits", "../org/digits"):
        with pytest.raises(InputError, match="not a run folder"):
            gan_zoo.load(path)
    assert not asked
    assert gan_zoo.load("org/digits").codes
    for source in ("hf://org/digits@v1", Path("hf://org/digits@v1")):
        assert gan_zoo.load(source).codes
    assert gan_zoo.load("org/digits", revision="v1").codes
    assert asked == [HubModel("org/digits"), *3 * [HubModel("org/digits", "v1")]]
    with pytest.raises(InputError, match="revision='v1' requires a model on the Hub"):
        gan_zoo.load(exported, revision="v1")


@pytest.mark.parametrize("source", ["hf://digits", "hf://org/digits/more", "hf://org/digits@", "hf://org/digits@../x"])
def test_an_address_that_is_none_is_refused(source: str) -> None:
    ended = zoo("sample", source)
    assert ended.code == 2
    assert "accepted: hf://org/name, hf://org/name@revision" in ended.err


def test_a_command_takes_a_model_of_the_hub_and_writes_beside_it_nothing(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gan_zoo.training.run.download", lambda _: exported)
    monkeypatch.chdir(tmp_path)
    before = {path.name for path in exported.iterdir()}
    assert zoo("sample", "hf://org/digits", "-n", "4").out == "digits/samples/samples.png\n"
    assert (tmp_path / "digits/samples/samples.png").is_file()
    assert {path.name for path in exported.iterdir()} == before


def test_a_run_starts_at_a_model_of_the_hub(
    exported: Path, here: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gan_zoo.training.run.download", partial(download, endpoint=here.address))
    monkeypatch.chdir(tmp_path)
    budget = ("--batch-size", "4", "--steps", "1", "--precision", "fp32", "--device", "cpu")
    ended = zoo("train", "--from", "hf://org/digits", *budget, "--out", "run")
    assert ended.code == 0, ended.err
    count = sum(weight.numel() for weight in gan_zoo.load(exported).parameters())
    assert f"starting at hf://org/digits (infogan, step 4): {count:,} of {count:,} parameters are taken" in ended.out
    first, stored = load_file("run/checkpoints/step-00000000/model.safetensors"), gan_zoo.load(exported).state_dict()
    assert all(torch.equal(first[name], stored[name]) for name, _ in gan_zoo.load(exported).named_parameters())
    origin = open_run("run").origin
    assert origin == Origin("hf://org/digits", "infogan", 4, digest(exported / "model.safetensors"))
    assert {path.name for path in tmp_path.iterdir()} == {"cache", "run"}
    run = gan_zoo.train(from_="org/digits", out="other", quiet=True, steps=1, batch_size=4, device="cpu")
    assert run.origin == origin
    before = len(here.asked)
    assert zoo("train", "--resume", "--out", "run", "--steps", "2").code == 0
    assert len(here.asked) == before, "a resumed run does not need its source"


def test_a_hub_without_the_model_is_told_in_one_line(here: Hub, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        download(HubModel("org/absent", "v1"), endpoint=here.address)
    assert one_line(error).startswith("cannot download hf://org/absent@v1: ")
    assert "no such model" in one_line(error)
    here.models["org/empty"] = {"notes.txt": b""}
    with pytest.raises(InputError) as error:
        download(HubModel("org/empty"), endpoint=here.address)
    assert one_line(error) == "hf://org/empty has no config.json: it is not a model that gan-zoo export wrote"


def test_a_hub_that_cannot_be_reached_is_told_in_one_line(here: Hub, exported: Path) -> None:
    gone = "http://127.0.0.1:9"
    with pytest.raises(InputError) as error:
        download(HubModel("org/digits"), endpoint=gone)
    assert "org/digits" in one_line(error)
    with pytest.raises(InputError) as error:
        push(exported, "org/digits", endpoint=gone)
    assert f"{exported} is complete but was not uploaded" in one_line(error)


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gan_zoo.extras.find_spec", lambda _: None)
    with pytest.raises(InputError) as error:
        gan_zoo.load("org/digits")
    assert "pip install 'gan-zoo[hub]'" in one_line(error)


def test_a_tree_of_json_is_the_tree(run: Run, exported: Path) -> None:
    config: Config = gan_zoo.load(exported).config
    assert config.model_dump() == run.config.model_dump()
