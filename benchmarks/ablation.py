"""What each lever of the recipe for digits does, over several seeds: one change of `mnist-5k` at a time.

    OMP_NUM_THREADS=1 python benchmarks/ablation.py --out benchmarks/results/mnist-5k-ablation.json

All at half the width of the paper's network, minutes a run. Accuracy is that of `q_accuracy.py`; a lever's difference
to the base is taken seed by seed. Runs that are there are read; `--levers` trains some of them, so that processes can
share the work.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from q_accuracy import accuracies
from runs import compare, finish, study

PRESET = "mnist-5k"
SHARED: dict[str, Any] = {"trunk.width": 32}
LEVERS: dict[str, dict[str, Any]] = {
    "base": {},
    "no elastic warps": {"data.warp": "rotate:0.2, scale:0.1, shift:0.05, shear:0.4, height:0.2"},
    "simultaneous updates": {"training.update": "simultaneous"},
    "consistency of a third of the batch": {"infogan.consistency_share": 0.334},
}


def difference(rows: list[dict[str, Any]], base: list[dict[str, Any]]) -> float:
    """Mean over the seeds that both have of the held-back accuracy's difference to the base's."""
    there = {row["seed"]: row["test"] for row in base}
    return statistics.mean(row["test"] - there[row["seed"]] for row in rows if row["seed"] in there)


def main() -> None:
    """Train, measure, write."""
    parser = study(__doc__, config=None)
    parser.add_argument("--levers", nargs="+", choices=list(LEVERS), default=list(LEVERS))
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--out", type=Path, help="JSON to write")
    given = parser.parse_args()

    shared = SHARED | {"training.steps": given.steps}
    arms = {lever: shared | LEVERS[lever] for lever in given.levers}

    def folder(lever: str, seed: int) -> Path:
        return given.runs / f"ablation-{list(LEVERS).index(lever)}-seed{seed}"  # type: ignore[no-any-return]

    rows = compare(arms, PRESET, given.seeds, folder, accuracies)
    summary = {
        lever: {
            "mean": statistics.mean(row["test"] for row in of_lever),
            "worst": min(row["test"] for row in of_lever),
            "to base": difference(of_lever, rows["base"]) if "base" in rows else None,
        }
        for lever, of_lever in rows.items()
    }
    levers = {lever: LEVERS[lever] for lever in rows}
    result = {"preset": PRESET, "shared": shared, "levers": levers, "summary": summary, "runs": rows}
    finish(result, given.out, "summary")


if __name__ == "__main__":
    main()
