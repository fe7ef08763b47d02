"""Reports survive a round trip, other files are refused, and medians have the right intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gan_zoo.bench.record import Cell, Report, Samples, interval, read
from gan_zoo.errors import InputError


def a_report() -> Report:
    cell = Cell(
        key={"trunk": "dcgan", "batch": 64},
        cases={"gan": Samples(seconds=(0.1, 0.3), facts={"images": 64}), "infogan": Samples(seconds=(0.2, 0.3))},
        missing={"compiled": "no compiler"},
    )
    return Report(
        suite="step",
        environment={"device": "a CPU", "git": None},
        settings={"quick": True},
        rates={"copy": 1e9},
        cells=(cell,),
        notes=("a note",),
    )


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = a_report()
    read_again = read(written.write(tmp_path / "new" / "report.json"))
    assert read_again == written
    assert read_again.device == "a CPU" and read_again.cells[0].name == "dcgan · 64"
    assert read_again.cells[0].cases["gan"].seconds == (0.1, 0.3)


def changed(*path: str | int, value: Any) -> str:
    """A report as JSON, one of its values another."""
    whole = a_report().model_dump(mode="json")
    inner: Any = whole
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return json.dumps(whole)


SECONDS = ("cells", 0, "cases", "gan", "seconds")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Invalid JSON"),
        ("{", "Invalid JSON"),
        ("[]", "object"),
        ("\xff", "UTF-8"),
        (changed("format", value=2), "format: must be 1"),
        (changed("suite", value="speed"), "suite: "),
        (changed("more", value=1), "more: is not a known key"),
        (changed(*SECONDS, 0, value=float("nan")), "seconds.0: must be"),
        (changed(*SECONDS, 0, value=float("inf")), "seconds.0: must be a finite number"),
        (changed(*SECONDS, 0, value=-1.0), "seconds.0: must be greater than 0"),
        (changed(*SECONDS, 0, value=0.0), "seconds.0: must be greater than 0"),
        (changed(*SECONDS, value=[]), "seconds: Tuple should have at least 1 item"),
        (changed(*SECONDS, value=[1.0]), "cells.0: cases that take turns have as many samples each"),
        (changed("rates", "copy", value=float("nan")), "rates.copy: must be a finite number"),
    ],
)
def test_what_is_no_report_is_refused_in_one_line(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InputError) as refused:
        read(path)
    told = str(refused.value)
    assert told.startswith(f"{path} is not a report of gan-zoo bench: ") and words in told and "\n" not in told


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"^{tmp_path / 'none.json'}: No such file or directory$"):
        read(tmp_path / "none.json")
    with pytest.raises(InputError, match=f"^{tmp_path}: Is a directory$"):
        read(tmp_path)


def test_a_report_is_frozen_and_holds_no_time_that_is_none() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        a_report().suite = "kernels"
    with pytest.raises(ValidationError, match="greater than 0"):
        Samples(seconds=(0.0,))


def test_the_schema_is_json_and_names_what_a_report_must_have() -> None:
    assert set(Report.model_json_schema()["required"]) == {"suite", "environment", "settings", "rates", "cells"}


# Of n values the median lies outside [k-th, (n + 1 - k)-th] with 2 P(Binomial(n, 1/2) < k): for n = 5 and k = 1 that is
# 2/32 > 5 %; for n = 6 it is 2/64; for n = 10 and k = 2, 2 (1 + 10)/1024, for k = 3, 2 (1 + 10 + 45)/1024 > 5 %; for
# n = 20 and k = 6, 2 · 21700/2^20 = 4.1 %, for k = 7, 11.5 %.
@pytest.mark.parametrize(
    ("n", "median", "low", "high"),
    [(1, 1, 1, 1), (2, 1.5, 1, 2), (5, 3, 1, 5), (6, 3.5, 1, 6), (10, 5.5, 2, 9), (20, 10.5, 6, 15)],
)
def test_the_interval_is_that_of_order_statistics(n: int, median: float, low: int, high: int) -> None:
    mixed = [(7 * k + 3) % n + 1 for k in range(n)]  # 7 is prime to every n here
    assert sorted(mixed) == list(range(1, n + 1))
    assert interval(mixed) == (median, low, high)
    assert Samples(seconds=tuple(float(k) for k in mixed)).time == (median, low, high)


def test_an_outlier_moves_neither_median_nor_interval() -> None:
    assert interval([1.0] * 9 + [1000.0]) == (1.0, 1.0, 1.0)


def test_a_ratio_is_of_pairs() -> None:
    drifting = tuple(float(2**k) for k in range(10))
    cell = Cell(key={}, cases={"a": Samples(seconds=tuple(3 * t for t in drifting)), "b": Samples(seconds=drifting)})
    assert cell.ratio("a", "b") == (3.0, 3.0, 3.0)
    assert cell.ratio("b", "a").median == pytest.approx(1 / 3)
    assert cell.cases["b"].time.low < 3 < cell.cases["b"].time.high  # the medians themselves tell nothing here
