"""The report of a benchmark, with every raw sample, as JSON that is validated when read."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from scipy.stats import quantile_test

from gan_zoo.errors import InputError
from gan_zoo.files import decode_text, write_json
from gan_zoo.trees import in_our_words

CONFIDENCE = 0.95

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Interval(NamedTuple):
    """A median with its 95 % confidence interval."""

    median: float
    low: float
    high: float


class Record(BaseModel):
    """A part of a report: immutable, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Samples(Record):
    """The times of one case, in order.

    Attributes:
        seconds: Seconds per call.
        facts: Other figures of a call, by name: `images`, `flops`, `bytes`, `peak_bytes`, `launches`, `waiting` (share
            of the time spent waiting for data); on CUDA also `kernels` (kernels, copies and fills on the device),
            `busy` (share of the time in which any of them runs) and `host_seconds` (the host's time without
            synchronisation).
    """

    seconds: Annotated[tuple[Seconds, ...], Field(min_length=1)]
    facts: dict[str, Number] = {}

    @cached_property
    def time(self) -> Interval:
        """Seconds per call."""
        return interval(self.seconds)


class Cell(Record):
    """Cases that were measured in turn, so that a drift of the machine affects all alike.

    Attributes:
        key: What the cases have in common, e.g. `trunk`, `batch`, `precision`.
        cases: Their samples by name; the k-th samples of all cases are from the same round.
        missing: The reason why a case, or the whole cell (""), is missing, e.g. `out of memory`.
    """

    key: dict[str, str | int]
    cases: dict[str, Samples] = {}
    missing: dict[str, str] = {}

    @model_validator(mode="after")
    def _taken_in_turn(self) -> Cell:
        if len({len(samples.seconds) for samples in self.cases.values()}) > 1:
            raise ValueError("cases that take turns have as many samples each")
        return self

    @property
    def name(self) -> str:
        """The key, as one text."""
        return " · ".join(str(value) for value in self.key.values())

    def ratio(self, numerator: str, denominator: str) -> Interval:
        """The ratio of the times of two cases, pair by pair."""
        pairs = zip(self.cases[numerator].seconds, self.cases[denominator].seconds, strict=True)
        return interval([a / b for a, b in pairs])


class Report(Record):
    """A report of `gan-zoo bench`.

    Attributes:
        format: Version of the format.
        suite: The suite.
        environment: Device, driver, versions and git revision.
        settings: The suite's settings.
        rates: The device's peak rates: FLOP/s of matrix products (`matmul/bf16`), bytes/s of a copy (`copy`).
        cells: The measurements.
        notes: What could not be measured, and why.
    """

    format: Literal[1] = 1
    suite: Literal["step", "kernels"]
    environment: dict[str, Any]
    settings: dict[str, Any]
    rates: dict[str, Number]
    cells: tuple[Cell, ...]
    notes: tuple[str, ...] = ()

    def write(self, path: Path) -> Path:
        """Write the report as JSON, completely or not at all."""
        return write_json(self.model_dump(mode="json"), path)

    @property
    def device(self) -> str:
        """The device's name."""
        return str(self.environment.get("device", "unknown device"))


def read(path: Path) -> Report:
    """Read a report.

    Raises:
        InputError: If the file does not exist or is not a report of this format.
    """
    try:
        return Report.model_validate_json(decode_text(path.read_bytes()))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = ": ".join(filter(None, [".".join(map(str, first["loc"])), in_our_words(first)]))
        raise InputError(f"{path} is not a report of gan-zoo bench: {message}") from None
    except ValueError as error:
        raise InputError(f"{path} is not a report of gan-zoo bench: {error}") from None


def interval(values: Sequence[float]) -> Interval:
    """The median of independent values and its confidence interval by order statistics (Conover, 1999, 3.2).

    If there are too few values for a confidence of 95 %, the interval spans them all.
    """
    bounds = quantile_test(values, p=0.5).confidence_interval(CONFIDENCE)
    low, high = (float(bound) for bound in bounds)
    return Interval(
        statistics.median(values),
        low if math.isfinite(low) else min(values),
        high if math.isfinite(high) else max(values),
    )
