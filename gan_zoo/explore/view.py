"""What the page shows of a run: an image of chosen codes, a grid of two codes, the codes of an image."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from threading import Lock

import torch
from PIL import Image
from torch import Tensor

from gan_zoo.analysis.encode import encoder
from gan_zoo.analysis.traverse import draw_traversals, pick_codes
from gan_zoo.data.batches import normalise
from gan_zoo.data.pixels import decode, open_image
from gan_zoo.errors import InputError
from gan_zoo.images import grid
from gan_zoo.models.gan.codes import Code
from gan_zoo.models.gan.model import GAN
from gan_zoo.models.gan.prior import SHOWN
from gan_zoo.models.infogan.q_head import Gaussian, Posterior
from gan_zoo.training.hub_download import written
from gan_zoo.training.run import find, find_step, is_checkpoint, is_export, load

MOST_CODES = 24
"""Codes that the page has a control for; of a model with more, the others are drawn with the noise."""
MOST_PIXELS = 2**24
"""Images with more pixels than this are not read: they would be shrunk to the model's side."""


@dataclass(frozen=True)
class Reading:
    """What Q tells of an image.

    Attributes:
        seen: The image as the model is given it.
        values: The most likely value of each code that has a control, within what its control takes.
        descriptions: Of each of these codes, what Q says in words.
    """

    seen: Image.Image
    values: list[float]
    descriptions: list[str]


class View:
    """A run as the page looks at it; safe to ask from several threads.

    Args:
        source: A run folder, whose newest whole checkpoint is shown, one checkpoint, or an exported model.
        device: Where to compute.

    Raises:
        InputError: If there is no run, or none with a whole checkpoint.
    """

    def __init__(self, source: Path, device: torch.device | str = "cpu") -> None:
        self.source = source
        self.device = device
        self._lock = Lock()
        self.run, self.checkpoint = find(source)
        self._model = load(self.checkpoint, device=device)

    @property
    def title(self) -> str:
        """What the page calls the run."""
        return self.run.folder.absolute().name

    @property
    def about(self) -> str:
        """The model, its data and how long it trained, in a line."""
        config = self.run.config
        return f"{config.model} on {Path(config.data.name).stem}, after {find_step(self.checkpoint):,} steps"

    @property
    def logged(self) -> bool:
        """Whether there may be a log: an exported model has none."""
        return not is_export(self.checkpoint)

    @property
    def grows(self) -> bool:
        """Whether a newer checkpoint may come: not where one was named, nor of an exported model."""
        return self.logged and not is_checkpoint(self.source)

    @property
    def codes(self) -> tuple[Code, ...]:
        """The codes that have a control; none of a plain GAN."""
        return self._model.codes[:MOST_CODES]

    @property
    def unshown(self) -> int:
        """How many codes have no control."""
        return max(0, len(self._model.codes) - MOST_CODES)

    @property
    def reads(self) -> bool:
        """Whether the model tells codes from an image."""
        return bool(self._model.codes) and hasattr(self._model, "encode")

    def refresh(self) -> bool:
        """Take the newest whole checkpoint; whether there was a newer one."""
        _, newest = find(self.source)
        if newest == self.checkpoint:
            return False
        model = load(newest, device=self.device)
        with self._lock:
            self._model, self.checkpoint = model, newest
        return True

    def drawn(self, seed: int) -> list[float]:
        """Values of the codes as the prior draws them, within what the controls take."""
        values = self._model.prior.sample(1, seed=seed, stream=SHOWN).codes[0].tolist()
        return [_within(code, value) for code, value in zip(self.codes, values, strict=False)]

    def image(self, values: Sequence[float], seed: int) -> Image.Image:
        """The image of codes with these values and of the noise that `seed` decides.

        Raises:
            InputError: For a value that a code does not take.
        """
        with self._lock:
            images = self._model.sample(1, self._named(values), seed=seed)
        return grid(images, 1)

    def command(self, values: Sequence[float], seed: int) -> str:
        """The command line that draws the same image."""
        codes = ",".join(f"{name}={value:.9g}" for name, value in self._named(values).items())
        words = ["gan-zoo", "sample", written(self.source), "--n", "1", "--seed", str(seed)]
        return shlex.join([*words, "--codes", codes] if codes else words)

    def grid(self, values: Sequence[float], seed: int, across: str, down: str | None) -> Image.Image:
        """A picture of one code by another, all else held; or of one code, with a sample a row.

        Args:
            values: What the further codes are held at.
            seed: Decides the noise; without `down`, the further codes, too.
            across: The code along the columns.
            down: The code down the rows.

        Raises:
            InputError: For a code that is not there, or is named twice.
        """
        with self._lock:
            if down is None:
                return draw_traversals(self._model, pick_codes(self._model, across), rows=8, seed=seed)
            (code,), (other,) = pick_codes(self._model, across), pick_codes(self._model, down)
            if other == code:
                raise InputError(f"{across} is chosen for both the columns and the rows; choose two codes")
            return draw_traversals(self._model, [code], by=other, seed=seed, fixed=self._named(values))

    def read(self, data: bytes) -> Reading:
        """The codes of an encoded image.

        Raises:
            InputError: If it is no image that can be read, or the model tells no codes.
        """
        teller = encoder(self._model)
        pixels = _pixels(data, self._model)
        images = normalise(pixels[None])
        with self._lock, torch.no_grad():
            posteriors = teller.encode(images.to(self._model.device))
        readings = [_read_code(code, posteriors[code.name]) for code in self.codes]
        return Reading(grid(images, 1), [value for value, _ in readings], [words for _, words in readings])

    def _named(self, values: Sequence[float]) -> dict[str, float]:
        return {code.name: float(value) for code, value in zip(self.codes, values, strict=True)}


def limits(code: Code) -> tuple[float, float]:
    """What the control of a continuous code takes: where its traversals go, for a Gaussian one some more."""
    return (-3.0, 3.0) if code.kind == "gaussian" else (-2.0, 2.0)


def _within(code: Code, value: float) -> float:
    if code.discrete:
        return value
    low, high = limits(code)
    return round(min(high, max(low, value)), 2)


def _pixels(data: bytes, model: GAN) -> Tensor:
    """Decode an image that somebody brings: uint8 [C, R, R]."""
    try:
        with open_image(BytesIO(data)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"{image.width}×{image.height} pixels, more than {MOST_PIXELS:,}")
            return decode(image, model.image)
    except Exception as error:  # Pillow raises nearly anything
        known = type(error) is ValueError and str(error).isprintable()
        raise InputError(str(error)[:120] if known else "this is no image that can be read") from error


def _read_code(code: Code, posterior: Posterior) -> tuple[float, str]:
    """A code's most likely value within its control, and what Q says."""
    if isinstance(posterior, Gaussian):
        mean, log_variance = posterior.mean.item(), posterior.log_variance.item()
        value = _within(code, mean)
        spread = f" ± {math.exp(log_variance / 2):.2f}" if log_variance else ""  # 0: Q's variance is fixed, not told
        beyond = f", beyond the slider, which is at {value:g}" if abs(mean - value) > 0.01 else ""
        return value, f"{mean:.2f}{spread}{beyond}"
    if code.kind == "bernoulli":
        p = posterior.item()
        return float(p > 0.5), f"{p > 0.5:d}, {max(p, 1 - p):.1%} sure"
    likely = posterior[0].topk(min(3, code.classes))
    words = [f"{k} ({p:.1%})" for p, k in zip(*(part.tolist() for part in likely), strict=True)]
    return float(likely.indices[0]), ", ".join(words)
