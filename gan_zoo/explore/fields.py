"""Fields of the page that take what a user types or drops: a seed, a code, an image."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any

import gradio as gr

SEEDS = 2**53
"""Seeds of the noise are less: beyond, JavaScript rounds integers."""
NOT_A_SEED = f"The noise seed must be an integer from 0 to {SEEDS - 1}; the images keep the previous one."
DIRECT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""Options of a call: one request, one answer."""


def seed_row() -> tuple[gr.Row, gr.Number]:
    """The seed of the noise, with a button that draws another; and the row that has both."""
    with gr.Row(elem_classes="zoo-row") as row:
        seed = gr.Number(0, label="noise seed", min_width=110)
        redraw = gr.Button("New noise", size="sm", min_width=90)
    redraw.click(lambda: secrets.randbelow(2**31), None, seed, **DIRECT)
    return row, seed


def is_seed(value: Any) -> bool:
    """Whether a value of the field is a seed."""
    return type(value) is int and 0 <= value < SEEDS


def _between(low: float, high: float, value: float | None) -> float | None:
    """A value within limits; None while the user types another, which the page corrects afterwards."""
    return value if value is not None and low <= value <= high else None


def drop(visible: bool) -> tuple[gr.File, gr.Button]:
    """A field for an image of one's own, and the button that leaves it."""
    words = {"label": "your image", "elem_classes": "zoo-drop"}
    dropped = gr.File(file_types=["image"], height=120, visible=visible, **words)
    # Gradio fails if it does not know the file's ending; Pillow decides what is an image.
    dropped.preprocess = lambda file: file and file.path
    return dropped, gr.Button("Back to samples", size="sm", visible=False)


def slider(low: float, high: float, value: float, label: str, kind: str) -> gr.Slider:
    """A slider of a continuous code, with marks at the ends of the range that its kind is trained on."""
    slider = gr.Slider(low, high, value, step=0.01, label=label, elem_classes=f"zoo-{kind}")
    slider.preprocess = partial(_between, low, high)  # gradio's fails outside
    return slider
