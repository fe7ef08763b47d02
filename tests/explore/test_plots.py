"""The points that the page plots of metrics.jsonl."""

from __future__ import annotations

import json
from pathlib import Path

from gan_zoo.analysis.curves import MOST_POINTS, information_rows, loss_rows, stamp
from gan_zoo.training.loggers.jsonlines import read_records


def test_the_curves_of_a_run(run: Path) -> None:
    records = read_records(run / "metrics.jsonl")
    information, losses = information_rows(records), loss_rows(records)
    assert {"H(c), c1", "L_I, c1", "L_I, c2", "L_I, c3"} == {name for _, _, name in information}
    assert {"D: adversarial", "G: adversarial", "D: information"} <= {name for _, _, name in losses}
    assert sorted({step for step, _, _ in losses}) == [2, 4, 6, 8, 10, 12]
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert [value for _, value, name in information if name == "L_I, c1"][-1] == last["mi/c1"]


def test_a_plain_gan_has_no_information_term(plain: Path) -> None:
    records = read_records(plain / "metrics.jsonl")
    assert not information_rows(records)
    assert loss_rows(records)


def test_no_log_is_no_curve(tmp_path: Path) -> None:
    assert stamp(tmp_path / "metrics.jsonl") == ""
    assert not loss_rows(read_records(tmp_path / "metrics.jsonl"))


def test_values_that_are_not_finite_numbers_are_left_out() -> None:
    values = [1.0, float("nan"), float("inf"), None, "many", [2], 2]
    rows = information_rows([{"step": k, "mi/c1": value} for k, value in enumerate(values)])
    assert rows == [(0, 1.0, "L_I, c1"), (6, 2.0, "L_I, c1")]


def test_a_long_curve_is_thinned_and_keeps_its_end() -> None:
    steps = [step for step, _, _ in loss_rows([{"step": k, "generator/adversarial": 1.0} for k in range(10_001)])]
    assert MOST_POINTS / 2 < len(steps) <= MOST_POINTS
    assert steps[-1] == 10_000
    assert steps == sorted(steps)


def test_the_stamp_changes_with_the_log(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    log.write_text('{"step": 1}\n')
    before = stamp(log)
    assert before
    with log.open("a") as file:
        file.write('{"step": 2}\n')
    assert stamp(log) != before
