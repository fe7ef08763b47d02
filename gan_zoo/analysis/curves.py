"""Charts of a run's log as inline SVG, for the report and the page of `gan-zoo explore`.

A metric's name decides where it is drawn: `FAMILIES` has the known ones; any other gets a chart of its family's name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from gan_zoo.analysis.result_tables import number
from gan_zoo.training.evaluation import EVALUATION

Curve = list[tuple[int, float]]
"""Steps and values."""

EVALUATED = "evaluated"

FAMILIES = {
    "mi": ("L_I by code", "nats", "L_I"),
    "entropy": ("L_I by code", "nats", "H(c)"),
    "discriminator": ("Losses", "loss", "D"),
    "generator": ("Losses", "loss", "G"),
    "images_per_second": ("Speed", "images/s", ""),
}
"""By the first part of a metric's name: section, unit and the curve's label; the second part is the chart's title."""
COLOURS = {"D": 0, "G": 1, "L_I": 0, "H(c)": 1, f"L_I, {EVALUATED}": 2}
"""Colours of curves that several charts have: the same in each. Other curves take the colours in turn."""
SECTIONS = ("L_I by code", "Evaluation", "Losses", "Training", "Speed")
NOTES = {
    "L_I by code": "Dashed: H(c), the most that L_I of a discrete code can reach. A continuous code has no such limit: "
    "each further nat divides the typical error of Q by 2.7."
}
TITLES = {"frechet": "Fréchet distance"}
"""Of the charts of other families, where a family's name is not its title."""

MOST_POINTS = 400
"""Points of one curve."""
MOST_CURVES = 8
"""Curves in one chart, which has as many colours."""
MOST_CHARTS = 12
"""Charts in one section."""
WIDTH, HEIGHT = 300, 200
ALONE = 420
"""Width of a section's only chart."""
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 24, 40

LIGHT = """--faint: #66666b; --rule: #e3e3e6; --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #cc79a7; --c4: #8a6d00;
  --c5: #56b4e9; --c6: #7b3fb5; --c7: #555555;"""
DARK = """--faint: #a0a0a6; --rule: #35363a; --c0: #5eb3e8; --c1: #ff9a52; --c2: #3fd0a4; --c3: #f0a8cf; --c4: #e6c84f;
  --c5: #9bd7ff; --c6: #c59bf2; --c7: #bbbbbb;"""
"""The colours of charts, as declarations of CSS: those of text and rules, then of the curves."""
STYLE = """\
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 16.5rem), 1fr)); gap: 1.5rem }
.charts > :only-child { grid-column: 1 / -1; max-width: 26.25rem }
.charts svg { display: block; width: 100%; height: auto }
.charts h3 { margin: 0 0 .25rem; font-size: .95rem; font-weight: 600; overflow-wrap: anywhere }
.rule { stroke: var(--rule) } .tick { fill: var(--faint); font-size: 12px } .notes { color: var(--faint) }
.curve { fill: none; stroke-width: 1.75 } .limit { stroke-dasharray: 6 4 }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; margin: .25rem 0 0; padding: 0; list-style: none;
  font-size: .85rem } .legend b { font-variant-numeric: tabular-nums; font-weight: 500; color: var(--faint) }
.key { display: inline-block; width: 1rem; height: 0; margin-right: .4rem; vertical-align: middle;
  border-top: 3px solid } .key.limit { border-top-style: dashed; border-top-width: 2px }
""" + "\n".join(
    f".curve.c{k} {{ stroke: var(--c{k}) }} .dot.c{k} {{ fill: var(--c{k}) }} .key.c{k} {{ border-color: var(--c{k}) }}"
    for k in range(MOST_CURVES)
)
"""The style of charts, in the colours of `LIGHT` or `DARK`."""


@dataclass(frozen=True)
class Chart:
    """Curves with common axes.

    Attributes:
        section: The heading that it belongs to.
        title: Its name.
        unit: The unit of its values.
        curves: By label.
    """

    section: str
    title: str
    unit: str
    curves: dict[str, Curve] = field(default_factory=dict)


def charts(records: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """The charts of a log, section by section: one for each code, each term of the losses, and each further family.

    The sum of L_I over codes has none: kinds of codes differ in what they can reach.
    """
    by_place: dict[tuple[str, str], Chart] = {}
    for name, curve in curves(records).items():
        if name.removeprefix(EVALUATION) == "mi":
            continue
        section, title, unit, label = _place(name)
        by_place.setdefault((section, title), Chart(section, title, unit)).curves[label] = curve
    return sorted(by_place.values(), key=lambda chart: SECTIONS.index(chart.section))


def curves(records: Sequence[Mapping[str, Any]]) -> dict[str, Curve]:
    """The finite numbers of a log by name, each with its step."""
    by_name: dict[str, Curve] = {}
    for record in records:
        for name, value in record.items():
            if name != "step" and type(value) in (int, float) and math.isfinite(value):
                by_name.setdefault(name, []).append((record["step"], float(value)))
    return by_name


def _place(name: str) -> tuple[str, str, str, str]:
    """Section, chart and unit of a metric, and the curve's label."""
    family, _, rest = name.removeprefix(EVALUATION).partition("/")
    evaluated = name.startswith(EVALUATION)
    if family not in FAMILIES:
        title = TITLES.get(family, family.replace("_", " "))
        return "Evaluation" if evaluated else "Training", title, "", rest or title
    section, unit, label = FAMILIES[family]
    title = rest or "images per second"
    return section, title, unit, f"{label or title}{f', {EVALUATED}' if evaluated else ''}"


def stamp(file: Path) -> str:
    """A text that changes when the file does; empty if there is no file."""
    try:
        status = file.stat()
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def sections(charts: Sequence[Chart]) -> dict[str, str]:
    """The HTML of charts, by section."""
    drawn = {}
    for section, group in groupby(charts, key=lambda chart: chart.section):
        members = list(group)
        width = WIDTH if len(members) > 1 else ALONE
        body = "".join(draw(chart, width) for chart in members[:MOST_CHARTS])
        more = len(members) - MOST_CHARTS
        notes = [NOTES.get(section, ""), f"{more} further charts are left out; metrics.jsonl has all." * (more > 0)]
        lines = "".join(f'<p class="notes">{escape(note)}</p>' for note in notes if note)
        drawn[section] = f'<h2>{escape(section)}</h2>{lines}<div class="charts">{body}</div>'
    return drawn


def draw(chart: Chart, width: int = WIDTH) -> str:
    """HTML of an SVG, `width` wide, of the first 8 curves, with a legend of their last values."""
    shown = dict(list(chart.curves.items())[:MOST_CURVES])
    points = [point for curve in shown.values() for point in curve]
    steps, values = _scale([p[0] for p in points]), _scale([p[1] for p in points])
    words = f"{chart.title}: {', '.join(shown)}, steps {min(p[0] for p in points)} to {max(p[0] for p in points)}"
    lines = [f'<svg viewBox="0 0 {width} {HEIGHT}" role="img" aria-label="{escape(words)}">']
    lines += _axes(steps, values, chart.unit, width)
    legend = []
    for index, (label, curve) in enumerate(shown.items()):
        colour = COLOURS.get(label, index)
        look = f"c{colour} limit" if label == "H(c)" else f"c{colour}"
        places = [(_x(step, steps, width), _y(value, values)) for step, value in thinned(curve)]
        title = f"<title>{escape(label)}</title>"
        if len(places) == 1:
            x, y = places[0]
            lines.append(f'<circle class="dot {look}" cx="{x:.1f}" cy="{y:.1f}" r="3">{title}</circle>')
        else:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            lines.append(f'<polyline class="curve {look}" points="{path}">{title}</polyline>')
        legend.append(f'<li><span class="key {look}"></span>{escape(label)} <b>{number(curve[-1][1])}</b></li>')
    if len(chart.curves) > len(shown):
        legend.append(f"<li>and {len(chart.curves) - len(shown)} more in metrics.jsonl</li>")
    picture = "\n".join([*lines, "</svg>"])
    return f'<section><h3>{escape(chart.title)}</h3>{picture}<ul class="legend">{"".join(legend)}</ul></section>'


def thinned(curve: Curve) -> Curve:
    """Average neighbours, so that at most 400 points remain, each at its last neighbour's step."""
    size = -(-len(curve) // MOST_POINTS)
    parts = [curve[start : start + size] for start in range(0, len(curve), size)]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in parts]


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from `low` to `high`: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    size = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [k * size for k in range(math.ceil(low / size - 1e-9), math.floor(high / size + 1e-9) + 1)]


def _scale(values: Sequence[float]) -> tuple[float, float]:
    low, high = float(min(values)), float(max(values))
    least = max(abs(low), abs(high)) * 1e-6 or 1.0
    return (low, high) if high - low > least else (low - least, high + least)


def _axes(steps: tuple[float, float], values: tuple[float, float], unit: str, width: int) -> list[str]:
    lines = [f'<text class="tick" x="0" y="13">{escape(unit)}</text>'] if unit else []
    lines.append(
        f'<text class="tick" x="{(LEFT + width - RIGHT) / 2}" y="{HEIGHT - 4}" text-anchor="middle">step</text>'
    )
    for tick in ticks(*values):
        y = _y(tick, values)
        lines.append(f'<line class="rule" x1="{LEFT}" x2="{width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:.4g}</text>')
    for tick in ticks(*steps):
        if tick == int(tick):
            place = f'x="{_x(tick, steps, width):.1f}" y="{HEIGHT - 22}"'
            anchor = "end" if tick == steps[-1] else "middle"  # so that the last label is not cut off
            lines.append(f'<text class="tick" {place} text-anchor="{anchor}">{int(tick):,}</text>')
    return lines


def _x(step: float, steps: tuple[float, float], width: int) -> float:
    return LEFT + (step - steps[0]) / (steps[1] - steps[0]) * (width - LEFT - RIGHT)


def _y(value: float, values: tuple[float, float]) -> float:
    return HEIGHT - BOTTOM - (value - values[0]) / (values[1] - values[0]) * (HEIGHT - TOP - BOTTOM)
