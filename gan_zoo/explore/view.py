"""What the page shows of a run: an image of given codes, a grid of two codes, an image that was dropped."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan_zoo.analysis.encode import encoder
from gan_zoo.analysis.invert import Progress, invert
from gan_zoo.analysis.panel import Panel
from gan_zoo.analysis.traverse import axis_title, pick_codes, shown_values, traversal, value_labels
from gan_zoo.data.batches import normalise
from gan_zoo.data.pixels import decode, open_image
from gan_zoo.errors import InputError
from gan_zoo.images import GAP, cell_side, grid, png
from gan_zoo.models.gan.codes import Code
from gan_zoo.models.gan.model import GAN
from gan_zoo.models.gan.prior import SHOWN, Latents
from gan_zoo.models.infogan.q_head import Gaussian, Posterior
from gan_zoo.training.hub_download import written
from gan_zoo.training.run import find, find_step, is_checkpoint, is_export, load

MOST_CODES = 24
"""Maximum number of codes with a control; further codes are drawn with the noise."""
MOST_PIXELS = 2**24
"""Maximum size of an image, which is reduced to the model's resolution."""
UNREADABLE = "the image cannot be read: it is damaged, or in an unknown format; save it as PNG or JPEG"
ROWS = 8
"""Rows of a grid of one code."""

Start = int | Latents
"""The seed of an image's noise and of codes that are not given; or latents that have them."""


@dataclass(frozen=True)
class Reading:
    """The codes of an image according to Q.

    Attributes:
        image: The image as the model receives it.
        values: The most likely value of each code that has a control, within the control's range.
        descriptions: Q's posterior of each of these codes, in words.
    """

    image: Image.Image
    values: list[float]
    descriptions: list[str]


@dataclass(frozen=True)
class Inverted:
    """An image and its inversion: what the generator needs to draw it.

    Attributes:
        reading: Its codes.
        latents: Its noise and codes.
        rmse: The root mean squared error of the image that they draw, in grey levels from 0 to 255.
        checkpoint: The weights that draw it; others draw another image of the same latents.
    """

    reading: Reading
    latents: Latents
    rmse: float
    checkpoint: Path


@dataclass(frozen=True)
class Grid:
    """A traversal grid, and where given values are in it.

    Attributes:
        png: The grid with its labels.
        frame: Left, top, width and height of the cell of the given values, in shares of the picture; between two
            columns or rows if the values are. In a grid of samples, it is a whole column. None if a value is outside
            the grid.
        outside: Each value that is outside the grid, in words.
    """

    png: bytes
    frame: tuple[float, float, float, float] | None
    outside: list[str]


class View:
    """The page's access to a run; thread-safe, as a model that is loaded is not changed.

    Args:
        source: A run folder (for its newest intact checkpoint), a checkpoint, or an exported model.
        device: Where to compute.

    Attributes:
        title: The run's name.
        has_log: Whether there may be a log; an exported model has none.
        may_refresh: Whether a newer checkpoint may appear: not for a named checkpoint or an exported model.
        codes: The codes that have a control; empty for a plain GAN.
        hidden_codes: The number of codes without a control.
        has_encoder: Whether the model infers the codes of an image.

    Raises:
        InputError: If there is no run, or it has no intact checkpoint.
    """

    def __init__(self, source: Path, device: torch.device | str = "cpu") -> None:
        self.source, self.device = source, device
        self._drawn: tuple[object, bytes] = (None, b"")
        self.run, self.checkpoint = find(source)
        self._model = load(self.checkpoint, device=device)
        self.title = self.run.folder.absolute().name
        self.has_log = not is_export(self.checkpoint)
        self.may_refresh = self.has_log and not is_checkpoint(source)
        self.codes = self._model.codes[:MOST_CODES]
        self.hidden_codes = len(self._model.codes) - len(self.codes)
        self.has_encoder = bool(self.codes) and hasattr(self._model, "encode")

    @property
    def about(self) -> str:
        """Model, data and steps, in a line."""
        config = self.run.config
        return f"{config.model} on {Path(config.data.name).stem}, after {find_step(self.checkpoint):,} steps"

    def refresh(self) -> bool:
        """Load the newest intact checkpoint; return whether it is a newer one."""
        _, newest = find(self.source)
        if newest == self.checkpoint:
            return False
        self._model, self.checkpoint = load(newest, device=self.device), newest
        return True

    def sample_codes(self, seed: int) -> list[float]:
        """Codes drawn from the prior, within the controls' ranges."""
        values = self._model.prior.sample(1, seed=seed, stream=SHOWN).codes[0].tolist()
        return [_within(code, value) for code, value in zip(self.codes, values, strict=False)]

    def image(self, values: Sequence[float | None], start: Start) -> Image.Image:
        """The image of codes with these values, in the order of `codes`; None keeps the value of `start`.

        Raises:
            InputError: If a code does not accept its value.
        """
        model = self._model
        drawn = start if isinstance(start, Latents) else model.prior.sample(1, seed=start, stream=SHOWN)
        return grid(model.generate(model.prior.with_codes(drawn, self._named(values))), 1)

    def command(self, values: Sequence[float | None], start: Start) -> str:
        """The command line that draws the same image."""
        named = ",".join(f"{name}={value:.9g}" for name, value in self._named(values).items())
        codes, run = ["--codes", named] if named else [], written(self.source)
        if isinstance(start, Latents):
            return shlex.join(["gan-zoo", "edit" if named else "invert", run, "IMAGE", *codes])
        return shlex.join(["gan-zoo", "sample", run, "--n", "1", "--seed", str(start), *codes])

    def grid(self, values: Sequence[float | None], start: Start, across: str, down: str | None) -> Grid:
        """A picture that varies two codes and fixes all else; or one code, with one sample per row.

        Args:
            values: Values of the codes, as in `image`.
            start: What all else is taken from; without `down`, in the first row.
            across: The code along the columns.
            down: The code down the rows.

        Raises:
            InputError: If a code does not exist, or is named twice.
        """
        model, named = self._model, self._named(values)
        if across == down:
            raise InputError(f"{across} is chosen for both the columns and the rows; choose two codes")
        codes = [code for name in (down, across) if name for code in pick_codes(model, name)]
        axes = [(code, shown_values(code, None)) for code in codes]
        samples = 1 if down else ROWS
        first = start if isinstance(start, Latents) else model.prior.sample(samples, seed=start, stream=SHOWN)
        if len(first) < samples:
            first = Latents.cat([first, model.prior.sample(samples - len(first), seed=0, stream=SHOWN)])
        fixed = {name: value for name, value in named.items() if down and name not in (across, down)}
        labels = value_labels(axes[0][1]) if down else [str(k + 1) for k in range(ROWS)]
        panel = Panel(
            cell_side(model.image.resolution),
            value_labels(axes[-1][1]),
            labels,
            across=axis_title(axes[-1]),
            down=axis_title(axes[0]) if down else "sample",
        )
        key = (self.checkpoint, across, down, first.input.tolist(), first.codes.tolist(), fixed)
        if key != self._drawn[0]:  # else only the frame has moved
            images = traversal(model, *axes, samples=samples, seed=first, fixed=fixed, most_side=panel.cell)
            cells = images.reshape(len(labels), len(panel.columns), *images.shape[-3:])
            self._drawn = key, png(panel.draw(cells))
        values_of = model.prior.with_codes(first.first(1), named).codes[0].tolist()
        stand = [values_of[model.codes.index(code)] for code, _ in axes]
        outside = [
            f"{code.name} = {value:.4g} is outside the grid, which shows {shown[0]:g} to {shown[-1]:g}."
            for value, (code, shown) in zip(stand, axes, strict=True)
            if not shown[0] <= value <= shown[-1]
        ]
        at = [float(np.interp(value, shown, range(len(shown)))) for value, (_, shown) in zip(stand, axes, strict=True)]
        frame = None if outside else _frame(panel, at[-1], at[0] if down else None)
        return Grid(self._drawn[1], frame, outside)

    def read(self, data: bytes) -> Reading:
        """The codes of an encoded image.

        Raises:
            InputError: If the image cannot be read, or the model cannot infer codes.
        """
        return self._read(self._model, data)[0]

    def invert(self, data: bytes, progress: Progress | None = None) -> Inverted:
        """The inversion of an encoded image; see `gan_zoo.analysis.invert`.

        Raises:
            InputError: As `read`.
        """
        model, checkpoint = self._model, self.checkpoint  # another may be loaded meanwhile
        reading, images = self._read(model, data)
        result = invert(model, images, progress=progress)
        return Inverted(reading, result.latents, result.rmse.item(), checkpoint)

    def _read(self, loaded: GAN, data: bytes) -> tuple[Reading, Tensor]:
        """The codes of an encoded image; and the image as the model receives it, [1, C, R, R] in [-1, 1]."""
        model = encoder(loaded)
        images = normalise(_pixels(data, loaded)[None])
        with torch.no_grad():
            posteriors = model.encode(images.to(model.device))
        readings = [_read_code(code, posteriors[code.name]) for code in self.codes]
        return Reading(grid(images, 1), [value for value, _ in readings], [words for _, words in readings]), images

    def _named(self, values: Sequence[float | None]) -> dict[str, float]:
        pairs = zip(self.codes, values, strict=True)
        return {code.name: float(value) for code, value in pairs if value is not None}


def _frame(panel: Panel, column: float, row: float | None) -> tuple[float, float, float, float]:
    """The frame of a cell, or of a column, as in `Grid`."""
    (width, height), (left, above, _), pitch = panel.size, panel.margins, panel.cell + GAP
    tall = panel.extent[1] if row is None else panel.cell
    return (left + column * pitch) / width, (above + (row or 0) * pitch) / height, panel.cell / width, tall / height


def limits(code: Code) -> tuple[float, float]:
    """The range of a continuous code's control: that of traversals, and wider for a Gaussian code."""
    return (-3.0, 3.0) if code.kind == "gaussian" else (-2.0, 2.0)


def _within(code: Code, value: float) -> float:
    if code.discrete:
        return value
    low, high = limits(code)
    return round(min(high, max(low, value)), 2)


def _pixels(data: bytes, model: GAN) -> Tensor:
    """Decode an uploaded image: uint8 [C, R, R]."""
    try:
        with open_image(BytesIO(data)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"{image.width}×{image.height} pixels, more than {MOST_PIXELS:,}; reduce it")
            return decode(image, model.image, model.config.data.fit)
    except Exception as error:  # Pillow raises nearly anything
        ours = type(error) is ValueError and str(error).isprintable()
        raise InputError(str(error)[:120] if ours else UNREADABLE) from error


def _read_code(code: Code, posterior: Posterior) -> tuple[float, str]:
    """A code's most likely value within its control's range, and the posterior in words."""
    if isinstance(posterior, Gaussian):
        mean, log_variance = posterior.mean.item(), posterior.log_variance.item()
        value = _within(code, mean)
        spread = f" ± {math.exp(log_variance / 2):.2f}"
        beyond = f", beyond the slider, which is at {value:g}" if abs(mean - value) > 0.01 else ""
        return value, f"{mean:.2f}{spread}{beyond}"
    if code.kind == "bernoulli":
        p = posterior.item()
        return float(p > 0.5), f"{p > 0.5:d}, {max(p, 1 - p):.1%} sure"
    likely = posterior[0].topk(min(3, code.classes))
    words = [f"{k} ({p:.1%})" for p, k in zip(*(part.tolist() for part in likely), strict=True)]
    return float(likely.indices[0]), ", ".join(words)
