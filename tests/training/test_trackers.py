"""Trackers: what reaches TensorBoard, W&B (offline) and trackio (local), what is refused, how resumed runs go on."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from commandline import zoo, zoo_process
from narrow import narrow_train, one_line
from PIL import Image

from gan_zoo import registry
from gan_zoo.errors import InputError
from gan_zoo.training.loggers.logger import run_id
from gan_zoo.training.run import Run

EXTRAS = ("tensorboard", "trackio", "wandb")


def resumed(place: Path, tracker: str) -> Run:
    """A run of 4 steps that went on to 6, with pictures at every second."""
    settings: dict[str, Any] = {"trunk__name": "mlp", "logging__sample_every": 2}
    narrow_train("infogan", place, training__steps=4, logging__trackers=(tracker,), **settings)
    return narrow_train(None, place, resume=True, training__steps=6)


def expected(run: Run, name: str) -> list[tuple[int, Any]]:
    return [(line["step"], pytest.approx(line[name], rel=1e-5)) for line in run.metrics()]


def test_tensorboard_s_own_reader_finds_every_metric_and_picture_once(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = resumed(tmp_path, "tensorboard")
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert "mi" in run.metrics()[0]
    for name in run.metrics()[0].keys() - {"step"}:
        assert [(event.step, event.value) for event in events.Scalars(name)] == expected(run, name)
    pictures = events.Images("samples")
    assert [picture.step for picture in pictures] == [2, 4, 6]
    with Image.open(run.samples / "step-00000002.png") as saved:
        assert {(picture.width, picture.height) for picture in pictures} == {saved.size}


@pytest.mark.slow  # on a busy machine W&B was once found to have written a part of its lines only
def test_wandb_keeps_every_metric_and_picture_offline_and_goes_on_in_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="the extra `wandb` is not installed")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    run = resumed(tmp_path, "wandb")
    parts = sorted((tmp_path / "wandb").glob(f"offline-run-*-{run_id(tmp_path)}/run-*.wandb"), key=os.path.getmtime)
    assert len(parts) == 2, "a part for each process that trained, of one id"
    rows = [row for part in parts for row in wandb_rows(part)]
    for name in run.metrics()[0].keys() - {"step"}:
        assert [(row["step"], row[name]) for row in rows if name in row] == expected(run, name)
    assert [row["step"] for row in rows if any(key.startswith("samples") for key in row)] == [2, 4, 6]
    assert len(list((tmp_path / "wandb").glob("offline-run-*/files/media/images/samples*.png"))) == 3


def wandb_rows(file: Path) -> list[dict[str, Any]]:
    """The lines of history in a file of W&B."""
    from wandb.proto.wandb_internal_pb2 import Record

    rows = []
    for message in messages(file.read_bytes()):
        record = Record()
        record.ParseFromString(message)
        if record.WhichOneof("record_type") == "history":
            rows.append({i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in record.history.item})
    return rows


def messages(content: bytes) -> Iterator[bytes]:
    """What LevelDB's log format holds, as W&B writes it: 32 KiB blocks, of pieces with checksum, length and place."""
    block, header, at, pieces = 2**15, struct.Struct("<IHB"), 7, b""
    while at + header.size <= len(content):
        if block - at % block < header.size:
            at += block - at % block
            continue
        _, length, place = header.unpack_from(content, at)
        at += header.size + length
        pieces += content[at - length : at]
        if place in (1, 4):  # whole, or the last of several
            yield pieces
            pieces = b""


def test_an_unknown_mode_of_wandb_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="the extra `wandb` is not installed")
    monkeypatch.setenv("WANDB_MODE", "sideways")
    with pytest.raises(InputError, match="WANDB_MODE") as error:
        narrow_train("gan", tmp_path / "run", training__steps=1, logging__trackers=("wandb",))
    assert one_line(error)
    assert not (tmp_path / "run").exists()


TRACKIO_ROWS = """
import json, sys
from trackio.sqlite_storage import SQLiteStorage as storage
runs = storage.get_runs("gan-zoo")
print(json.dumps([runs, storage.get_logs("gan-zoo", runs[0])], default=str))
"""


@pytest.mark.slow  # a minute, of which trackio takes most to be imported, five times
def test_trackio_keeps_every_metric_and_picture_and_goes_on_in_one_run(tmp_path: Path) -> None:
    if util.find_spec("trackio") is None:
        pytest.skip("the extra `trackio` is not installed")
    place = {"TRACKIO_DIR": str(tmp_path / "trackio")}  # which trackio reads when it is imported
    narrow = ("--batch-size", "4", "--trunk.name", "mlp", "--trunk.width", "2", "--device", "cpu", "--log-every", "1")
    new = ("infogan", *narrow, "--logging.trackers", "trackio", "--logging.sample-every", "2", "--steps", "2")
    for args in (new, ("--resume", "--steps", "4")):
        ended = zoo_process("train", *args, "--out", tmp_path / "run", **place)
        assert ended.code == 0, ended.err
    told = subprocess.run(
        [sys.executable, "-c", TRACKIO_ROWS], env=os.environ | place, capture_output=True, text=True, check=True
    ).stdout
    (name,), rows = json.loads(told.splitlines()[-1])
    assert name == f"run-{run_id(tmp_path / 'run')}"
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    found = [(row["step"], row["mi"]) for row in rows if "mi" in row]
    assert found == [(line["step"], pytest.approx(line["mi"])) for line in lines]
    assert [row["step"] for row in rows if "samples" in row] == [2, 4]


@pytest.mark.parametrize("name", EXTRAS)
def test_a_tracker_that_is_not_installed_is_refused_and_no_run_is_made(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"{name} requires an extra: pip install 'gan-zoo\[{name}\]'") as error:
        narrow_train("gan", tmp_path / "run", training__steps=1, logging__trackers=(name,))
    assert one_line(error)
    assert not (tmp_path / "run").exists()


def test_every_tracker_is_an_extra_of_its_name() -> None:
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert set(registry.loggers.entries) == set(EXTRAS) <= set(declared["optional-dependencies"])


def test_trackers_are_named_by_one_flag(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    ended = zoo("train", "gan", "--logging.trackers", "tensorboard", "--dry-run")
    assert tomllib.loads(ended.out)["logging"]["trackers"] == ["tensorboard"]
    ended = zoo("train", "gan", "--logging.trackers", "tensorbord", "--dry-run")
    assert ended.code == 2
    assert "unknown logger 'tensorbord'; did you mean 'tensorboard'?" in " ".join(ended.err.split())
    (tmp_path / "mine.toml").write_text("[logging]\ntrackers = ['tensorbord']\n")
    ended = zoo("train", "gan", "--config", tmp_path / "mine.toml", "--dry-run")
    assert (ended.code, len(ended.err.splitlines())) == (2, 1)
    assert "logging.trackers.0 = 'tensorbord': unknown logger" in ended.err


class Notebook:
    """A tracker that remembers."""

    seen: list[tuple[str, Any]] = []

    def __init__(self, folder: Path, config: Any, start: int) -> None:
        self.seen.append(("open", (folder, config.model, start)))

    @staticmethod
    def check() -> None:
        Notebook.seen.append(("check", None))

    def log(self, record: dict[str, Any]) -> None:
        self.seen.append(("log", record["step"]))

    def picture(self, picture: Image.Image, step: int) -> None:
        self.seen.append(("picture", (np.asarray(picture).dtype, step)))

    def flush(self) -> None:
        self.seen.append(("flush", None))

    def close(self) -> None:
        self.seen.append(("close", None))


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Trackers of another distribution: `notebook`, and `number`, which is none."""
    module = SimpleNamespace(Notebook=Notebook, NUMBER=7)
    monkeypatch.setitem(sys.modules, "their_trackers", module)
    monkeypatch.setattr(Notebook, "seen", [])
    entries = {
        name: registry.Entry(name, "", "theirs 1.0", target)
        for name, target in (("notebook", "their_trackers:Notebook"), ("number", "their_trackers:NUMBER"))
    }
    monkeypatch.setitem(registry.loggers.__dict__, "entries", entries)
    return module


@pytest.mark.usefixtures("added")
def test_a_tracker_is_checked_opened_told_flushed_and_closed(tmp_path: Path) -> None:
    narrow_train("gan", tmp_path, training__steps=2, logging__trackers=("notebook",))
    assert Notebook.seen == [
        ("check", None), ("open", (tmp_path, "gan", 0)), ("log", 1), ("log", 2), ("picture", (np.uint8, 2)),
        ("flush", None), ("close", None),
    ]  # fmt: skip
    Notebook.seen.clear()
    narrow_train(None, tmp_path, resume=True, training__steps=3)
    assert Notebook.seen[1] == ("open", (tmp_path, "gan", 2))
    assert not (tmp_path / "tracker-id").exists(), "only what needs a name draws one"


@pytest.mark.usefixtures("added")
def test_a_plug_in_that_is_no_tracker_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="logger 'number' from theirs 1.0 must be a class with a static method check, not 7"
    ) as error:
        narrow_train("gan", tmp_path / "run", training__steps=1, logging__trackers=("number",))
    assert one_line(error)
    assert not (tmp_path / "run").exists()


def test_a_run_keeps_its_name_and_no_two_share_one(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = run_id(tmp_path / "a")
    assert run_id(tmp_path / "a") == first != run_id(tmp_path / "b")
