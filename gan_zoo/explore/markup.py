"""What the page is made of: its style, and its pieces of HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from gan_zoo.analysis import curves
from gan_zoo.explore.view import Inverted, View, limits
from gan_zoo.images import inline, png
from gan_zoo.models.gan.codes import Code, Kind

CSS = f"""
{curves.STYLE}
:root {{ {curves.LIGHT} }} .dark {{ {curves.DARK} }}
.gradio-container {{ overflow: clip !important; }}
.zoo-left > * {{ flex-grow: 0 !important; }}
.zoo-stage {{ position: sticky; top: 0; z-index: 60; padding: .5rem 0; background: var(--body-background-fill);
  align-items: stretch; flex-wrap: nowrap; }}
.zoo-images.prose {{ display: flex; gap: .75rem; }}
.zoo-images figure {{ flex: 1 1 0; min-width: 0; max-width: 16rem; margin: 0; }}
.zoo-images img {{ display: block; width: 100%; margin: 0; }}
.zoo-drop :is(.icon-wrap, .download) {{ display: none; }}
.zoo-told:not(:has(p)) {{ display: none; }}
:is(.zoo-images, .zoo-grid) a {{ padding: 0; }}
.zoo-images figcaption {{ display: flex; flex-wrap: wrap; justify-content: space-between; align-items: baseline;
  gap: 0 .75rem; }}
:is(.zoo-images, .zoo-seen) img {{ image-rendering: pixelated; border: 1px solid var(--border-color-primary); }}
.zoo-seen img {{ width: 5rem; }}
.zoo-seen div {{ display: flex; gap: 1rem; align-items: center; flex-wrap: wrap; }}
.zoo-seen :is(td, th) {{ border: 0; padding: .1rem .75rem .1rem 0; text-align: left; }}
.zoo-panel {{ position: relative; border: .5rem solid #fff; border-radius: 4px;
  max-width: max(20rem, min(46rem, 100vh - 14rem)); }}
.zoo-panel img {{ display: block; width: 100%; }}
.zoo-mark {{ position: absolute; outline: 3px solid #f97316; box-shadow: 0 0 0 5px #fff; pointer-events: none; }}
.zoo-row {{ align-items: end; }}
.zoo-heading {{ display: block; position: relative; min-height: 7rem; }}
.zoo-heading h2 {{ margin-right: 12rem !important; overflow-wrap: anywhere; }}
.zoo-newest {{ position: absolute; top: .5rem; right: 0; }}
.zoo-note {{ font-size: .85rem; margin: .25rem 0 0; }}
.zoo-controls input::-webkit-slider-thumb {{ box-shadow: 0 0 0 1px var(--neutral-400); }}
.zoo-controls input::-moz-range-thumb {{ box-shadow: 0 0 0 1px var(--neutral-400); }}
.zoo-command {{ font-family: var(--font-mono); font-size: .75rem; overflow-wrap: anywhere; margin: .3rem 0; }}
.zoo-refused {{ color: var(--error-text-color, #b91c1c); }}
@media (max-width: 640px) {{
  .zoo-stage {{ display: contents; }}
  .zoo-stage > * {{ flex-grow: 0 !important; }}
  .zoo-stage > :first-child {{ position: sticky; top: 0; z-index: 60; padding: .5rem 0;
    background: var(--body-background-fill); }}
  .zoo-stage > :last-child {{ flex-flow: row wrap; align-items: end; }}
  .zoo-stage > :last-child > * {{ flex: 1 1 8rem; }}
  .zoo-images figure {{ max-width: 10rem; }}
}}
"""

TRAINED: dict[Kind, str] = {
    "uniform": "The marks on a slider bound the values that its code was trained on.",
    "gaussian": "The marks on a gaussian code's slider bound 95 % of the values that it was trained on.",
}
"""What the marks on a slider mean, by the code's kind."""


def marks(kind: Kind) -> str:
    """The style of a slider with a mark at each end of a traversal of its code."""
    code = Code("", kind)
    low, high = limits(code)
    mark = "linear-gradient(90deg, #0000 7px, var(--body-text-color-subdued) 7px 9px, #0000 9px)"
    places = (f"{mark} {(end - low) / (high - low):.2%} 0 / 16px 100% no-repeat" for end in code.traversal(2))
    above = "padding: 5px 0; margin: -5px 0"  # for the marks, which the track would cover
    return f".zoo-controls .zoo-{kind} input[type=range] {{ background: {', '.join(places)}; {above}; }}\n"


CSS += "".join(map(marks, TRAINED))


def heading(view: View, note: str = "") -> str:
    """A run's name, and model, data and steps in a line."""
    return f"<h2>{escape(view.title)}</h2><p>{escape(view.about)}{escape(note)}</p>"


def reading(view: View, inverted: Inverted) -> str:
    """The input of a run's model, the error of its reconstruction, and Q's posteriors."""
    rows = zip(view.codes, inverted.reading.descriptions, strict=True)
    cells = "".join(f"<tr><td>{escape(code.name)}</td><td>{escape(words)}</td></tr>" for code, words in rows)
    picture = f'<img src="{inline(png(inverted.reading.image))}" alt="the input of the model">'
    error = f"{escape(view.title)}: drawn with an error of {inverted.rmse:.1f} of 255 grey levels"
    return f"<p>{error}</p><div>{picture}<table><tr><th>code</th><th>Q(c | x)</th></tr>{cells}</table></div>"


def picture(png: bytes, name: str, description: str) -> tuple[str, str]:
    """A picture, and a link to download it."""
    data = inline(png)
    link = f'<a href="{data}" download="{escape(name)}.png">Download</a>'
    return f'<img src="{data}" alt="{escape(description)}">', link


def refusal(error: Exception | str) -> str:
    """A line that says why something is not shown."""
    return f'<p class="zoo-refused">{escape(str(error))}</p>'


def panel(frame: tuple[float, float, float, float] | None, image: str) -> str:
    """A grid's picture, with the frame around a cell."""
    mark = ""
    if frame:
        places = zip(("left", "top", "width", "height"), frame, strict=True)
        style = "; ".join(f"{side}: {share:.2%}" for side, share in places)
        mark = f'<div class="zoo-mark" style="{style}"></div>'
    return f'<div class="zoo-panel">{image}{mark}</div>'


def kept(
    view: View, codes: Sequence[float | None], controls: Sequence[float | None], inversion: Inverted | None
) -> list[str]:
    """The codes that draw an inverted image where their controls show other values, as a sentence; [] if none."""
    if inversion is None:
        return []
    drawn = zip(view.codes, codes, inversion.latents.codes[0].tolist(), controls, strict=False)  # further codes: hidden
    values = [
        f"{code.name} = {round(value, 2):g}"
        for code, moved, value, at in drawn
        if moved is None and at is not None and abs(value - at) > 0.01
    ]
    return [f"Your image is drawn with {', '.join(values)} until their controls move."] if values else []


def notes(sentences: Sequence[str]) -> str:
    """Notes below a picture."""
    return "".join(f'<p class="zoo-note">{escape(sentence)}</p>' for sentence in sentences)
