"""Files that appear completely or not at all."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gan_zoo.files import atomic_file, check_writable, decode_text, write_json


def test_a_file_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "new" / "a.txt") as beside:
        beside.write_text("whole")
        assert not (tmp_path / "new" / "a.txt").exists()
        assert beside.suffix == ".txt"
    assert (tmp_path / "new" / "a.txt").read_text() == "whole"
    assert len(list((tmp_path / "new").iterdir())) == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_was_there_stays_when_it_is_not(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "a.txt").write_text("before")

    def cut_off() -> None:
        with atomic_file(tmp_path / "a.txt") as beside:
            beside.write_text("ha")
            raise error

    with pytest.raises(error):
        cut_off()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


def test_json_is_utf8_and_has_no_numbers_that_are_none(tmp_path: Path) -> None:
    assert json.loads(write_json({"λ": 1.5}, tmp_path / "a.json").read_text(encoding="utf-8")) == {"λ": 1.5}
    with pytest.raises(ValueError, match="JSON"):
        write_json({"a": float("nan")}, tmp_path / "b.json")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        write_json({}, tmp_path / "file" / "a.json")


def test_a_place_is_tried_and_nothing_is_left_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    before = set(tmp_path.rglob("*"))
    check_writable(tmp_path / "new" / "newer" / "a.json")
    check_writable(tmp_path / "file")
    check_writable(tmp_path / "folder", folder=True)
    for place in (tmp_path / "file" / "a.json", tmp_path / "folder"):
        with pytest.raises(OSError, match=re.escape(str(place))):
            check_writable(place)
    assert set(tmp_path.rglob("*")) == before


def test_a_place_where_nothing_may_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, *args: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.mkdir", refuse)
    with pytest.raises(PermissionError) as error:
        check_writable(tmp_path / "new" / "a.json")
    assert error.value.filename == str(tmp_path / "new" / "a.json")


def test_text_is_utf_8_with_or_without_a_byte_order_mark() -> None:
    assert decode_text("né".encode()) == decode_text("né".encode("utf-8-sig")) == "né"
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"):
        with pytest.raises(ValueError, match=f"{encoding[:6].upper()}; save it as UTF-8"):
            decode_text("model".encode(encoding))
