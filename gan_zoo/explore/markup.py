"""What the page is made of: its style, and its pieces of HTML."""

from __future__ import annotations

from html import escape

from gan_zoo.analysis import curves
from gan_zoo.explore.view import Inverted, View
from gan_zoo.images import inline, png

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
.zoo-drop .icon-wrap {{ display: none; }}
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
.zoo-controls input::-webkit-slider-thumb {{ box-shadow: 0 0 0 1px var(--neutral-400); }}
.zoo-controls input::-moz-range-thumb {{ box-shadow: 0 0 0 1px var(--neutral-400); }}
.zoo-command {{ font-family: var(--font-mono); font-size: .75rem; overflow-wrap: anywhere; margin: .3rem 0; }}
.zoo-refused {{ color: var(--error-text-color, #b91c1c); }}
"""


def heading(view: View, note: str = "") -> str:
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


def refusal(error: Exception) -> str:
    return f'<p class="zoo-refused">{escape(str(error))}</p>'
