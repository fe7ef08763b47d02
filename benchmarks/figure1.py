"""How much information about its categorical code a generator puts into the image, with and without the L_I term.

    python benchmarks/figure1.py --seeds 0 1 --json benchmarks/results/figure1.json --out docs/images/figure1.png

Figure 1 of Chen et al., 2016 (arXiv:1606.03657): the bound L_I over the generator's iterations, and H(c). InfoGAN is
trained twice for each seed, the second time with a head Q that only observes (`infogan.trains = "q"`): neither
generator nor trunk learns from the term, so this is the plain GAN on the same networks. Existing runs are reused. Each
point is the mean over the steps since the previous one.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from runs import study, train_or_open

from gan_zoo.errors import InputError
from gan_zoo.files import atomic_file, write_json
from gan_zoo.models.gan.codes import Code, parse_codes
from gan_zoo.resolve import resolve
from gan_zoo.training.run import Run

ARMS = {"InfoGAN": "generator+q+trunk", "plain GAN, Q only watches": "q"}
"""The name of each training in the picture, and what the information term trains in it."""
COLOURS = ("#0b6fb8", "#c2541b")
Curve = dict[int, float]
"""L_I in nats by the generator's iteration."""


def first_categorical(config: str) -> Code:
    """The first categorical code of a preset or file.

    Raises:
        InputError: If it has none.
    """
    codes = parse_codes(resolve("infogan", config).model_dump()["infogan"]["codes"])
    for code in codes:
        if code.kind == "categorical":
            return code
    raise InputError(f"{config} has no categorical code, only {', '.join(code.kind for code in codes)}")


def curve(run: Run, code: Code, steps: int) -> Curve:
    """L_I of a code over the generator's iterations, up to `steps` updates of the discriminator."""
    every = run.config.training.discriminator_steps
    return {line["step"] // every: line[f"mi/{code.name}"] for line in run.metrics() if line["step"] <= steps}


def draw(curves: Mapping[str, Sequence[Curve]], code: Code, path: Path) -> None:
    """Plot the mean curve of each arm, a band from the lowest to the highest seed, and the line H(c).

    Args:
        curves: The curves of each arm, one per seed, with equal iterations.
        code: The code.
        path: The picture; its ending decides the format.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(6.4, 3.8))
    last = max(max(one) for several in curves.values() for one in several)
    for (name, several), colour in zip(curves.items(), COLOURS, strict=True):
        iterations = sorted(several[0])
        heights = [[one[k] for one in several] for k in iterations]
        mean = [statistics.mean(row) for row in heights]
        if len(several) > 1:
            low, high = [min(row) for row in heights], [max(row) for row in heights]
            axis.fill_between(iterations, low, high, color=colour, alpha=0.22, linewidth=0)
        axis.plot(iterations, mean, color=colour, linewidth=1.8)
        axis.annotate(
            name, (last, mean[-1]), (-2, -7 if mean[-1] > code.entropy / 2 else 7), textcoords="offset points",
            color=colour, ha="right", va="top" if mean[-1] > code.entropy / 2 else "bottom", fontsize=10,
        )  # fmt: skip
    axis.axhline(code.entropy, color="0.25", linewidth=1, linestyle=(0, (5, 3)))
    axis.annotate(
        f"H({code.name}) = log {code.classes} = {code.entropy:.3f}", (last, code.entropy), (-2, 3),
        textcoords="offset points", ha="right", va="bottom", fontsize=9, color="0.25",
    )  # fmt: skip
    lowest = min(min(one.values()) for several in curves.values() for one in several)
    axis.set_ylim(min(lowest - 0.1, -0.1), code.entropy * 1.12)
    axis.set_xlim(0, last)
    axis.set_xlabel("iterations of the generator")
    axis.set_ylabel(f"L_I of {code.name} (nats)".replace("L_I", "$L_I$"))
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as partial:
        figure.savefig(partial, dpi=150, facecolor="white")
    plt.close(figure)


def main() -> None:
    """Train, draw, write."""
    parser = study(__doc__, config="mnist-5k-paper", seeds=[0])
    parser.add_argument("--steps", type=int, default=800, help="steps of each training (default: %(default)s)")
    parser.add_argument("--log-every", type=int, default=10, help="steps between points (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="picture to draw")
    parser.add_argument("--json", type=Path, help="JSON to write")
    given = parser.parse_args()

    code = first_categorical(given.config)
    curves: dict[str, list[Curve]] = {name: [] for name in ARMS}
    runs: list[Run] = []
    for seed in given.seeds:
        for name, trains in ARMS.items():
            folder = given.runs / f"figure1-{Path(given.config).stem}-{trains.rpartition('+')[2]}-seed{seed}"
            settings = {"training.steps": given.steps, "logging.log_every": given.log_every, "infogan.trains": trains}
            run = train_or_open(folder, given.config, seed=seed, **settings)
            runs.append(run)
            curves[name].append(curve(run, code, given.steps))
            print(json.dumps({"arm": name, "seed": seed, "L_I": list(curves[name][-1].values())[-1]}))
    if given.out:
        draw(curves, code, given.out)
    if given.json:
        result = {
            "config": given.config,
            "code": code.name,
            "entropy": code.entropy,
            "steps": given.steps,
            "seeds": given.seeds,
            "arms": {
                name: {
                    "trains": ARMS[name],
                    "iterations": list(several[0]),
                    "bound": {
                        str(seed): [round(nats, 4) for nats in one.values()]
                        for seed, one in zip(given.seeds, several, strict=True)
                    },
                }
                for name, several in curves.items()
            },
            "environment": json.loads((runs[0].folder / "environment.json").read_text()),
        }
        write_json(result, given.json)


if __name__ == "__main__":
    main()
