"""What the page shows of a run: an image of given codes, a grid of two codes, the codes of an image."""

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
"""Maximum number of codes with a control; further codes are drawn with the noise."""
MOST_PIXELS = 2**24
"""Maximum size of an image, which is reduced to the model's resolution."""


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


class View:
    """The page's access to a run; thread-safe.

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
        self.source, self.device, self._lock = source, device, Lock()
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
        model = load(newest, device=self.device)
        with self._lock:
            self._model, self.checkpoint = model, newest
        return True

    def sample_codes(self, seed: int) -> list[float]:
        """Codes drawn from the prior, within the controls' ranges."""
        values = self._model.prior.sample(1, seed=seed, stream=SHOWN).codes[0].tolist()
        return [_within(code, value) for code, value in zip(self.codes, values, strict=False)]

    def image(self, values: Sequence[float], seed: int) -> Image.Image:
        """The image of codes with these values and the noise of `seed`.

        Raises:
            InputError: If a code does not accept its value.
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
        """A picture that varies two codes and fixes all else; or one code, with one sample per row.

        Args:
            values: Values of the other codes.
            seed: Seed of the noise; without `down`, of the other codes, too.
            across: The code along the columns.
            down: The code down the rows.

        Raises:
            InputError: If a code does not exist, or is named twice.
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
            InputError: If the image cannot be read, or the model cannot infer codes.
        """
        model = encoder(self._model)
        pixels = _pixels(data, self._model)
        images = normalise(pixels[None])
        with self._lock, torch.no_grad():
            posteriors = model.encode(images.to(model.device))
        readings = [_read_code(code, posteriors[code.name]) for code in self.codes]
        return Reading(grid(images, 1), [value for value, _ in readings], [words for _, words in readings])

    def _named(self, values: Sequence[float]) -> dict[str, float]:
        return {code.name: float(value) for code, value in zip(self.codes, values, strict=True)}


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
                raise ValueError(f"{image.width}×{image.height} pixels, more than {MOST_PIXELS:,}")
            return decode(image, model.image, model.config.data.fit)
    except Exception as error:  # Pillow raises nearly anything
        ours = type(error) is ValueError and str(error).isprintable()
        raise InputError(str(error)[:120] if ours else "the image cannot be read") from error


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
