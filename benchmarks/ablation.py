"""What each lever of the recipe for digits does, over several seeds: one change of `mnist-5k` at a time.

    OMP_NUM_THREADS=1 python benchmarks/ablation.py --out benchmarks/results/mnist-5k-ablation.json

All at half the width of the paper's network, minutes a run. Accuracy is that of `q_accuracy.py`; a lever's difference
to the base is taken seed by seed. Runs that are there are read; `--levers` trains some of them, so that processes can
share the work.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import torch
from q_accuracy import accuracies
from runs import train_or_open

from gan_zoo.files import write_json
from gan_zoo.training.environment import environment

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
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--levers", nargs="+", choices=list(LEVERS), default=list(LEVERS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the runs lie (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="JSON to write")
    given = parser.parse_args()

    rows: dict[str, list[dict[str, Any]]] = {lever: [] for lever in given.levers}
    for seed in given.seeds:
        for lever in given.levers:
            folder = given.runs / f"ablation-{list(LEVERS).index(lever)}-seed{seed}"
            settings = SHARED | {"training.steps": given.steps} | LEVERS[lever]
            found = accuracies(train_or_open(folder, PRESET, seed=seed, **settings))
            rows[lever].append({"seed": seed, **found})
            print(json.dumps({"lever": lever, **rows[lever][-1]}), flush=True)
    summary = {
        lever: {
            "mean": statistics.mean(row["test"] for row in found),
            "worst": min(row["test"] for row in found),
            "to base": difference(found, rows["base"]) if "base" in rows else None,
        }
        for lever, found in rows.items()
    }
    print(json.dumps(summary, indent=1))
    result = {
        "preset": PRESET,
        "shared": SHARED | {"training.steps": given.steps},
        "levers": {lever: LEVERS[lever] for lever in rows},
        "summary": summary,
        "runs": rows,
        "environment": environment(torch.device("cpu")),
    }
    if given.out:
        write_json(result, given.out)


if __name__ == "__main__":
    main()
