"""A learned prior compared with the uniform prior on classes of unequal size, over several seeds.

    OMP_NUM_THREADS=1 python benchmarks/learned_prior.py --out benchmarks/results/mnist-5k-learned-prior.json

Trains a run for each arm and seed, or reuses an existing one:

    learned     the given configuration
    held        the same with a fixed P(c): identical to `learned` up to `prior_delay`
    uniform     the uniform prior
    even        the uniform prior with the consistency term's default spread, which favours equal shares

Codes are assigned to classes one to one on the training images, by the best assignment, under which P(c) is compared
with the classes' true shares. Accuracy and normalised mutual information are measured on the test images. Only this
script reads labels.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import torch
from runs import compare, finish, study

from gan_zoo.analysis.clustering import assignment, contingency, grouped, scores
from gan_zoo.data.dataset import Dataset, open_dataset
from gan_zoo.errors import InputError
from gan_zoo.models.infogan.model import InfoGAN
from gan_zoo.models.infogan.settings import InfoGANSettings
from gan_zoo.training.run import Run

ARMS: dict[str, dict[str, Any]] = {
    "learned": {},
    "held": {"infogan.prior_delay": 10**9},
    "uniform": {"infogan.prior": "uniform"},
    "even": {"infogan.prior": "uniform", "infogan.spread": InfoGANSettings().spread},
}
HIGHER, LOWER = ("accuracy", "nmi"), ("share_error", "share_kl")


def shares(data: Dataset) -> torch.Tensor:
    """The true share of each class in the training split, [classes]."""
    assert data.train.labels is not None
    counts = torch.bincount(data.train.labels, minlength=data.classes)
    return counts / counts.sum()


def measure(model: InfoGAN, data: Dataset) -> dict[str, Any]:
    """Compare the first code's values with the classes.

    Returns:
        `prior`: P(c) in the order of the classes. `share_error`, `share_kl`: its mean absolute difference from the true
        shares, and KL(shares ‖ P(c)) in nats. `found`: the fraction of training images in each class's code according
        to Q. `accuracy`, `nmi`: on the test images.
    """
    assert data.test is not None
    code, true = model.codes[0], shares(data)
    if code.classes != data.classes:
        raise InputError(f"code {code.name} has {code.classes} values; {data.classes}, one a class, can be compared")
    learned = model.prior.probabilities().get(code.name)
    prior = torch.full((code.classes,), 1 / code.classes) if learned is None else learned.detach().cpu()
    train, test = (grouped(model, split)[code.name] for split in (data.train, data.test))
    table = contingency(train, code.classes, data.classes)
    of_class = torch.as_tensor(assignment(table).argsort())
    ordered, agreement = prior[of_class], scores(train, test, code.classes, data.classes)
    return {
        "accuracy": agreement["accuracy"],
        "nmi": agreement["nmi"],
        "share_error": (ordered - true).abs().mean().item(),
        "share_kl": (true * (true / ordered).log()).sum().item(),
        "prior": rounded(ordered),
        "found": rounded(torch.as_tensor(table.sum(1) / table.sum())[of_class]),
    }


def rounded(values: torch.Tensor) -> list[float]:
    """The values with four decimals."""
    return [round(value, 4) for value in values.tolist()]


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and worst of each figure."""
    values = {name: [row[name] for row in rows] for name in HIGHER + LOWER}
    return {
        name: {"mean": statistics.mean(column), "worst": min(column) if name in HIGHER else max(column)}
        for name, column in values.items()
    }


def main() -> None:
    """Train, measure, write."""
    parser = study(__doc__, config="mnist-5k-imbalanced")
    parser.add_argument("--out", type=Path, help="JSON to write")
    given = parser.parse_args()

    true: list[float] = []

    def measured(run: Run) -> dict[str, Any]:
        data, last = open_dataset(run.config.data), run.metrics()[-1]
        true[:] = rounded(shares(data))
        facts = {name: last[name] for name in ("mi/c1", "entropy/c1")}
        return {"steps": last["step"], **measure(run.load(), data), **facts}

    def folder(arm: str, seed: int) -> Path:
        return given.runs / f"{arm}-{Path(given.config).stem}-seed{seed}"  # type: ignore[no-any-return]

    rows = compare(ARMS, given.config, given.seeds, folder, measured)
    summaries = {arm: summary(of_arm) for arm, of_arm in rows.items()}
    result = {"config": given.config, "shares": true, "summary": summaries, "runs": rows}
    finish(result, given.out, "summary")


if __name__ == "__main__":
    main()
