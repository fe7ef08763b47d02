"""A run as one HTML page that holds all it shows: no script, and nothing is loaded from anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from gan_zoo.analysis.curves import DARK, LIGHT, SECTIONS, STYLE, charts, sections
from gan_zoo.analysis.result_tables import kept_for, number
from gan_zoo.analysis.results import Measurement, measured, newest
from gan_zoo.analysis.survey import Standing, standing
from gan_zoo.analysis.traverse import MOST_PANELS, draw_traversals
from gan_zoo.config_text import to_toml
from gan_zoo.errors import InputError
from gan_zoo.images import grid, inline, png
from gan_zoo.training.run import Run, find, find_step, load

MOST_BYTES = 2**23
"""Of a picture that a page takes in."""
_PNG = b"\x89PNG\r\n\x1a\n"

ROWS = 8
"""Samples in a traversal; the grid of samples beside it has as many rows."""
COLUMNS = 10

_STYLE = f"""\
:root {{ color-scheme: light dark; --paper: #fff; --ink: #1c1c1e; {LIGHT} }}
@media (prefers-color-scheme: dark) {{
  :root {{ --paper: #17181a; --ink: #ececee; {DARK} }} }}
* {{ box-sizing: border-box }}
body {{ margin: 0 auto; max-width: 76rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif }}
h1 {{ margin: 0; font-size: 1.6rem; overflow-wrap: anywhere }}
h2, summary {{ margin: 2.5rem 0 .75rem; font-size: 1.15rem; font-weight: 600 }} summary {{ cursor: pointer }}
p {{ margin: .25rem 0 }} .faint, figcaption, .notes {{ color: var(--faint); font-size: .9rem }}
.notes {{ margin-bottom: .75rem; max-width: 45rem }}
.pictures {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1.5rem }}
.steps {{ grid-template-columns: repeat(auto-fill, minmax(min(100%, 16rem), 1fr)) }}
figure {{ margin: 0 }} figcaption {{ margin: .25rem 0 0 }}
figure img {{ display: block; width: 100%; background: #fff; border: 1px solid var(--rule); border-radius: 4px }}
.wide {{ overflow-x: auto }}
table {{ border-collapse: collapse }} th {{ text-align: left; font-weight: 500; color: var(--faint) }}
td, th {{ padding: .2rem 1.25rem .2rem 0; border-bottom: 1px solid var(--rule) }}
td.n, th.n {{ text-align: right; font-variant-numeric: tabular-nums }}
pre {{ margin: 0; overflow-x: auto; font: 13px/1.5 ui-monospace, monospace }}
{STYLE}
"""


def run_page(run: Run) -> str:
    """The page of a run: its state, pictures, L_I, figures, further curves and configuration."""
    stands, drawn = standing(run.folder), sections(charts(run.metrics()))
    parts = [*_head(run, stands), *_now(run), drawn.pop(SECTIONS[0], "")]
    if figures := newest(measured(run.folder)):
        parts += ["<h2>Figures</h2>", *_figures(figures)]
    if pictures := list(_pictures(run)):
        parts += ["<h2>Samples during the training</h2>", f'<div class="pictures steps">{"".join(pictures)}</div>']
    parts += drawn.values()
    toml = escape(to_toml(run.config))
    parts += [f"<details><summary>Configuration</summary><pre>{toml}</pre></details>", "</body>", "</html>"]
    return "\n".join(filter(None, parts)) + "\n"


def _head(run: Run, stands: Standing) -> Iterator[str]:
    title = escape(run.folder.resolve().name)
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    yield from ("<!doctype html>", '<html lang="en">', "<head>", '<meta charset="utf-8">')
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield from (f"<title>{title}</title>", f"<style>{_STYLE}</style>", "</head>", "<body>", f"<h1>{title}</h1>")
    data = escape(Path(stands.data).name)
    state = f"{stands.state}, step {stands.step:,} of {stands.steps:,}"
    yield f"<p>{escape(stands.model)} on {data}, seed {stands.seed}: {state}</p>"
    if stands.origin:
        yield f"<p>started at {escape(stands.origin)}</p>"
    if stands.kept:
        yield f"<p>best checkpoint: step {stands.kept.step:,}, {escape(kept_for(stands.kept))}</p>"
    if stands.why:
        yield f'<p class="faint">{escape(stands.why)}</p>'


def _now(run: Run) -> Iterator[str]:
    """Samples and a traversal of each code, drawn by the newest undamaged checkpoint; or why there are none."""
    try:
        _, checkpoint = find(run.folder)
        model = load(checkpoint)
    except InputError as error:
        yield f'<p class="faint">No samples: {escape(str(error))}</p>'
        return
    step = f"step {find_step(checkpoint):,}"
    yield f'<h2>Samples, {step}</h2><div class="pictures">'
    yield _figure(png(grid(model.sample(ROWS * COLUMNS), COLUMNS)), f"{ROWS * COLUMNS} samples, seed 0")
    for code in model.codes[:MOST_PANELS]:
        words = f"{code.name} from left to right; a row keeps its noise and its other codes"
        yield _figure(png(draw_traversals(model, [code], rows=ROWS)), words)
    yield "</div>"
    if (more := len(model.codes) - MOST_PANELS) > 0:
        yield f'<p class="notes">{more} further codes: gan-zoo traverse with --code draws one.</p>'


def _figure(content: bytes, words: str) -> str:
    words = escape(words)
    return f'<figure><img alt="{words}" src="{inline(content)}"><figcaption>{words}</figcaption></figure>'


def _figures(figures: Sequence[Measurement]) -> Iterator[str]:
    """The newest figures of each metric, with what they are of: not all need be of one step."""
    yield '<div class="wide"><table><tr><th>metric</th><th>number</th><th class="n">value</th><th>of</th></tr>'
    for one in figures:
        of = f"step {one.step:,}, {one.basis}"
        for index, (key, value) in enumerate(one.numbers.items()):
            first, last = ("", "") if index else (escape(one.metric), escape(of))
            yield f'<tr><td>{first}</td><td>{escape(key)}</td><td class="n">{number(value)}</td><td>{last}</td></tr>'
    yield "</table></div>"
    for one in figures:
        if one.note:
            yield f'<p class="notes">{escape(one.metric)}: {escape(one.note)}</p>'


def _pictures(run: Run) -> Iterator[str]:
    """Samples from a few steps of the training."""
    steps = sorted(run.samples.glob("step-*.png"))
    for path in dict.fromkeys(steps[round(k * (len(steps) - 1) / 3)] for k in range(4)) if steps else ():
        step = path.stem.removeprefix("step-")
        if step.isdecimal() and (content := _png(path)):
            yield _figure(content, f"step {int(step):,}")


def _png(path: Path) -> bytes | None:
    """A picture of the run's own; none if it leads elsewhere, is no PNG or is very large."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MOST_BYTES:
        return None
    content = path.read_bytes()
    return content if content.startswith(_PNG) else None
