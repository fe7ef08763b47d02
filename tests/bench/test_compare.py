"""Comparison of reports: verdicts, missing cases, and errors."""

from __future__ import annotations

import pytest

from gan_zoo.bench.compare import Entry, Row, compare, slowdowns
from gan_zoo.bench.record import Cell, Interval, Report, Samples
from gan_zoo.errors import InputError

BASE = (1.0, 1.1, 1.2, 1.3, 1.4)  # five values: the interval spans them


def a_cell(shape: str = "small", missing: dict[str, str] | None = None, **cases: tuple[float, ...]) -> Cell:
    samples = {name: Samples(seconds=seconds) for name, seconds in cases.items()}
    return Cell(key={"shape": shape}, cases=samples, missing=missing or {})


def a_report(*cells: Cell, suite: str = "kernels") -> Report:
    return Report.model_validate({"suite": suite, "environment": {}, "settings": {}, "rates": {}, "cells": cells})


def compared(*reports: Report) -> list[Row]:
    return compare([(name, report) for name, report in zip("abc", reports, strict=False)])


@pytest.mark.parametrize(
    ("seconds", "verdict", "ratio"),
    [
        ((1.5, 1.6, 1.7), "slower", 1.6 / 1.2),
        ((1.4, 1.6, 1.7), "same", 1.6 / 1.2),  # touches
        ((1.0, 1.1, 1.2, 1.3, 1.4), "same", 1.0),
        ((1.1, 1.2, 1.3), "same", 1.0),  # within
        ((0.1, 0.9, 1.0), "same", 0.75),  # touches
        ((0.1, 0.6, 0.9), "faster", 0.5),
    ],
)
def test_the_verdict_is_by_the_intervals(seconds: tuple[float, ...], verdict: str, ratio: float) -> None:
    (row,) = compared(a_report(a_cell(ours=BASE)), a_report(a_cell(ours=seconds)))
    assert (row.name, row.unit, row.key, row.case) == ("small · ours", "s", {"shape": "small"}, "ours")
    assert row.entries[0] == Entry("a", "first", Interval(1.2, 1.0, 1.4))
    assert (row.entries[1].report, row.entries[1].verdict) == ("b", verdict)
    assert row.entries[1].ratio == pytest.approx(ratio)
    assert slowdowns([row]) == ([row] if verdict == "slower" else [])


def test_every_later_report_is_compared_with_the_first() -> None:
    slow, fast = a_report(a_cell(ours=(9.0,))), a_report(a_cell(ours=(0.1,)))
    (row,) = compared(a_report(a_cell(ours=BASE)), fast, slow)
    assert [entry.verdict for entry in row.entries] == ["first", "faster", "slower"]
    assert slowdowns([row]) == [row]
    (row,) = compared(slow, fast, a_report(a_cell(ours=BASE)))
    assert [entry.verdict for entry in row.entries] == ["first", "faster", "faster"]
    assert slowdowns([row]) == []


def test_what_is_missing_is_told_with_its_reason() -> None:
    first = a_report(
        a_cell("small", ours=BASE, plain=BASE, other=BASE),
        a_cell("large", {"": "out of memory"}),
        a_cell("first only", ours=BASE),
    )
    second = a_report(
        a_cell("small", {"plain": "no compiler"}, ours=BASE),
        a_cell("second only", ours=BASE),
        a_cell("large", ours=BASE),
    )
    rows = {row.name: row for row in compared(first, second)}
    told = {name: [(entry.verdict, entry.why) for entry in row.entries] for name, row in rows.items()}
    assert told == {
        "small · ours": [("first", ""), ("same", "")],
        "small · plain": [("first", ""), ("missing", "no compiler")],
        "small · other": [("first", ""), ("missing", "not measured")],
        "large · ours": [("missing", "out of memory"), ("alone", "")],
        "first only · ours": [("first", ""), ("missing", "no such cell")],
        "second only · ours": [("missing", "no such cell"), ("alone", "")],
    }
    assert list(told) == [row.name for row in compared(first, second)]
    alone = rows["large · ours"].entries[1]
    assert alone.value == (1.2, 1.0, 1.4) and alone.ratio is None
    assert [row.name for row in rows.values() if row.compared] == ["small · ours"]
    assert slowdowns(list(rows.values())) == [rows["small · plain"]]  # a case that failed; what was not tried is none


def test_cells_are_found_whatever_the_order_of_their_keys() -> None:
    turned = [
        Cell(key=dict(items), cases={"ours": Samples(seconds=(1.0,))})
        for items in ([("a", 1), ("b", "x")], [("b", "x"), ("a", 1)])
    ]
    (row,) = compared(a_report(turned[0]), a_report(turned[1]))
    assert row.compared and row.name == "1 · x · ours"


def test_steps_are_compared_by_the_paired_ratio_too() -> None:
    """A machine of half the speed: every case is slower, and the cost of InfoGAN over the GAN is the same."""
    gan = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
    infogan = tuple(1.1 * t for t in gan)
    first = a_report(a_cell(gan=gan, infogan=infogan), suite="step")
    drifted = [tuple(100 * t for t in case) for case in (gan, infogan)]
    rows = compared(first, a_report(a_cell(gan=drifted[0], infogan=drifted[1]), suite="step"))
    assert [row.case for row in rows] == ["gan", "infogan", "seconds of infogan / gan"]
    assert [row.entries[1].verdict for row in rows] == ["slower", "slower", "same"]
    assert [row.unit for row in rows] == ["s", "s", "×"]
    assert rows[2].entries[1].value == pytest.approx((1.1, 1.1, 1.1))
    assert rows[2].entries[1].ratio == pytest.approx(1.0)
    costly = a_report(a_cell(gan=gan, infogan=tuple(1.2 * t for t in gan)), suite="step")
    rows = compared(first, costly)
    assert [row.entries[1].verdict for row in rows] == ["same", "same", "slower"]  # by pairs alone
    assert slowdowns(rows) == [rows[2]]


def test_a_pair_that_is_not_whole_is_missing() -> None:
    first = a_report(a_cell(gan=BASE, infogan=BASE), suite="step")
    second = a_report(a_cell(gan=BASE, missing={"infogan": "out of memory"}), suite="step")
    assert [row.entries[1].why for row in compared(first, second)] == ["", "out of memory", "out of memory"]
    (row,) = compared(second, second)
    assert row.case == "gan"


def test_the_ratio_is_of_steps_only() -> None:
    report = a_report(a_cell(gan=BASE, infogan=BASE))
    assert [row.case for row in compared(report, report)] == ["gan", "infogan"]


@pytest.mark.parametrize(
    ("reports", "words"),
    [
        ([], "two reports or more, not 0"),
        ([a_report(a_cell(ours=BASE))], "two reports or more, not 1"),
        ([a_report(a_cell(ours=BASE)), a_report(a_cell(ours=BASE), suite="step")], "'kernels' and b of 'step'"),
        ([a_report(a_cell(ours=BASE)), a_report(a_cell("large", ours=BASE))], "a has no measurement in common with b"),
        ([a_report(a_cell(ours=BASE)), a_report(a_cell(plain=BASE)), a_report()], "in common with b, c"),
        ([a_report(), a_report(a_cell(ours=BASE)), a_report(a_cell(ours=BASE))], "in common with b, c"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(reports: list[Report], words: str) -> None:
    with pytest.raises(InputError) as refused:
        compared(*reports)
    assert words in str(refused.value) and "\n" not in str(refused.value)
