"""Compare reports of one suite: which cases are significantly slower than in the first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from gan_zoo.bench.record import Cell, Interval, Report
from gan_zoo.errors import InputError

Verdict = Literal["first", "slower", "faster", "same", "missing", "alone"]

NO_CELL, NOT_MEASURED = "no such cell", "not measured"
PAIR = ("infogan", "gan")
RATIO = "seconds of infogan / gan"
"""In the suite `step`, the ratio of these two cases is compared, too."""


@dataclass(frozen=True)
class Entry:
    """One report's value in a row.

    Attributes:
        report: Its name.
        verdict: Relative to the first report: `slower` or `faster` if the 95 % intervals of the medians do not overlap,
            else `same`; `missing` if this report has no value; `alone` if only the first report has none. The first
            report's verdict is `first` or `missing`.
        value: The median with its interval: seconds, or a ratio.
        ratio: The median as a multiple of the first report's.
        why: Why the value is missing.
    """

    report: str
    verdict: Verdict
    value: Interval | None = None
    ratio: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Row:
    """One case of one cell, in all reports.

    Attributes:
        key: The cell's key.
        case: The case's name; `seconds of infogan / gan` for the ratio of these, pair by pair.
        unit: Unit of the values: seconds per call, or a ratio.
        entries: One for each report, in order.
    """

    key: dict[str, str | int]
    case: str
    unit: Literal["s", "×"]
    entries: tuple[Entry, ...]

    @property
    def name(self) -> str:
        """The cell and the case, as one text."""
        return " · ".join([*(str(value) for value in self.key.values()), self.case])

    @property
    def compared(self) -> bool:
        """Whether a later report has a value to compare with the first's."""
        return any(entry.ratio is not None for entry in self.entries[1:])


def compare(reports: Sequence[tuple[str, Report]]) -> list[Row]:
    """Compare reports: a row for every case that at least one of them has measured, in order of first appearance.

    Args:
        reports: Names and reports; the first is the baseline.

    Raises:
        InputError: If there are fewer than two, they are of different suites, or have no case in common.
    """
    if len(reports) < 2:
        raise InputError(f"to compare takes two reports or more, not {len(reports)}")
    name, first = reports[0]
    for other, report in reports[1:]:
        if report.suite != first.suite:
            raise InputError(f"{name} is of the suite {first.suite!r} and {other} of {report.suite!r}")
    cells = [(name, {frozenset(cell.key.items()): cell for cell in report.cells}) for name, report in reports]
    rows = []
    for key in dict.fromkeys(key for _, by_key in cells for key in by_key):
        here = [(name, by_key.get(key)) for name, by_key in cells]
        measured = [cell for _, cell in here if cell is not None]
        for case in _cases(measured, paired=first.suite == "step"):
            rows.append(Row(measured[0].key, case, "×" if case == RATIO else "s", tuple(_entries(case, here))))
    if not any(row.compared for row in rows):
        raise InputError(f"{name} has no measurement in common with {', '.join(other for other, _ in reports[1:])}")
    return rows


def slowdowns(rows: Sequence[Row]) -> list[Row]:
    """The rows in which a later report is slower than the first, or has a larger ratio, beyond the intervals; or failed
    where the first has a value.
    """
    return [row for row in rows if any(entry.verdict == "slower" or _failed(row, entry) for entry in row.entries[1:])]


def _failed(row: Row, entry: Entry) -> bool:
    return row.entries[0].value is not None and entry.verdict == "missing" and entry.why not in (NO_CELL, NOT_MEASURED)


def _cases(cells: Sequence[Cell], *, paired: bool) -> list[str]:
    """The names of all cases in the cells; the pair's comes last."""
    names = list(dict.fromkeys(name for cell in cells for name in cell.cases))
    if paired and any(_has_pair(cell) for cell in cells):
        names.append(RATIO)
    return names


def _entries(case: str, cells: Sequence[tuple[str, Cell | None]]) -> Iterator[Entry]:
    """The entries of a row, by report."""
    base = _value(case, cells[0][1])
    for index, (report, cell) in enumerate(cells):
        value = _value(case, cell)
        if value is None:
            yield Entry(report, "missing", why=_why(case, cell))
        elif index == 0:
            yield Entry(report, "first", value)
        elif base is None:
            yield Entry(report, "alone", value)
        else:
            yield Entry(report, _verdict(base, value), value, value.median / base.median)


def _value(case: str, cell: Cell | None) -> Interval | None:
    if cell is None:
        return None
    if case == RATIO:
        return cell.ratio(*PAIR) if _has_pair(cell) else None
    return cell.cases[case].time if case in cell.cases else None


def _verdict(base: Interval, value: Interval) -> Verdict:
    if value.low > base.high:
        return "slower"
    return "faster" if value.high < base.low else "same"


def _why(case: str, cell: Cell | None) -> str:
    """Why a cell lacks a case, by its report if that has a reason."""
    if cell is None:
        return NO_CELL
    names = PAIR if case == RATIO else (case,)
    causes = [cell.missing[name] for name in ("", *names) if name in cell.missing]
    return causes[0] if causes else NOT_MEASURED


def _has_pair(cell: Cell) -> bool:
    return all(name in cell.cases for name in PAIR)
