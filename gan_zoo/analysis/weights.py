"""The registered weights: trained models that a name stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from gan_zoo.analysis.result_tables import HEADLINES, number
from gan_zoo.analysis.results import comparable, measured
from gan_zoo.analysis.survey import best_figures
from gan_zoo.registry import weights
from gan_zoo.terminal import table
from gan_zoo.training.exported import WEIGHTS, read_description
from gan_zoo.training.run import Run, weights_folder


@dataclass(frozen=True)
class Registered:
    """Weights that a name stands for.

    Attributes:
        name: The name.
        model: The name of their model.
        data: The name of the data that they were trained on.
        size: Size of their file in bytes.
        figures: By `metric/number`, what `gan-zoo evaluate` measured, from evaluation.json beside the weights.
        license: Origin and licence of the data; empty if it is not stated.
        origin: The distribution that registers the name.
    """

    name: str
    model: str
    data: str
    size: int
    figures: dict[str, float]
    license: str
    origin: str

    @property
    def record(self) -> dict[str, Any]:
        """For JSON, with the origin as `from`, as the other lists have it."""
        record = asdict(self)
        return record | {"from": record.pop("origin")}


def registered() -> list[Registered]:
    """All registered weights, by name.

    Raises:
        InputError: If a plug-in's cannot be read.
    """
    return [_read(name) for name in weights.entries]


def _read(name: str) -> Registered:
    folder = weights_folder(name)
    description = read_description(folder)
    config = description.config
    best = best_figures(Run(folder, config), comparable(measured(folder)))
    figures = {metric: one["value"] for metric, one in best.items()}
    size = (folder / WEIGHTS).stat().st_size
    origin = weights.entries[name].origin
    return Registered(name, config.model, config.data.name, size, figures, description.data_license, origin)


def weights_table(models: Sequence[Registered]) -> Table:
    """Registered weights, one per row, with a few of their figures."""
    titles = [title for title, metric in HEADLINES.items() if any(metric in one.figures for one in models)]
    rows: list[list[str | Text]] = []
    for one in models:
        figures = [number(one.figures[HEADLINES[t]]) if HEADLINES[t] in one.figures else "" for t in titles]
        size = f"{one.size / 2**20:.1f} MiB"
        rows.append([one.name, one.model, Text(one.data), size, *figures])
    return table("", ["weights", "model", "data", "size", *titles], rows, left=3)


def sources_of(models: Sequence[Registered]) -> list[str]:
    """A line for each of the registered weights: origin and licence of their data, and the plug-in they are from."""
    return [
        f"data of {one.name}: {one.license or 'licence not stated'}"
        + ("" if one.origin == "gan-zoo" else f"; weights from {one.origin}")
        for one in models
    ]
