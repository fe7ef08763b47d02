"""What Q reads of a continuous code on real digits that are turned, slanted and widened by known amounts.

    python benchmarks/moved_digits.py runs/q-mnist-5k-seed* --out docs/images/moved-digits.png \
        --json benchmarks/results/mnist-5k-moved-digits.json

Each held-out digit is moved in steps; for each code, Spearman's rank correlation of Q's mean with the amount is
computed digit by digit. Reported are its mean over the digits, and the share of digits on which Q's mean is strictly
monotonic in the amount. The sign of a code is arbitrary. The picture shows the first run.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional as F

from gan_zoo.data.batches import normalise
from gan_zoo.files import atomic_file, write_json
from gan_zoo.training.environment import environment
from gan_zoo.training.provenance import open_training_data
from gan_zoo.training.run import open_run

STEPS = 9
MOTIONS: dict[str, tuple[float, Callable[[float], list[list[float]]]]] = {
    "turn (radians)": (0.3, lambda a: [[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0]]),
    "slant (shear)": (0.4, lambda a: [[1, a, 0], [0, 1, 0]]),
    "width (logarithm)": (0.25, lambda a: [[math.exp(-a), 0, 0], [0, 1, 0]]),
}
"""The largest amount of each motion, and its matrix: where a pixel of the moved image lies in the original."""


def moved(images: Tensor, matrix: list[list[float]]) -> Tensor:
    """Images [n, C, H, W] in [-1, 1], moved, with a background of -1."""
    grids = F.affine_grid(torch.tensor([matrix]).expand(len(images), -1, -1), list(images.shape), align_corners=False)
    return F.grid_sample(images + 1, grids, align_corners=False) - 1


def amounts(largest: float) -> list[float]:
    """Equal steps from `-largest` to `largest`."""
    return torch.linspace(-largest, largest, STEPS).tolist()


def readings(folder: Path) -> dict[str, dict[str, Tensor]]:
    """Q's mean [STEPS, n] of each continuous code on the test images of a run, by motion and code."""
    run = open_run(folder)
    model: Any = run.load()
    test = open_training_data(run, run.config.data).test
    if test is None:
        raise SystemExit(f"{folder}: its data has no test split")
    images = normalise(test.pixels(torch.arange(len(test))))
    names = [code.name for code in model.codes if not code.discrete]
    result = {}
    for motion, (largest, matrix) in MOTIONS.items():
        read = [model.encode(moved(images, matrix(a))) for a in amounts(largest)]
        result[motion] = {name: torch.stack([at[name].mean for at in read]) for name in names}
    return result


def agreement(means: Tensor) -> dict[str, float]:
    """Rank correlation with the step, and monotonic share, of readings [STEPS, n]."""
    correlations = [float(spearmanr(range(len(means)), column).statistic) for column in means.T]
    differences = means.diff(dim=0)
    monotonic = ((differences > 0).all(0) | (differences < 0).all(0)).float().mean().item()
    return {"rank correlation": statistics.mean(correlations), "strictly monotonic": monotonic}


def draw(read: dict[str, dict[str, Tensor]], path: Path) -> None:
    """Plot the change of each code's reading over the amount: mean, and 10th to 90th percentile of the digits."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(read), figsize=(9, 3), sharey=True)
    for axis, (motion, codes) in zip(axes, read.items(), strict=True):
        at = amounts(MOTIONS[motion][0])
        for (name, means), colour in zip(codes.items(), ("#0b6fb8", "#c2541b"), strict=True):
            change = means - means[STEPS // 2]
            low, high = change.quantile(torch.tensor([0.1, 0.9]), dim=1)
            axis.fill_between(at, low, high, color=colour, alpha=0.18, linewidth=0)
            axis.plot(at, change.mean(1), color=colour, linewidth=1.8, label=name)
        axis.set_xlabel(motion)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("change of Q's mean")
    axes[0].legend(frameon=False)
    figure.tight_layout()
    with atomic_file(path) as partial:
        figure.savefig(partial, dpi=130, facecolor="white")
    plt.close(figure)


def main() -> None:
    """Read, summarise, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, help="picture to draw")
    parser.add_argument("--json", type=Path, help="JSON to write")
    given = parser.parse_args()

    read = {folder.name: readings(folder) for folder in given.runs}
    result = {
        name: {motion: {code: agreement(means) for code, means in codes.items()} for motion, codes in of_run.items()}
        for name, of_run in read.items()
    }
    for name, motions in result.items():
        for motion, codes in motions.items():
            figures = "  ".join(f"{code} {figure['rank correlation']:+.3f}" for code, figure in codes.items())
            print(f"{name}  {motion:18} {figures}")
    if given.out:
        draw(read[given.runs[0].name], given.out)
    if given.json:
        write_json({"steps": STEPS, "runs": result, "environment": environment(torch.device("cpu"))}, given.json)


if __name__ == "__main__":
    main()
