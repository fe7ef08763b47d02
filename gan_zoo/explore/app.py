"""The page: images and the controls that they share, an image of one's own, and for each run a grid and curves."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from itertools import product
from typing import Any

import gradio as gr

from gan_zoo.analysis import curves
from gan_zoo.errors import InputError
from gan_zoo.explore import markup
from gan_zoo.explore.view import Inverted, View, limits
from gan_zoo.images import png
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


@dataclass(frozen=True, eq=False)  # hashed as an object, for gr.State
class Upload:
    """An image of one's own.

    Attributes:
        inversions: Its inversion by each run; None if the run cannot read codes.
        values: Where the controls stood when it was drawn as it is: a code whose control moves away takes its value.
    """

    inversions: list[Inverted | None]
    values: list[float]


class Page:
    """The page of some runs, side by side.

    Args:
        views: The runs. Codes of one name, kind and number of values share a control.
    """

    def __init__(self, views: Sequence[View]) -> None:
        self.views = views
        self.codes = list({_key(code): code for view in views for code in view.codes}.values())
        self.following: list[tuple[Any, ...]] = []
        self.events: list[Any] = []
        with gr.Blocks(title="gan-zoo explore", analytics_enabled=False) as self.blocks, gr.Row(equal_height=True):
            upload = gr.State(None)
            with gr.Column(min_width=320, scale=4, elem_classes="zoo-left"):
                with gr.Row(elem_classes="zoo-stage"):
                    with gr.Column(min_width=120, scale=len(views)):
                        images = gr.HTML(elem_classes="zoo-images")
                    with gr.Column(min_width=140):
                        seed = _seed()
                        dropped, back = _drop(visible=any(view.has_encoder for view in views))
                with gr.Column(elem_classes="zoo-controls"):
                    controls = [self._control(code) for code in self.codes]
                commands, seen = gr.HTML(), gr.HTML(elem_classes="zoo-seen")
            self.inputs = [upload, seed, *controls]
            with gr.Column(min_width=320, scale=5), gr.Row():
                for view in views:
                    with gr.Column(min_width=320, elem_classes="zoo-run"):
                        self._run(view)
            self._follow(self._draw, self.inputs, [images, commands])
            outputs = [upload, back, seen, *controls]
            watched: dict[str, Any] = {"show_progress_on": seen, "api_visibility": "private"}
            self.events.append(dropped.upload(self._invert, [dropped, *controls], outputs, **watched))
            freed = [upload, back, seen, dropped]
            self.events.append(gr.on([back.click, dropped.clear], _free, None, freed, **DIRECT))
            for event, call in product(self.events, self.following):
                event.then(*call, **DIRECT)

    def _follow(self, draw: Any, inputs: Sequence[gr.components.Component], outputs: Any) -> None:
        """Call a function when the page is opened, a control among its inputs changes, or after each of `events`."""
        controls = [component for component in inputs if not isinstance(component, gr.State)]
        gr.on([self.blocks.load, *(one.change for one in controls)], draw, list(inputs), outputs, **LATEST)
        self.following.append((draw, list(inputs), outputs))

    def _control(self, code: Code) -> gr.components.Component:
        """A slider for a continuous code, a choice for a discrete one; it names its runs unless all have the code."""
        having = [view for view in self.views if _key(code) in map(_key, view.codes)]
        value = having[0].sample_codes(0)[[*map(_key, having[0].codes)].index(_key(code))]
        names = "" if having == [view for view in self.views if view.codes] else ", ".join(v.title for v in having)
        label = f"{code.name}, {code.kind}" + (f" ({names})" if names else "")
        if not code.discrete:
            low, high = limits(code)
            return gr.Slider(low, high, value, step=0.01, label=label)
        choices = [(f"{k:.0f}", int(k)) for k in code.traversal()]
        kind = gr.Radio if len(choices) <= MOST_BUTTONS else gr.Dropdown
        return kind(choices, value=int(value), label=label)

    def _of(
        self, view: View, upload: Upload | None, seed: int, values: Sequence[float]
    ) -> tuple[list[float | None], Any]:
        """The codes of a run's image, and what else it is drawn from: the noise of a seed, or an inverted image."""
        at = {_key(code): value for code, value in zip(self.codes, values, strict=True)}
        if upload is None or (inversion := upload.inversions[self.views.index(view)]) is None:
            return [at[_key(code)] for code in view.codes], seed
        stood = {_key(code): value for code, value in zip(self.codes, upload.values, strict=True)}
        return [None if at[k] == stood[k] else at[k] for k in map(_key, view.codes)], inversion.latents

    def _draw(self, upload: Upload | None, seed: Any, *values: Any) -> Any:
        """The image of each run, and the commands that draw them."""
        if None in (seed, *values):  # the user is typing
            return gr.skip()
        figures, commands = [], []
        for view in self.views:
            codes, start = self._of(view, upload, seed, values)
            names = [view.title] * (len(self.views) > 1) + (["sample"] if start is seed else ["your image"])
            image, link = markup.picture(
                png(view.image(codes, start)), f"{view.title}-{seed}", f"the image of {view.title}"
            )
            figures.append(
                f"<figure>{image}<figcaption><span>{escape(', '.join(names))}</span>{link}</figcaption></figure>"
            )
            commands.append(f'<p class="zoo-command">{escape(view.command(codes, start))}</p>')
        return "".join(figures), "".join(commands)

    def _invert(self, data: bytes, *values: Any, progress: Any = gr.Progress()) -> list[Any]:  # noqa: B008
        """Invert an image by each run that reads codes; the controls move to the codes that the first one reads."""
        inversions: list[Inverted | None] = []
        try:
            for view in self.views:
                tell = partial(_tell, progress, view.title)
                inversions.append(view.invert(data, tell) if view.has_encoder else None)
        except InputError as error:
            return [gr.skip(), gr.skip(), markup.refusal(error), *(gr.skip() for _ in values)]
        stood = dict(zip(map(_key, self.codes), values, strict=True))
        parts: list[str] = []
        for view, one in reversed([*zip(self.views, inversions, strict=True)]):
            if one:
                stood |= {
                    _key(c): int(v) if c.discrete else v for c, v in zip(view.codes, one.reading.values, strict=True)
                }
                parts.insert(0, markup.reading(view, one))
        return [Upload(inversions, [*stood.values()]), gr.Button(visible=True), "".join(parts), *stood.values()]

    def _run(self, view: View) -> None:
        """What a run has of its own: its name, a grid and curves."""
        with gr.Row(elem_classes="zoo-row"):
            with gr.Column(min_width=220):
                heading = gr.HTML(markup.heading(view))
            narrow: dict[str, Any] = {"size": "sm", "scale": 0, "min_width": 210, "elem_classes": "zoo-newest"}
            newest = gr.Button("Load the newest checkpoint", visible=view.may_refresh, **narrow)
        self.events.append(newest.click(lambda: _refresh(view), None, heading, **DIRECT))
        if not view.codes:
            gr.HTML(
                f"<p>Model {escape(view.run.config.model)} has no codes: its images differ by their noise alone.</p>"
            )
        elif view.hidden_codes:
            gr.HTML(f"<p>{view.hidden_codes} further codes have no control here: they are drawn with the noise.</p>")
        if view.codes:
            self._grid(view)
        if view.has_log:
            _curves(self.blocks, view)
        else:
            gr.HTML("<p>No curves: an exported model has no log.</p>")

    def _grid(self, view: View) -> None:
        """A traversal grid of two codes, or of one code and samples, with a frame where the controls stand."""
        names = [code.name for code in view.codes]
        with gr.Row(elem_classes="zoo-row"):
            across = gr.Dropdown(names, value=names[0], label="along the columns", min_width=120)
            choices = [*names[1:], names[0], SAMPLES] if len(names) > 1 else [SAMPLES]
            down = gr.Dropdown(choices, value=choices[0], label="down the rows", min_width=120)
        picture = gr.HTML(elem_classes="zoo-grid")

        def draw(across: str, down: str, upload: Upload | None, seed: Any, *values: Any) -> Any:
            if None in (seed, *values):
                return gr.skip()
            try:
                grid = view.grid(*self._of(view, upload, seed, values), across, None if down == SAMPLES else down)
            except InputError as error:
                return markup.refusal(error)
            places = zip(("left", "top", "width", "height"), grid.frame, strict=True)
            style = "; ".join(f"{side}: {share:.2%}" for side, share in places)
            image, link = markup.picture(grid.png, f"{view.title}-{across}-{down}", f"{across} by {down}")
            return f'<div class="zoo-panel">{image}<div class="zoo-mark" style="{style}"></div></div>{link}'

        self._follow(draw, [across, down, *self.inputs], picture)


def build(views: Sequence[View]) -> gr.Blocks:
    """The page of these runs, side by side."""
    return Page(views).blocks


def _key(code: Code) -> tuple[str, str, int]:
    """What codes of two runs must have in common for one control."""
    return code.name, code.kind, code.classes


def _seed() -> gr.Number:
    """The seed of the noise, with a button that draws another."""
    with gr.Row(elem_classes="zoo-row"):
        seed = gr.Number(0, label="noise seed", precision=0, minimum=0, maximum=SEEDS - 1, min_width=110)
        redraw = gr.Button("New noise", size="sm", min_width=90)
    redraw.click(lambda: secrets.randbelow(SEEDS), None, seed, **DIRECT)
    return seed


def _drop(visible: bool) -> tuple[gr.File, gr.Button]:
    """A field for an image of one's own, and the button that leaves it."""
    words = {"label": "your image", "elem_classes": "zoo-drop"}
    dropped = gr.File(file_types=["image"], type="binary", height=120, visible=visible, **words)
    return dropped, gr.Button("Back to samples", size="sm", visible=False)


def _free() -> tuple[Any, ...]:
    """Show samples again."""
    return None, gr.Button(visible=False), "", None


def _refresh(view: View) -> str:
    """Load the newest checkpoint; the heading tells whether it is a newer one."""
    try:
        return markup.heading(view, " (just loaded)" if view.refresh() else " (the newest)")
    except (InputError, OSError) as error:
        return markup.heading(view) + markup.refusal(error)


def _tell(progress: Any, title: str, done: int, total: int) -> None:
    progress((done, total), desc=f"{title}: finding the noise that draws your image", unit="steps")


def _curves(page: gr.Blocks, view: View) -> None:
    """Charts of the log, which follow the run."""
    shown, stamp = gr.HTML(elem_classes="zoo-curves"), gr.State("")

    def update(previous: str) -> Any:
        current = curves.stamp(view.run.metrics_file)
        if current == previous:
            return gr.skip()
        return current, "".join(curves.sections(curves.charts(view.run.metrics())).values())

    gr.on([page.load, gr.Timer(SECONDS).tick], update, stamp, [stamp, shown], **DIRECT)
