"""The project's targets for InfoGAN's step on a CPU, compared with the reports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gan_zoo.bench.pages import spread
from gan_zoo.bench.record import Cell, Interval, Report

WHERE = (("infogan-mnist", 28, 128, "eager"), ("dcgan", 64, 32, "eager"))
TITLES = ("what", "where", "asked for", "measured", "")


def rows(step: Report, baselines: Report, run: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """A row for each target in the columns of `TITLES`; the last states whether it was reached."""
    for cell in step.cells:
        if (cell.key["trunk"], cell.key["resolution"], cell.key["batch"], cell.key["mode"]) not in WHERE:
            continue
        plain, info = cell.cases["gan"], cell.cases["infogan"]
        yield _row("images/s, InfoGAN ÷ GAN", cell, "≥ 0.97", cell.ratio("gan", "infogan"), least=0.97)
        yield _row("FLOPs, InfoGAN ÷ GAN", cell, "≤ 1.03", info.facts["flops"] / plain.facts["flops"], most=1.03)
        if "infogan, simultaneous" in cell.cases:
            share, target = _share(step, cell), {"fp32": 0.8, "bf16": 0.6}[str(cell.key["precision"])]
            yield _row("of the matrix-product rate", cell, f"≥ {target:.0%}", share, least=target)
            yield _row("waiting for data", cell, "< 1 %", info.facts["waiting"], most=0.01)
            third = cell.ratio("infogan, consistency of a third", "infogan")
            yield _row("time, with ÷ without consistency of a third", cell, "≤ 1.10", third, most=1.1)
            both = cell.ratio("infogan", "infogan, simultaneous")
            yield _row("images/s, simultaneous ÷ alternating", cell, "", both)
    for cell in baselines.cells:
        yield _row("images/s, InfoGAN ÷ three passes", cell, "≥ 1.6", cell.ratio("three passes", "infogan"), least=1.6)
    where = f"default preset, {run['steps']} steps"
    outside = run["share outside steps"]
    yield ("logging, pictures, checkpoints", where, "< 2 %", f"{outside:.2%}", _verdict(outside <= 0.02))
    first = run["seconds to the first step"]
    yield ("from the command to the first step", where, "< 8 s", f"{first:.1f} s", _verdict(first < 8))
    minutes = (first + run["seconds from the first step on"]) / 60
    yield ("the whole run", where, "≤ 6 min", f"{minutes:.1f} min", _verdict(minutes <= 6))


def _share(report: Report, cell: Cell) -> Interval:
    """The step's FLOP/s as a share of the matrix products' on the same device."""
    info, rate = cell.cases["infogan"], report.rates[f"matmul/{cell.key['precision']}"]
    median, low, high = (info.facts["flops"] / time / rate for time in info.time)
    return Interval(median, high, low)


def _row(
    what: str,
    cell: Cell,
    target: str,
    measured: Interval | float,
    *,
    least: float | None = None,
    most: float | None = None,
) -> tuple[str, ...]:
    value = measured.median if isinstance(measured, Interval) else measured
    text = spread(measured) if isinstance(measured, Interval) else f"{measured:.4g}"
    reached = (least is None or value >= least) and (most is None or value <= most)
    return (what, cell.name, target, text, _verdict(reached) if target else "")


def _verdict(reached: bool) -> str:
    return "reached" if reached else "**missed**"
