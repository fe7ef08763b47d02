"""Curves of a run's log: as inline SVG, whose colours the page's style sets, and as rows for a plot."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from gan_zoo.analysis.result_tables import number

Curve = list[tuple[int, float]]
Point = tuple[int, float, str]
"""Step, value and the curve's label."""

MOST_POINTS = 400
"""Points of one curve."""
MOST_CURVES = 8
"""Curves in one chart, which has as many colours."""
WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 32
TITLES = {"generator": "losses", "discriminator": "losses", "mi": "L_I, nats", "entropy": "L_I, nats"}


def charts(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Curve]]:
    """The curves of a log, grouped by the first part of their names."""
    groups: dict[str, dict[str, Curve]] = {}
    for name, curve in curves(records).items():
        first = name.partition("/")[0]
        groups.setdefault(TITLES.get(first, first.replace("_", " ")), {})[name] = curve
    return groups


def curves(records: Sequence[Mapping[str, Any]]) -> dict[str, Curve]:
    """The finite numbers of a log by name, each with its step."""
    by_name: dict[str, Curve] = {}
    for record in records:
        for name, value in record.items():
            if name != "step" and type(value) in (int, float) and math.isfinite(value):
                by_name.setdefault(name, []).append((record["step"], float(value)))
    return by_name


def information_rows(records: Sequence[Mapping[str, Any]]) -> list[Point]:
    """L_I of each code, and H(c) where it is discrete."""
    titles = {"mi": "L_I", "entropy": "H(c)"}

    def label(name: str) -> str | None:
        quantity, slash, code = name.partition("/")
        return f"{titles[quantity]}, {code}" if slash and quantity in titles else None

    return _rows(records, label)


def loss_rows(records: Sequence[Mapping[str, Any]]) -> list[Point]:
    """The terms of the losses of discriminator and generator."""
    networks = {"discriminator": "D: ", "generator": "G: "}

    def label(name: str) -> str | None:
        network, slash, term = name.partition("/")
        return networks[network] + term if slash and network in networks else None

    return _rows(records, label)


def _rows(records: Sequence[Mapping[str, Any]], label: Callable[[str], str | None]) -> list[Point]:
    """Points of the curves that have a label; of a long curve every n-th, counted from its end."""
    labelled = ((label(name), curve) for name, curve in curves(records).items())
    return [
        (step, value, name)
        for name, curve in labelled
        if name is not None
        for step, value in curve[::-1][:: -(-len(curve) // MOST_POINTS)][::-1]
    ]


def stamp(file: Path) -> str:
    """A text that changes when the file does; empty if there is no file."""
    try:
        status = file.stat()
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def chart(curves: Mapping[str, Curve]) -> str:
    """HTML of an SVG of the first 8 curves, with a legend of their last values."""
    shown = dict(list(curves.items())[:MOST_CURVES])
    points = [point for curve in shown.values() for point in curve]
    steps, values = _scale([p[0] for p in points]), _scale([p[1] for p in points])
    lines = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(", ".join(shown))}">']
    lines += _axes(steps, values)
    for index, (name, curve) in enumerate(shown.items()):
        places = [(_x(step, steps), _y(value, values)) for step, value in thinned(curve)]
        title = f"<title>{escape(name)}</title>"
        if len(places) == 1:
            x, y = places[0]
            lines.append(f'<circle class="dot c{index}" cx="{x:.1f}" cy="{y:.1f}" r="3">{title}</circle>')
        else:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            lines.append(f'<polyline class="curve c{index}" points="{path}">{title}</polyline>')
    lines.append("</svg>")
    legend = [
        f'<li><span class="key k{index}"></span>{escape(name)} <b>{number(curve[-1][1])}</b></li>'
        for index, (name, curve) in enumerate(shown.items())
    ]
    if len(curves) > len(shown):
        legend.append(f"<li>and {len(curves) - len(shown)} more in metrics.jsonl</li>")
    return "\n".join([*lines, f'<ul class="legend">{"".join(legend)}</ul>'])


def thinned(curve: Curve) -> Curve:
    """Average neighbours, so that at most 400 points remain, each at its last neighbour's step."""
    size = -(-len(curve) // MOST_POINTS)
    parts = [curve[start : start + size] for start in range(0, len(curve), size)]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in parts]


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from `low` to `high`: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    size = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [k * size for k in range(math.ceil(low / size - 1e-9), math.floor(high / size + 1e-9) + 1)]


def _scale(values: Sequence[float]) -> tuple[float, float]:
    low, high = float(min(values)), float(max(values))
    least = max(abs(low), abs(high)) * 1e-6 or 1.0
    return (low, high) if high - low > least else (low - least, high + least)


def _axes(steps: tuple[float, float], values: tuple[float, float]) -> list[str]:
    lines = []
    for tick in ticks(*values):
        y = _y(tick, values)
        lines.append(f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:.4g}</text>')
    for tick in ticks(*steps):
        if tick == int(tick):
            place = f'x="{_x(tick, steps):.1f}" y="{HEIGHT - 10}"'
            anchor = "end" if tick == steps[-1] else "middle"  # so that the last label is not cut off
            lines.append(f'<text class="tick" {place} text-anchor="{anchor}">{int(tick):,}</text>')
    return lines


def _x(step: float, steps: tuple[float, float]) -> float:
    return LEFT + (step - steps[0]) / (steps[1] - steps[0]) * (WIDTH - LEFT - RIGHT)


def _y(value: float, values: tuple[float, float]) -> float:
    return HEIGHT - BOTTOM - (value - values[0]) / (values[1] - values[0]) * (HEIGHT - TOP - BOTTOM)
