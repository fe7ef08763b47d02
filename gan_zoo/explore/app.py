"""The page: images and the controls that they share, an image of one's own, and for each run a grid and curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from itertools import product
from pathlib import Path
from typing import Any

import gradio as gr

from gan_zoo.analysis import curves
from gan_zoo.errors import InputError
from gan_zoo.explore import fields, markup
from gan_zoo.explore.fields import DIRECT
from gan_zoo.explore.view import Inverted, View, limits
from gan_zoo.images import png
from gan_zoo.models.gan.codes import Code

SECONDS = 3.0
"""Interval between checks of a run's log."""
MOST_BUTTONS = 16
"""Discrete codes with more values get a drop-down list."""
SAMPLES = "samples"
"""The choice of samples instead of a second code down the grid's rows."""
LATEST: dict[str, Any] = {**DIRECT, "trigger_mode": "always_last"}
"""Options of a call while a slider is dragged: events during a call are merged into the last."""


@dataclass(frozen=True, eq=False)  # hashed as an object, for gr.State
class Upload:
    """An image of one's own.

    Attributes:
        data: Its file.
        inversions: Its inversion by each run; None if the run cannot read codes.
        values: Where the controls stood when it was drawn as it is: a code whose control moves away takes its value.
    """

    data: bytes
    inversions: list[Inverted | None]
    values: list[float]

    @property
    def needs_seed(self) -> bool:
        """Whether a run still draws a sample."""
        return None in self.inversions


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
                        noise, seed = fields.seed_row()
                        dropped, back = fields.drop(visible=any(view.has_encoder for view in views))
                message, wrong_seed = (gr.HTML(elem_classes="zoo-told") for _ in range(2))
                with gr.Column(elem_classes="zoo-controls"):
                    controls = [self._control(code) for code in self.codes]
                if continuous := {code.kind for code in self.codes if not code.discrete}:
                    gr.HTML(markup.notes([markup.TRAINED[kind] for kind in sorted(continuous)]))
                commands, seen = gr.HTML(), gr.HTML(elem_classes="zoo-seen")
            self.inputs = [upload, seed, *controls]
            self.of_image = [upload, dropped, back, noise, message, seen]
            self.inverted: dict[str, Any] = {
                "outputs": [*self.of_image, *controls], "show_progress_on": seen, "api_visibility": "private"
            }  # fmt: skip
            with gr.Column(min_width=320, scale=5), gr.Row():
                for view in views:
                    with gr.Column(min_width=320, elem_classes="zoo-run"):
                        self._run(view)
            self._follow(self._draw, self.inputs, [images, commands, wrong_seed])
            self.events.append(dropped.upload(self._invert, [dropped, *controls], **self.inverted))
            left = [back.click, dropped.clear]
            self.events.append(gr.on(left, _free, None, self.of_image, cancels=[*self.events], **DIRECT))
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
            return fields.slider(low, high, value, label, code.kind)
        choices = [(f"{k:.0f}", int(k)) for k in code.traversal()]
        kind = gr.Radio if len(choices) <= MOST_BUTTONS else gr.Dropdown
        return kind(choices, value=int(value), label=label)

    def _of(
        self, view: View, upload: Upload | None, seed: int, values: Sequence[float]
    ) -> tuple[list[float | None], Any, Inverted | None]:
        """The codes of a run's image, what else it is drawn from, and the inversion if it is an image of one's own."""
        at = {_key(code): value for code, value in zip(self.codes, values, strict=True)}
        if upload is None or (inversion := upload.inversions[self.views.index(view)]) is None:
            return [at[_key(code)] for code in view.codes], seed, None
        stood = {_key(code): value for code, value in zip(self.codes, upload.values, strict=True)}
        return [None if at[k] == stood[k] else at[k] for k in map(_key, view.codes)], inversion.latents, inversion

    def _draw(self, upload: Upload | None, seed: Any, *values: Any) -> Any:
        """The image of each run, the commands that draw them, and a line if the seed is wrong."""
        if None in values:  # the user is typing
            return gr.skip()
        if not fields.is_seed(seed) and (upload is None or upload.needs_seed):
            return gr.skip(), gr.skip(), markup.refusal(fields.NOT_A_SEED)
        figures, commands = [], []
        for view in self.views:
            codes, start, inversion = self._of(view, upload, seed, values)
            names = [view.title] * (len(self.views) > 1) + [self._origin(view, inversion)]
            file = f"{view.title}-{'image' if inversion else seed}"
            image, link = markup.picture(png(view.image(codes, start)), file, f"the image of {view.title}")
            figures.append(
                f"<figure>{image}<figcaption><span>{escape(', '.join(names))}</span>{link}</figcaption></figure>"
            )
            commands.append(f'<p class="zoo-command">{escape(view.command(codes, start))}</p>')
        return "".join(figures), "".join(commands), ""

    def _invert(self, file: str, *values: Any, progress: Any = gr.Progress()) -> list[Any]:  # noqa: B008
        """Invert an image by each run that reads codes."""
        try:
            upload = Upload(Path(file).read_bytes(), [None for _ in self.views], list(values))
            return self._show(upload, "", progress)
        except InputError as error:
            message = markup.refusal(f"{Path(file).name}: {error}. The images are samples.")
            return [*_free(message), *(gr.skip() for _ in values)]

    def _renew(self, upload: Upload | None, *values: Any, progress: Any = gr.Progress()) -> Any:  # noqa: B008
        """Invert the image again by runs that have loaded another checkpoint."""
        if upload is None or all(self._is_drawn(*pair) for pair in zip(self.views, upload.inversions, strict=True)):
            return gr.skip()
        message = "<p>The newly loaded checkpoint inverted your image again; the controls moved to its codes.</p>"
        return self._show(Upload(upload.data, upload.inversions, list(values)), message, progress)

    def _origin(self, view: View, inversion: Inverted | None) -> str:
        """What a run's image is, in words."""
        if inversion is None:
            return "sample"
        return "your image" + ", not yet inverted by this checkpoint" * (not self._is_drawn(view, inversion))

    @staticmethod
    def _is_drawn(view: View, inversion: Inverted | None) -> bool:
        """Whether a run has nothing to invert: it cannot, or has done so by its present checkpoint."""
        return not view.has_encoder or (inversion is not None and inversion.checkpoint == view.checkpoint)

    def _show(self, upload: Upload, message: str, progress: Any) -> list[Any]:
        """Show an image as each run draws it; the controls move to the codes that the first one reads."""
        inversions = [
            one if self._is_drawn(view, one) else view.invert(upload.data, partial(_tell, progress, view.title))
            for view, one in zip(self.views, upload.inversions, strict=True)
        ]
        stood = dict(zip(map(_key, self.codes), upload.values, strict=True))
        parts: list[str] = []
        for view, one in reversed([*zip(self.views, inversions, strict=True)]):
            if one:
                stood |= {
                    _key(c): int(v) if c.discrete else v for c, v in zip(view.codes, one.reading.values, strict=True)
                }
                parts.insert(0, markup.reading(view, one))
        shown = Upload(upload.data, inversions, [*stood.values()])
        buttons = gr.Button(visible=True), gr.Row(visible=shown.needs_seed)
        return [shown, gr.skip(), *buttons, message, "".join(parts), *stood.values()]

    def _run(self, view: View) -> None:
        """What a run has of its own: its name, a grid and curves."""
        upload, _, *controls = self.inputs
        with gr.Row(elem_classes="zoo-heading"):
            with gr.Column(min_width=0):
                heading = gr.HTML(markup.heading(view))
            narrow: dict[str, Any] = {"size": "sm", "scale": 0, "min_width": 0, "elem_classes": "zoo-newest"}
            newest = gr.Button("Load the newest checkpoint", visible=view.may_refresh, **narrow)
        loaded = newest.click(lambda: _refresh(view), None, heading, **DIRECT)
        self.events.append(loaded.then(self._renew, [upload, *controls], **self.inverted))
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
            codes, start, inversion = self._of(view, upload, seed, values)
            if None in values or (inversion is None and not fields.is_seed(seed)):
                return gr.skip()
            try:
                grid = view.grid(codes, start, across, None if down == SAMPLES else down)
            except InputError as error:
                return markup.refusal(error)
            notes = [*grid.outside, *markup.kept(view, codes, self._of(view, None, 0, values)[0], inversion)]
            image, link = markup.picture(grid.png, f"{view.title}-{across}-{down}", f"{across} by {down}")
            return markup.panel(grid.frame, image) + link + markup.notes(notes)

        self._follow(draw, [across, down, *self.inputs], picture)


def build(views: Sequence[View]) -> gr.Blocks:
    """The page of these runs, side by side."""
    return Page(views).blocks


def _key(code: Code) -> tuple[str, str, int]:
    """What codes of two runs must have in common for one control."""
    return code.name, code.kind, code.classes


def _free(message: str = "") -> tuple[Any, ...]:
    """Show samples again."""
    return None, None, gr.Button(visible=False), gr.Row(visible=True), message, ""


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
