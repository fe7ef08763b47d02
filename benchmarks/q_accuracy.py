"""Accuracy of Q's first categorical code on real images, over several seeds.

    python benchmarks/q_accuracy.py --seeds 0 1 2 3 4 5 6 7 8 9 --out benchmarks/results/mnist-5k-q.json

Trains a run for each seed or reuses an existing one, assigns codes to classes one to one on the training images (the
best assignment), and measures accuracy on the test images. Only this script reads labels.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from runs import compare, finish, study

from gan_zoo.analysis.clustering import grouped, scores
from gan_zoo.analysis.encode import encoder
from gan_zoo.data.dataset import open_dataset
from gan_zoo.training.run import Run


def accuracies(run: Run) -> dict[str, float]:
    """Accuracy of the first code on both splits, under the assignment of the training split."""
    model, data = encoder(run.load()), open_dataset(run.config.data)
    assert data.test is not None
    code = model.codes[0]
    train, test = (grouped(model, split)[code.name] for split in (data.train, data.test))
    splits = {"train": train, "test": test}
    return {name: scores(train, split, code.classes, data.classes)["accuracy"] for name, split in splits.items()}


def main() -> None:
    """Train, measure, write."""
    parser = study(__doc__, config="mnist-5k")
    parser.add_argument("--out", type=Path, help="JSON to write")
    given = parser.parse_args()

    def measure(run: Run) -> dict[str, Any]:
        last = run.metrics()[-1]
        facts = {name: last[name] for name in last if name.startswith(("mi", "entropy"))}
        return {"steps": last["step"], "accuracy": accuracies(run), **facts}

    name = Path(given.config).stem

    def folder(arm: str, seed: int) -> Path:
        return given.runs / f"q-{name}-seed{seed}"  # type: ignore[no-any-return]

    rows = compare({name: {}}, given.config, given.seeds, folder, measure)[name]
    tests = [row["accuracy"]["test"] for row in rows]
    summary = {"mean": statistics.mean(tests), "worst": min(tests)}
    finish({"config": given.config, "test_accuracy": summary, "runs": rows}, given.out, "test_accuracy")


if __name__ == "__main__":
    main()
