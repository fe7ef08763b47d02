"""Results whose files cannot be written: places are tried before the work, and what was computed is printed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from commandline import write_set, zoo
from narrow import narrow_train

from gan_zoo.analysis import encode as encoding
from gan_zoo.tasks import look, measure


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, and a file where a folder would have to be."""
    place = tmp_path_factory.mktemp("place")
    data = write_set(place / "set.npz")
    for name in ("a", "b"):
        narrow_train("infogan", place / name, data=str(data), training__steps=1)
    (place / "file").write_text("")
    return place


def refused(*args: Any, **_: Any) -> None:
    """Stands for a file whose place was there before the work, and is not any more."""
    raise PermissionError(13, "Permission denied", "result.json")


COMMANDS = [
    ("sample", "a", "--out", "file/a.png"),
    ("traverse", "a", "--out", "file/a.png"),
    ("encode", "a", "--out", "file/a.csv"),
    ("evaluate", "a", "--out", "file/a.json"),
    ("evaluate", "a", "b", "--out", "file/a.json"),
    ("cluster", "a", "--out", "file/a.json"),
    ("centrality", "a", "b", "--out", "file/a.json"),
    ("export", "a", "--out", "file/a"),
    ("report", "a", "--out", "file/a.html"),
    ("bench", "step", "--device", "cpu", "--out", "file/a.json"),
    ("bench", "kernels", "--device", "cpu", "--out", "file/a.json"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_place_is_tried_before_the_work(
    command: tuple[str, ...], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*args: Any, **_: Any) -> None:
        raise AssertionError("it began to work")

    monkeypatch.chdir(place)
    for name in (
        "gan_zoo.tasks.look.load", "gan_zoo.tasks.measure.load", "gan_zoo.tasks.measure.open_models",
        "gan_zoo.tasks.measure.measure", "gan_zoo.export.write.load", "gan_zoo.commands.run_page",
        "gan_zoo.bench.step.step", "gan_zoo.bench.kernels.kernels",
    ):  # fmt: skip
        monkeypatch.setattr(name, work)
    before = set(place.rglob("*"))
    ended = zoo(*command)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"gan-zoo: {command[-1]} cannot be written: Not a directory; name another place by --out\n"
    assert set(place.rglob("*")) == before


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_figures_of_a_run_that_may_only_be_read_are_printed(
    form: tuple[str, ...], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "check_writable", refused)
    monkeypatch.setattr("gan_zoo.analysis.results.write_json", refused)
    ended = zoo("evaluate", place / "a", "--metrics", "information", "-n", "20", *form)
    assert ended.code == 2
    assert json.loads(ended.out)["metrics"]["information"] if form else "c1/entropy" in ended.out
    first, *_, last = ended.err.splitlines()
    assert first.endswith("figures will only be printed; --out FILE.json keeps them")
    assert last == "gan-zoo: result.json cannot be written: Permission denied"


def test_one_run_that_may_only_be_read_does_not_cost_the_other_s_file(place: Path, tmp_path: Path) -> None:
    runs = [shutil.copytree(place / name, tmp_path / name) for name in "ab"]
    (runs[0] / "evaluation.json").mkdir()
    ended = zoo("evaluate", *runs, "--metrics", "information", "-n", "20", "--out", tmp_path / "e.json")
    assert ended.code == 2
    assert "mean ± deviation" in ended.out
    assert ended.err.splitlines()[-1].startswith(f"gan-zoo: {runs[0]}")
    assert (runs[1] / "evaluation.json").is_file() and (tmp_path / "e.json").is_file()


@pytest.mark.parametrize("form", [(), ("--json",)])
@pytest.mark.parametrize(
    ("command", "word"), [(("cluster", "a"), "k-means"), (("centrality", "a", "b", "--samples", "4"), "chosen")]
)
def test_what_was_computed_is_printed_though_its_file_fails(
    command: tuple[str, ...], word: str, form: tuple[str, ...], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(measure, "write_json", refused)
    ended = zoo(*command, *form, "--out", "x.json")
    assert (ended.code, ended.err) == (2, "gan-zoo: result.json cannot be written: Permission denied\n")
    if form:
        assert word in json.loads(ended.out) or word in json.loads(ended.out)["clusterings"]
    else:
        assert word in ended.out or "most central: " in ended.out


def test_pictures_and_tables_of_other_things_have_other_names(place: Path, tmp_path: Path) -> None:
    run = shutil.copytree(place / "a", tmp_path / "run")
    (run / "samples" / "traversal.png").write_bytes(b"of the training")
    (run / "codes.csv").write_text("of the training's images")
    for args in (("--code", "c1"), ("--code", "c1", "--by", "c2"), ("--rows", "1", "--seed", "9")):
        assert zoo("traverse", run, *args).code == 0
    assert (run / "samples" / "traversal.png").read_bytes() == b"of the training"
    drawn = {path.stem.removeprefix("traversal-") for path in (run / "samples").glob("traversal-*")}
    assert drawn == {"c1", "c1-c2", "rows-1-seed-9"}
    assert zoo("encode", run, place / "set.npz").code == 0
    assert (run / "codes.csv").read_text() == "of the training's images"
    assert (run / "codes-set.csv").is_file()


@pytest.mark.parametrize(
    ("images", "split", "name"),
    [
        ((), "train", "codes.csv"),
        ((), "test", "codes-test.csv"),
        (("~/My Scans/",), "train", "codes-my-scans.csv"),
        (("mnist",), "test", "codes-mnist-test.csv"),
        (("a.png", "b.png"), "train", "codes-files.csv"),
        (("写真",), "train", "codes-images.csv"),
    ],
)
def test_tables_are_named_after_what_was_encoded(images: tuple[str, ...], split: str, name: str) -> None:
    assert look.table_name(images, split) == name
    encoding.check_ending(Path(name))
