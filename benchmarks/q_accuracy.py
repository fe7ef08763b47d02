"""How well Q's first categorical code tells the classes of real images, over several seeds.

    python benchmarks/q_accuracy.py --seeds 0 1 2 3 4 5 6 7 8 9 --out benchmarks/results/mnist-5k-q.json

Trains a run for each seed (or reads the run if it is there), assigns codes to classes one to one on the training images
(the assignment of greatest agreement), and counts agreement on the test images. Labels are read here and nowhere else.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import torch
from runs import train_or_open

from gan_zoo.analysis.clustering import grouped, scores
from gan_zoo.analysis.encode import encoder
from gan_zoo.data.dataset import open_dataset
from gan_zoo.files import write_json
from gan_zoo.training.environment import environment
from gan_zoo.training.run import Run


def accuracies(run: Run) -> dict[str, float]:
    """Accuracy of the first code on both splits, under the assignment of the training split."""
    model, data = encoder(run.load()), open_dataset(run.config.data)
    assert data.test is not None
    code = model.codes[0]
    train, test = (grouped(model, split)[code.name] for split in (data.train, data.test))
    told = {
        name: scores(train, found, code.classes, data.classes) for name, found in (("train", train), ("test", test))
    }
    return {name: found["accuracy"] for name, found in told.items()}


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", default="mnist-5k", help="preset or file (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the runs lie (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="JSON to write")
    given = parser.parse_args()

    rows: list[dict[str, Any]] = []
    for seed in given.seeds:
        run = train_or_open(given.runs / f"q-{Path(given.config).stem}-seed{seed}", given.config, seed=seed)
        last = run.metrics()[-1]
        facts = {k: last[k] for k in last if k.startswith("mi") or k == "entropy"}
        rows.append({"seed": seed, "steps": last["step"], "accuracy": accuracies(run), **facts})
        print(json.dumps(rows[-1]))
    tests = [row["accuracy"]["test"] for row in rows]
    result = {
        "config": given.config,
        "test_accuracy": {"mean": statistics.mean(tests), "worst": min(tests)},
        "runs": rows,
        "environment": environment(torch.device("cpu")),
    }
    print(json.dumps(result["test_accuracy"]))
    if given.out:
        write_json(result, given.out)


if __name__ == "__main__":
    main()
