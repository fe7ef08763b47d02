"""What each lever of the recipe for digits does, over several seeds: one change of `mnist-5k` at a time.

    OMP_NUM_THREADS=1 python benchmarks/ablation.py --out benchmarks/results/mnist-5k-ablation.json

Minutes a run. Figures are those of `q_accuracy.py`; a lever's difference to the base is taken seed by seed. Existing
runs are reused; `--levers` trains some of them, so that processes can share the work.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from q_accuracy import compare_quality, summarise
from runs import finish, study

PRESET = "mnist-5k"
SHARED: dict[str, Any] = {}  # settings of all arms
LEVERS: dict[str, dict[str, Any]] = {
    "base": {},
    "the consistency term keeps its weight": {"infogan.consistency_steps": 0},
    "the consistency term fades to 0": {"infogan.consistency_after": 0.0},
    "discriminator's learning rate 2e-4": {"optimizer.discriminator_lr": 2e-4},
    "batches of 128, half the steps": {
        "training.batch_size": 128, "training.steps": 1100, "infogan.consistency_steps": 450,
    },
    "average of generators over 1,000 steps": {"training.ema": 0.999},
    "lambda_continuous 0.1": {"infogan.lambda_continuous": 0.1},
    "variance constant, lambda_continuous 0.03": {"infogan.variance": "constant", "infogan.lambda_continuous": 0.03},
    "no elastic warps": {"data.warp": "rotate:0.2, scale:0.1, shift:0.05, shear:0.4, height:0.2"},
    "simultaneous updates": {"training.update": "simultaneous"},
    "no fade, twice as long": {"infogan.consistency_steps": 0, "training.steps": 4400},
    "no fade, four times as long": {"infogan.consistency_steps": 0, "training.steps": 8800},
    "no fade, four times as long, linear decay": {
        "infogan.consistency_steps": 0, "training.steps": 8800, "optimizer.schedule": "linear",
    },
}  # fmt: skip


def difference(rows: list[dict[str, Any]], base: list[dict[str, Any]]) -> float:
    """Mean over the seeds that both have of the held-back accuracy's difference to the base's."""
    there = {row["seed"]: row["test"] for row in base}
    return statistics.mean(row["test"] - there[row["seed"]] for row in rows if row["seed"] in there)


def main() -> None:
    """Train, measure, write."""
    parser = study(__doc__, config=None)
    parser.add_argument("--levers", nargs="+", choices=list(LEVERS), default=list(LEVERS))
    parser.add_argument("--out", type=Path, help="JSON to write")
    given = parser.parse_args()

    arms = {lever: SHARED | LEVERS[lever] for lever in given.levers}

    def folder(lever: str, seed: int) -> Path:
        return given.runs / f"ablation-{list(LEVERS).index(lever)}-seed{seed}"  # type: ignore[no-any-return]

    rows = compare_quality(arms, PRESET, given.seeds, folder)
    summary: dict[str, Any] = {
        lever: summarise(of_lever) | {"to base": difference(of_lever, rows["base"]) if "base" in rows else None}
        for lever, of_lever in rows.items()
    }
    result = {"preset": PRESET, "levers": {lever: arms[lever] for lever in rows}, "summary": summary, "runs": rows}
    finish(result, given.out, "summary")


if __name__ == "__main__":
    main()
