"""Curves from metrics.jsonl."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("pandas")
from gan_zoo.explore.curves import MOST_POINTS, information, losses, read, stamp


def test_the_curves_of_a_run(run: Path) -> None:
    told, lost = read(run / "metrics.jsonl")
    assert {"L_I, all codes", "H(c), all codes", "L_I, c1", "L_I, c2", "L_I, c3"} == set(told["curve"])
    assert {"D: adversarial", "G: adversarial", "D: information"} <= set(lost["curve"])
    assert sorted(set(lost["step"])) == [2, 4, 6, 8, 10, 12]
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert told[told["curve"] == "L_I, c1"]["nats"].iloc[-1] == last["mi/c1"]


def test_a_plain_gan_tells_no_information(plain: Path) -> None:
    told, lost = read(plain / "metrics.jsonl")
    assert told.empty
    assert list(told.columns) == ["step", "nats", "curve"]
    assert not lost.empty


def test_no_log_is_no_curve(tmp_path: Path) -> None:
    assert stamp(tmp_path / "metrics.jsonl") == ""
    assert all(table.empty for table in read(tmp_path / "metrics.jsonl"))


def test_what_is_no_finite_number_is_left_out() -> None:
    values = [1.0, float("nan"), float("inf"), None, "many", [2], 2]
    table = information([{"step": k, "mi": value} for k, value in enumerate(values)])
    assert table["nats"].tolist() == [1.0, 2.0]
    assert table["step"].tolist() == [0, 6]


def test_a_long_curve_is_thinned_and_keeps_its_end() -> None:
    table = losses([{"step": k, "generator/adversarial": 1.0} for k in range(10_001)])
    assert MOST_POINTS / 2 < len(table) <= MOST_POINTS
    assert table["step"].iloc[-1] == 10_000
    assert table["step"].is_monotonic_increasing


def test_the_stamp_changes_with_the_log(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    log.write_text('{"step": 1}\n')
    before = stamp(log)
    assert before
    with log.open("a") as file:
        file.write('{"step": 2}\n')
    assert stamp(log) != before
