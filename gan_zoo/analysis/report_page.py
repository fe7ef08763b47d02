"""A run as one HTML page that holds all it shows: no script, and nothing is loaded from anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from gan_zoo.analysis.curves import chart, charts
from gan_zoo.analysis.result_tables import number
from gan_zoo.analysis.results import Measurement, measured, newest
from gan_zoo.analysis.survey import Standing, standing
from gan_zoo.config_text import to_toml
from gan_zoo.images import inline
from gan_zoo.training.run import Run

MOST_BYTES = 2**23
"""Of a picture that a page takes in."""
_PNG = b"\x89PNG\r\n\x1a\n"

_LIGHT = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#7b3fb5", "#555555")
_DARK = ("#5eb3e8", "#ff9a52", "#3fd0a4", "#f0a8cf", "#e6c84f", "#9bd7ff", "#c59bf2", "#bbbbbb")

_STYLE = """\
:root { color-scheme: light dark; --paper: #fff; --ink: #1c1c1e; --faint: #6b6b70; --rule: #e3e3e6; %(light)s }
@media (prefers-color-scheme: dark) {
  :root { --paper: #17181a; --ink: #ececee; --faint: #a0a0a6; --rule: #35363a; %(dark)s } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 70rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif }
h1 { margin: 0; font-size: 1.6rem; overflow-wrap: anywhere }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.1rem }
h3 { margin: 0 0 .25rem; font-size: .95rem; font-weight: 600 }
p { margin: .25rem 0 } .faint, figcaption, .notes { color: var(--faint); font-size: .9rem }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%%, 26rem), 1fr)); gap: 1.5rem }
svg { display: block; width: 100%%; height: auto }
.rule { stroke: var(--rule) } .tick { fill: var(--faint); font-size: 12px } .curve { fill: none; stroke-width: 1.75 }
%(curves)s
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; margin: .25rem 0 0; padding: 0; list-style: none;
  font-size: .85rem } .legend b { font-variant-numeric: tabular-nums; font-weight: 500; color: var(--faint) }
.key { display: inline-block; width: .9rem; height: .2rem; margin-right: .4rem; vertical-align: middle }
figure { margin: 0 } figure img { max-width: 100%%; background: #fff; border: 1px solid var(--rule) }
table { border-collapse: collapse } th { text-align: left; font-weight: 500; color: var(--faint) }
td, th { padding: .2rem 1.25rem .2rem 0; border-bottom: 1px solid var(--rule) }
td.n { text-align: right; font-variant-numeric: tabular-nums }
pre { margin: 0; overflow-x: auto; font: 13px/1.5 ui-monospace, monospace }
"""


def run_page(run: Run) -> str:
    """The page of a run: its state, figures, curves, pictures and configuration."""
    stands = standing(run.folder)
    figures, groups = newest(measured(run.folder)), charts(run.metrics())
    parts = [*_head(run, stands)]
    if figures:
        parts += ["<h2>Figures</h2>", *_figures(figures)]
    if groups:
        drawn = [f"<section><h3>{escape(title)}</h3>{chart(curves)}</section>" for title, curves in groups.items()]
        parts += ["<h2>Curves</h2>", f'<div class="grid">{"".join(drawn)}</div>']
    if pictures := list(_pictures(run)):
        parts += ["<h2>Pictures</h2>", f'<div class="grid">{"".join(pictures)}</div>']
    parts += ["<h2>Configuration</h2>", f"<pre>{escape(to_toml(run.config))}</pre>", "</body>", "</html>"]
    return "\n".join(parts) + "\n"


def _head(run: Run, stands: Standing) -> Iterator[str]:
    title = escape(run.folder.resolve().name)
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    yield from ("<!doctype html>", '<html lang="en">', "<head>", '<meta charset="utf-8">')
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield from (f"<title>{title}</title>", f"<style>{_style()}</style>", "</head>", "<body>", f"<h1>{title}</h1>")
    data = escape(Path(stands.data).name)
    state = f"{stands.state}, step {stands.step:,} of {stands.steps:,}"
    yield f"<p>{escape(stands.model)} on {data}, seed {stands.seed}: {state}</p>"
    if stands.why:
        yield f'<p class="faint">{escape(stands.why)}</p>'


def _style() -> str:
    def palette(colours: tuple[str, ...]) -> str:
        return " ".join(f"--c{k}: {colour};" for k, colour in enumerate(colours))

    rules = (
        f".curve.c{k} {{ stroke: var(--c{k}) }} .dot.c{k} {{ fill: var(--c{k}) }} .k{k} {{ background: var(--c{k}) }}"
        for k in range(len(_LIGHT))
    )
    return _STYLE % {"light": palette(_LIGHT), "dark": palette(_DARK), "curves": "\n".join(rules)}


def _figures(figures: Sequence[Measurement]) -> Iterator[str]:
    """The newest figures of each metric, with what they are of: not all need be of one step."""
    yield "<table><tr><th>metric</th><th>number</th><th>value</th><th>of</th></tr>"
    for one in figures:
        of = f"step {one.step:,}, {one.basis}"
        for index, (key, value) in enumerate(one.numbers.items()):
            first, last = ("", "") if index else (escape(one.metric), escape(of))
            yield f'<tr><td>{first}</td><td>{escape(key)}</td><td class="n">{number(value)}</td><td>{last}</td></tr>'
    yield "</table>"
    for one in figures:
        if one.note:
            yield f'<p class="notes">{escape(one.metric)}: {escape(one.note)}</p>'


def _pictures(run: Run) -> Iterator[str]:
    """The last traversal and samples, and samples from a few steps of the training."""
    steps = sorted(run.samples.glob("step-*.png"))
    few = dict.fromkeys(steps[round(k * (len(steps) - 1) / 3)] for k in range(4)) if steps else {}
    for path in [run.samples / "traversal.png", *reversed(few), run.samples / "samples.png"]:
        if content := _png(path):
            step = path.stem.removeprefix("step-")
            caption = f"step {int(step):,}" if step.isdecimal() else escape(path.stem)
            yield f'<figure><img alt="{caption}" src="{inline(content)}"><figcaption>{caption}</figcaption></figure>'


def _png(path: Path) -> bytes | None:
    """A picture of the run's own; none if it leads elsewhere, is no PNG or is very large."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MOST_BYTES:
        return None
    content = path.read_bytes()
    return content if content.startswith(_PNG) else None
