"""What `gan-zoo evaluate` wrote into a run, read again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_zoo.errors import InputError
from gan_zoo.files import text_of

LONGEST = 2**20
"""Bytes of JSON beyond which a file is no evaluation."""


@dataclass(frozen=True)
class Evaluation:
    """The numbers of one checkpoint.

    Attributes:
        step: The checkpoint's.
        n: How many samples were drawn.
        seed: Decided them.
        metrics: Numbers by metric and name, all finite.
        notes: What a reader of a metric's numbers should know.
    """

    step: int
    n: int
    seed: int
    metrics: Mapping[str, Mapping[str, float]]
    notes: Mapping[str, str]


def read_evaluation(path: Path) -> Evaluation:
    """The evaluation in a file.

    Raises:
        InputError: If it is none.
    """
    try:
        if path.stat().st_size > LONGEST:
            raise ValueError(f"it is longer than {LONGEST:,} bytes")
        told = json.loads(text_of(path.read_bytes()))
        step, n, seed = (_count(told[key]) for key in ("step", "n", "seed"))
        metrics = {str(m): {str(k): _number(v) for k, v in row.items()} for m, row in told["metrics"].items()}
        notes = {str(metric): str(note) for metric, note in told.get("notes", {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError | TypeError) else error
        raise InputError(f"{path} is no evaluation: {reason}; `gan-zoo evaluate` writes it anew") from None
    return Evaluation(step, n, seed, metrics, notes)


def evaluations(folder: Path) -> list[Evaluation]:
    """All evaluations that lie in a run folder, those of later steps last; files that are none are left out."""
    found = []
    for path in sorted(folder.glob("evaluation*.json")):
        try:
            found.append(read_evaluation(path))
        except InputError:
            continue
    return sorted(found, key=lambda one: one.step)


def evaluation_of(folder: Path, checkpoint: str, step: int) -> Evaluation | None:
    """The evaluation of one checkpoint of a run, if there is one.

    Raises:
        InputError: If a file that would hold it is damaged.
    """
    for name in (f"evaluation-{checkpoint}.json", "evaluation.json"):
        if (folder / name).is_file() and (found := read_evaluation(folder / name)).step == step:
            return found
    return None


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise TypeError("a step, n or seed is no count")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise TypeError("a metric is no finite number")
    return float(value)
