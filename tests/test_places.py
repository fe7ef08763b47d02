"""Output paths that are not writable: tested before the work, and computed results are printed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from commandline import write_set, zoo
from narrow import narrow_train
from PIL import Image

from gan_zoo.analysis import centrality, evaluate
from gan_zoo.analysis.code_table import check_ending
from gan_zoo.cli.draw import code_table_name


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
        "training.run.load", "analysis.report_page.run_page", "bench.step.step", "bench.kernels.kernels",
        "export.write.load",
    ):  # fmt: skip
        monkeypatch.setattr(f"gan_zoo.{name}", work)
    monkeypatch.setattr(centrality, "open_models", work)
    monkeypatch.setattr(evaluate, "evaluate", work)
    before = set(place.rglob("*"))
    ended = zoo(*command)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"gan-zoo: {command[-1]} cannot be written: Not a directory; choose another path with --out\n"
    assert set(place.rglob("*")) == before


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_figures_of_a_run_that_may_only_be_read_are_printed(
    form: tuple[str, ...], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gan_zoo.files.check_writable", refused)
    monkeypatch.setattr("gan_zoo.analysis.results.write_json", refused)
    ended = zoo("evaluate", place / "a", "--metrics", "information", "-n", "20", *form)
    assert ended.code == 2
    assert json.loads(ended.out)["metrics"]["information"] if form else "c1/entropy" in ended.out
    first, *_, last = ended.err.splitlines()
    assert first.endswith("results will only be printed; --out FILE.json saves them")
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
    monkeypatch.setattr("gan_zoo.cli.console.write_json", refused)
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
    assert code_table_name(images, split) == name
    check_ending(Path(name))


@pytest.mark.parametrize("out", ["data.json", "evaluation.json", "checkpoints/step-00000002/state.json"])
def test_no_output_replaces_a_file_of_a_run(out: str, place: Path) -> None:
    ended = zoo("bench", "step", "--out", place / "a" / out)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "is a file of a run; choose another path" in ended.err


def test_no_picture_replaces_an_image_that_gan_zoo_did_not_write(place: Path, tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "mine.png")
    ended = zoo("sample", place / "a", "--out", tmp_path / "mine.png", "-n", "1")
    assert (ended.code, "was not written by gan-zoo" in ended.err) == (2, True)
    for _ in range(2):
        assert zoo("sample", place / "a", "--out", tmp_path / "ours.png", "-n", "1").code == 0


def test_figures_that_are_sent_to_the_run_s_file_join_those_there(place: Path, tmp_path: Path) -> None:
    run = shutil.copytree(place / "a", tmp_path / "run")
    for metric in ("information", "clustering"):
        assert zoo("evaluate", run, "--metrics", metric, "--out", run / "evaluation.json").code == 0
    assert {*json.loads((run / "evaluation.json").read_text())["metrics"]} == {"information", "clustering"}


def test_a_run_is_measured_once(place: Path) -> None:
    ended = zoo("evaluate", place / "a", place / "b" / ".." / "a", "--metrics", "information")
    assert (ended.code, "is given twice" in ended.err) == (2, True)


@pytest.mark.parametrize("words", [("--n", "3", "-n", "4"), ("--seed=1", "--seed", "2")])
def test_a_flag_that_is_given_twice_is_reported(words: tuple[str, ...], place: Path, tmp_path: Path) -> None:
    ended = zoo("sample", place / "a", *words, "--out", tmp_path / "some.png")
    assert (ended.code, ended.err.count("\n")) == (0, 1)
    assert "; using the last" in ended.err


def test_a_home_folder_is_expanded_after_an_equals_sign(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert zoo("sample", place / "a", "-n", "1", "--out=~/one.png").code == 0
    assert (tmp_path / "one.png").is_file()


def test_figures_that_go_elsewhere_need_nothing_of_the_run_s_folder(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **_: object) -> None:
        if path.name == "evaluation.json":
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("gan_zoo.files.check_writable", refuse)
    elsewhere = zoo("evaluate", place / "a", "--metrics", "information", "--out", tmp_path / "figures.json")
    assert (elsewhere.code, "cannot be written" in elsewhere.out + elsewhere.err) == (0, False)
