"""Evaluation while a model trains: when it takes place, and whether it is the best so far."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from gan_zoo.config import Config
from gan_zoo.data.dataset import Dataset
from gan_zoo.errors import InputError
from gan_zoo.models.gan.model import GAN
from gan_zoo.training.best import Best
from gan_zoo.training.state import State

EVALUATION = "evaluation/"
"""Begins the names of evaluations in the log; the rest is the measure."""


class Measures(Protocol):
    """Measures a model while it trains, as `gan_zoo.analysis.monitor.Monitor` does.

    Attributes:
        config: The configuration, with the features that `logging.features = "auto"` stands for.
        best: The measure of `logging.best`, with its features; empty if none is set.
        lower_is_better: Whether it is better when lower.
        notes: Lines for the user on what is measured.
    """

    config: Config
    best: str
    lower_is_better: bool
    notes: list[str]

    def prepare(self) -> None:
        """Compute what the measures need of the data, before the run begins.

        Raises:
            InputError: If an image cannot be read, or a network is unavailable.
        """

    def measure(self, model: GAN) -> dict[str, float]:
        """The measures of a model in evaluation mode, by name."""


MeasuresOf = Callable[[Config, Dataset, GAN], Measures]
"""Makes the measures of a run; raises InputError if its settings cannot be carried out."""


def open_measures(make: MeasuresOf | None, config: Config, dataset: Dataset, model: GAN) -> Measures | None:
    """The measures of a run; None if it evaluates nothing.

    Raises:
        InputError: If the settings contradict each other or cannot be carried out.
    """
    settings = config.logging
    if not settings.evaluate_every:
        if settings.best:
            raise InputError(
                f"logging.best = {settings.best!r} requires logging.evaluate_every, the steps between evaluations, "
                f"e.g. {settings.checkpoint_every}, or empty to keep no best checkpoint"
            )
        return None
    if make is None:
        raise InputError("logging.evaluate_every requires measures; gan_zoo.train and gan-zoo train have them")
    return make(config, dataset, model)


class Evaluation:
    """The evaluations of a run; rank 0 measures.

    Args:
        measures: What is measured; None evaluates nothing.
        state: The run's state, whose best evaluation is kept up to date.

    Attributes:
        improved: Whether the last evaluation was the best so far; known to all ranks.
    """

    def __init__(self, measures: Measures | None, state: State, config: Config) -> None:
        self.measures, self.state = measures, state
        self.every, self.steps = config.logging.evaluate_every, config.training.steps
        self.improved = False

    def due(self, step: int) -> bool:
        """Whether the weights after `step` steps are evaluated."""
        return self.measures is not None and (step % self.every == 0 or step == self.steps)

    def measure(self) -> dict[str, float]:
        """Evaluate the present weights; every rank must call it.

        Returns:
            The finite measures by their names in the log; none on other ranks than the first.
        """
        measures, state = self.measures, self.state
        assert measures is not None
        values: dict[str, float] = {}
        best = state.best
        if state.ranks.leads:
            with state.averaged() as model:
                values = {name: value for name, value in measures.measure(model).items() if math.isfinite(value)}
            if (value := values.get(measures.best)) is not None and self._improves(value):
                state.best = Best(measures.best, value, state.step)
        (improved,) = state.ranks.from_first([state.best is not best])
        self.improved = bool(improved)
        return {f"{EVALUATION}{name}": value for name, value in values.items()}

    def _improves(self, value: float) -> bool:
        """Whether a value of the measure is better than the best so far, or the first of this measure."""
        measures, best = self.measures, self.state.best
        assert measures is not None
        if best is None or best.measure != measures.best:
            return True
        return value < best.value if measures.lower_is_better else value > best.value
