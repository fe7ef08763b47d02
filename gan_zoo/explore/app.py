"""The page: for each run a column with an image and its controls, a grid, the codes of an image, and curves."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import gradio as gr
from PIL import Image

from gan_zoo.analysis import curves
from gan_zoo.errors import InputError
from gan_zoo.explore.view import View, limits
from gan_zoo.images import inline, png
from gan_zoo.models.gan.codes import Code

SECONDS = 3.0
"""Interval between checks of a run's log."""
MOST_BUTTONS = 16
"""Discrete codes with more values get a drop-down list."""
SEEDS = 2**31
SAMPLES = "samples"
"""The choice of samples instead of a second code down the grid's rows."""
DIRECT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""Options of a call: one request, one answer."""
LATEST: dict[str, Any] = {**DIRECT, "trigger_mode": "always_last"}
"""Options of a call while a slider is dragged: events during a call are merged into the last."""

CSS = (
    f"""
{curves.STYLE}
:root {{ {curves.palette(curves.LIGHT)} }} .dark {{ {curves.palette(curves.DARK)} }}
.zoo-curves {{ --faint: var(--body-text-color-subdued); --rule: var(--border-color-primary); }}
"""
    + """\
.zoo-row { align-items: end; }
.zoo-run input::-webkit-slider-thumb { box-shadow: 0 0 0 1px var(--neutral-400); }
.zoo-run input::-moz-range-thumb { box-shadow: 0 0 0 1px var(--neutral-400); }
.zoo-image img { width: min(100%, 22rem); image-rendering: pixelated; border: 1px solid var(--border-color-primary); }
.zoo-seen img { width: 7rem; image-rendering: pixelated; border: 1px solid var(--border-color-primary); }
.zoo-grid img { width: 100%; max-width: 46rem; }
.zoo-save { margin: .2rem 0 0; }
.zoo-save a { padding: 0; }
.zoo-command { font-family: var(--font-mono); font-size: .75rem; overflow-wrap: anywhere; margin: .3rem 0; }
.zoo-codes { margin: .4rem 0; }
.zoo-codes :is(td, th) { padding: .15rem .6rem; text-align: left; }
.zoo-refused { color: var(--error-text-color, #b91c1c); }
"""
)


def build(views: Sequence[View]) -> gr.Blocks:
    """The page of these runs, side by side."""
    with gr.Blocks(title="gan-zoo explore", analytics_enabled=False) as page, gr.Row():
        for view in views:
            with gr.Column(min_width=420, elem_classes="zoo-run"):
                _column(page, view)
    return page


def _column(page: gr.Blocks, view: View) -> None:
    """The column of one run."""
    with gr.Row():
        heading = gr.HTML(_heading(view), elem_classes="zoo-heading", scale=1)
        newest = gr.Button(
            "Load the newest checkpoint",
            size="sm",
            scale=0,
            min_width=210,
            visible=view.may_refresh,
            elem_classes="zoo-newest",
        )
    refreshed = newest.click(lambda: _refresh(view), None, heading, **DIRECT)
    with gr.Row():
        with gr.Column(min_width=320, scale=4):
            image = gr.HTML(elem_classes="zoo-image")
            seed, controls = _controls(view)
            if view.has_encoder:
                _reading(view, controls)
        with gr.Column(min_width=320, scale=5):
            if view.codes:
                _grid(page, view, [seed, *controls], refreshed)
            if view.has_log:
                _curves(page, view)
            else:
                gr.HTML("<p>No curves: an exported model has no log.</p>")
    inputs = [seed, *controls]
    draw = _image(view)
    gr.on([page.load, *(control.change for control in inputs)], draw, inputs, image, **LATEST)
    refreshed.then(draw, inputs, image, **DIRECT)


def _heading(view: View, note: str = "") -> str:
    return f"<h2>{escape(view.title)}</h2><p>{escape(view.about)}{escape(note)}</p>"


def _refresh(view: View) -> str:
    """Load the newest checkpoint; the heading tells whether it is a newer one."""
    try:
        return _heading(view, " (just loaded)" if view.refresh() else " (the newest)")
    except (InputError, OSError) as error:
        return _heading(view) + _refusal(error)


def _controls(view: View) -> tuple[gr.Number, list[gr.components.Component]]:
    """The controls of the noise and of each code."""
    with gr.Row(elem_classes="zoo-row"):
        seed = gr.Number(0, label="seed of the noise", precision=0, minimum=0, maximum=SEEDS - 1)
        redraw = gr.Button("Draw new noise", size="sm", min_width=120)
    redraw.click(lambda: secrets.randbelow(SEEDS), None, seed, **DIRECT)
    controls = [_control(code, value) for code, value in zip(view.codes, view.sample_codes(0), strict=True)]
    if not view.codes:
        gr.HTML(f"<p>Model {escape(view.run.config.model)} has no codes: its images differ by their noise alone.</p>")
    elif view.hidden_codes:
        gr.HTML(f"<p>{view.hidden_codes} further codes have no control here: they are drawn with the noise.</p>")
    return seed, controls


def _control(code: Code, value: float) -> gr.components.Component:
    """A slider for a continuous code, a choice for a discrete one."""
    label = f"{code.name}, {code.kind}"
    if not code.discrete:
        low, high = limits(code)
        return gr.Slider(low, high, value, step=0.01, label=label)
    choices = [(f"{k:.0f}", int(k)) for k in code.traversal()]
    kind = gr.Radio if len(choices) <= MOST_BUTTONS else gr.Dropdown
    return kind(choices, value=int(value), label=label)


def _image(view: View) -> Callable[..., Any]:
    """A function that draws the image of a seed and values of the codes, with the command that draws it."""

    def draw(seed: Any, *values: Any) -> Any:
        if None in (seed, *values):  # the user is typing
            return gr.skip()
        shown = _picture(view.image(values, seed), f"{view.title}-{seed}", "the image")
        return f'{shown}<p class="zoo-command">{escape(view.command(values, seed))}</p>'

    return draw


def _reading(view: View, controls: list[gr.components.Component]) -> None:
    """A field for an image: its codes are shown, and the controls move to them."""
    dropped = gr.File(
        label="drop an image: the controls move to its codes",
        file_types=["image"],
        type="binary",
        height=110,
        elem_classes="zoo-drop",
    )
    output = gr.HTML(elem_classes="zoo-seen")

    def read(data: bytes) -> list[Any]:
        try:
            reading = view.read(data)
        except InputError as error:
            return [_refusal(error), *(gr.skip() for _ in controls)]
        rows = zip(view.codes, reading.descriptions, strict=True)
        cells = "".join(f"<tr><td>{escape(code.name)}</td><td>{escape(words)}</td></tr>" for code, words in rows)
        table = f'<table class="zoo-codes"><tr><th>code</th><th>Q(c | x)</th></tr>{cells}</table>'
        note = "<p>Q infers the codes of an image, not its noise: the generated image keeps the current noise.</p>"
        picture = f'<img src="{inline(png(reading.image))}" alt="the input of the model">'
        values = [int(v) if c.discrete else v for c, v in zip(view.codes, reading.values, strict=True)]
        return [picture + table + note, *values]

    dropped.upload(read, dropped, [output, *controls], **DIRECT)


def _grid(page: gr.Blocks, view: View, inputs: list[gr.components.Component], refreshed: Any) -> None:
    """A traversal grid of two codes, or of one code and samples; redrawn after the event `refreshed`."""
    names = [code.name for code in view.codes]
    with gr.Row(elem_classes="zoo-row"):
        across = gr.Dropdown(names, value=names[0], label="along the columns", min_width=120)
        second = names[1] if len(names) > 1 else SAMPLES
        choices = [*names, SAMPLES] if len(names) > 1 else [SAMPLES]
        down = gr.Dropdown(choices, value=second, label="down the rows", min_width=120)
        again = gr.Button("Draw the grid", size="sm", min_width=120, elem_classes="zoo-draw")
    picture = gr.HTML(elem_classes="zoo-grid")

    def draw(across: str, down: str, seed: Any, *values: Any) -> Any:
        if None in (seed, *values):
            return gr.skip()
        try:
            panel = view.grid(values, seed, across, None if down == SAMPLES else down)
        except InputError as error:
            return _refusal(error)
        return _picture(panel, f"{view.title}-{across}-{down}", f"{across} by {down}")

    triggers = [page.load, again.click, across.change, down.change]
    inputs = [across, down, *inputs]
    gr.on(triggers, draw, inputs, picture, **LATEST)
    refreshed.then(draw, inputs, picture, **DIRECT)


def _curves(page: gr.Blocks, view: View) -> None:
    """Charts of the log, which follow the run."""
    shown, stamp = gr.HTML(elem_classes="zoo-curves"), gr.State("")

    def update(previous: str) -> Any:
        current = curves.stamp(view.run.metrics_file)
        if current == previous:
            return gr.skip()
        return current, "".join(curves.sections(curves.charts(view.run.metrics())).values())

    gr.on([page.load, gr.Timer(SECONDS).tick], update, stamp, [stamp, shown], **DIRECT)


def _picture(picture: Image.Image, name: str, description: str) -> str:
    """A picture with a link to download it."""
    data = inline(png(picture))
    link = f'<p class="zoo-save"><a href="{data}" download="{escape(name)}.png">Download</a></p>'
    return f'<img src="{data}" alt="{escape(description)}">{link}'


def _refusal(error: Exception) -> str:
    return f'<p class="zoo-refused">{escape(str(error))}</p>'
