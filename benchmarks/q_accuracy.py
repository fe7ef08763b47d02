"""A preset over several seeds: accuracy of Q's codes on real images, beside the quality of the samples.

    OMP_NUM_THREADS=1 python benchmarks/q_accuracy.py --seeds 0 1 2 3 4 --out benchmarks/results/mnist-5k-q.json

Trains a run for each seed or reuses an existing one, then measures all runs as `gan-zoo evaluate` does: codes are
assigned to classes one to one on the training images, and accuracy is counted on the test images. Labels are read after
all training.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runs import compare, finish, study

from gan_zoo.analysis.evaluate import evaluate

METRICS = ("clustering", "information", "fidelity")
WORST = {"test": min, "frechet": max, "recall": min}
"""Figures that are summarised, with what takes the worst of several."""


def compare_quality(
    arms: Mapping[str, Mapping[str, Any]], config: str, seeds: Sequence[int], folder: Callable[[str, int], Path]
) -> dict[str, list[dict[str, Any]]]:
    """Rows of `compare` with accuracy, L_I by code, Fréchet distance and recall of each run."""
    rows = compare(
        arms,
        config,
        seeds,
        folder,
        lambda run: {
            "folder": str(run.folder),
            "steps": run.metrics()[-1]["step"],
            "number_format": run.config.training.precision,
        },
    )
    runs = [row for of_arm in rows.values() for row in of_arm]
    for row, result in zip(runs, evaluate([Path(row.pop("folder")) for row in runs], METRICS), strict=True):
        row |= figures(result["metrics"])
    return rows


def figures(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """The figures of a row, from what `evaluate` returns."""
    agreement, fidelity = metrics["clustering"], metrics.get("fidelity", {})
    return {
        "test": agreement["accuracy"],
        "train": agreement["train accuracy"],
        "nmi": agreement["nmi"],
        "L_I": {name: bound for name, bound in metrics["information"].items() if "/" not in name},
        **{name: fidelity[name] for name in ("frechet", "kid", "precision", "recall") if name in fidelity},
    }


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and worst of accuracy, Fréchet distance and recall over the runs of an arm."""
    values = {name: [row[name] for row in rows if name in row] for name in WORST}
    return {
        name: {"mean": statistics.mean(of_name), "worst": WORST[name](of_name)}
        for name, of_name in values.items()
        if of_name
    }


def main() -> None:
    """Train, measure, write."""
    parser = study(__doc__, config="mnist-5k")
    parser.add_argument("--out", type=Path, help="JSON to write")
    given = parser.parse_args()
    name = Path(given.config).stem

    def folder(arm: str, seed: int) -> Path:
        return given.runs / f"q-{name}-seed{seed}"  # type: ignore[no-any-return]

    rows = compare_quality({name: {}}, given.config, given.seeds, folder)[name]
    finish({"config": given.config, "summary": summarise(rows), "runs": rows}, given.out, "summary")


if __name__ == "__main__":
    main()
