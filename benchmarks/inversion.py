"""Inversion and editing of held-back digits, over several seeds.

    OMP_NUM_THREADS=1 python benchmarks/inversion.py --out benchmarks/results/mnist-5k-inversion.json

Trains a run for each seed or reuses an existing one, then inverts 100 test images by `gan_zoo.invert` with its
defaults, and draws it with five values of each continuous code. Only this script reads labels.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from runs import compare, finish, study
from torch import Tensor

from gan_zoo.analysis.classifier import Classifier, classifier
from gan_zoo.analysis.encode import encoder
from gan_zoo.analysis.invert import Inversion, invert
from gan_zoo.data.batches import normalise
from gan_zoo.data.dataset import Dataset, open_dataset
from gan_zoo.images import to_uint8
from gan_zoo.models.gan.codes import Code
from gan_zoo.models.gan.model import GAN
from gan_zoo.training.run import Run

IMAGES = 100
"""Test images, evenly spaced: every fifth of mnist-5k's 500."""
VALUES = (-1.0, -0.5, 0.0, 0.5, 1.0)
TIMED = 10


def slant_and_width(images: Tensor) -> tuple[Tensor, Tensor]:
    """Slant and width [n] of bright strokes on black, from moments of the brightness of images [n, 1, H, W] in [-1, 1].

    With coordinates x and y (to the right and up) from the centre of brightness, the slant is s = E[xy] / E[y²]: the
    columns that a stroke moves to the right for each row that it rises. The width is √E[(x - sy)²], the standard
    deviation in columns after the slant is undone.
    """
    brightness = (images[:, 0].double() + 1) / 2
    brightness = brightness / brightness.sum((1, 2), keepdim=True)
    rows, columns = (torch.arange(size, dtype=torch.float64) for size in brightness.shape[1:])
    x = columns - (brightness.sum(1) @ columns)[:, None, None]
    y = (brightness.sum(2) @ rows)[:, None, None] - rows[:, None]
    slant = (brightness * x * y).sum((1, 2)) / (brightness * y**2).sum((1, 2))
    straight = x - slant[:, None, None] * y
    return slant, (brightness * straight**2).sum((1, 2)).sqrt()


def monotone(values: Tensor) -> float:
    """The share of columns of [values, n] that strictly rise, or of those that strictly fall if these are more."""
    steps = values.diff(dim=0)
    return max((steps > 0).all(0).double().mean().item(), (steps < 0).all(0).double().mean().item())


def edits(model: GAN, inverted: Inversion, code: Code, digits: Classifier, seen: Tensor) -> dict[str, float]:
    """How one code changes inverted digits.

    Args:
        model: The model; its first code is the digit's.
        inverted: The inverted digits.
        code: A continuous code, which takes `VALUES`.
        digits: A classifier of digits.
        seen: The classes that it gives the original images [n].

    Returns:
        Mean change of slant and width from the first value to the last, and the shares of digits for which they are
        monotone. `keeps_q`, `keeps_class`: the shares of digits whose c1 according to Q, or whose class according to
        the classifier, is at every value that of the original image; `keeps_class_each`: the latter for each value.
    """
    images = [model.generate(model.prior.with_codes(inverted.latents, {code.name: value})) for value in VALUES]
    slants, widths = (torch.stack(of_all) for of_all in zip(*map(slant_and_width, images), strict=True))
    read = torch.stack([encoder(model).encode(image)["c1"].argmax(1) for image in images])
    classes = torch.stack([digits.predict(to_uint8(image)) for image in images])
    same = classes == seen
    return {
        "slant_change": (slants[-1] - slants[0]).mean().item(),
        "slant_monotone": monotone(slants),
        "width_change": (widths[-1] - widths[0]).mean().item(),
        "width_monotone": monotone(widths),
        "keeps_q": (read == inverted.latents.codes[:, 0]).all(0).double().mean().item(),
        "keeps_class": same.all(0).double().mean().item(),
        "keeps_class_each": same.double().mean().item(),
    }


def nearest(images: Tensor, others: Tensor) -> Tensor:
    """RMSE [n] between each image and the nearest of others, in grey levels from 0 to 255."""
    pixels = images[0].numel()
    return 127.5 * torch.cdist(images.flatten(1), others.flatten(1)).amin(1) / pixels**0.5


def measure(run: Run, data: Dataset, digits: Classifier) -> dict[str, Any]:
    """The figures of a run."""
    assert data.test is not None
    model, rows = run.load(), torch.arange(0, len(data.test), max(1, len(data.test) // IMAGES))
    pixels = data.test.pixels(rows)
    images, seen = normalise(pixels), digits.predict(pixels)
    training = nearest(images, normalise(data.train.pixels(torch.arange(len(data.train)))))
    inverted = invert(model, images)
    return {
        "digits": len(images),
        "rmse": inverted.rmse.mean().item(),
        "rmse_worst": inverted.rmse.max().item(),
        "rmse_of_nearest_training_image": training.mean().item(),
        "nearer_than_training_image": (inverted.rmse < training).double().mean().item(),
        "same_class_reconstructed": (digits.predict(to_uint8(inverted.images)) == seen).double().mean().item(),
        "cpu_seconds_of_one": statistics.median(seconds(model, image[None]) for image in images[:TIMED]),
        "codes": {
            code.name: edits(model, inverted, code, digits, seen) for code in model.codes if not code.discrete
        },
    }  # fmt: skip


def seconds(model: GAN, image: Tensor) -> float:
    """CPU time of the inversion of one image."""
    begun = time.process_time()
    invert(model, image)
    return time.process_time() - begun


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Means over the runs; and the least over all runs and codes of what an edit must keep."""
    mean = ("rmse", "rmse_of_nearest_training_image", "nearer_than_training_image", "same_class_reconstructed")
    codes = [code for row in rows for code in row["codes"].values()]
    slants = [max(row["codes"].values(), key=lambda code: abs(code["slant_change"])) for row in rows]
    return {
        **{name: statistics.mean(row[name] for row in rows) for name in mean},
        **{f"least_{name}": min(code[name] for code in codes) for name in ("keeps_q", "keeps_class")},
        "least_slant_monotone": min(code["slant_monotone"] for code in slants),
    }


def main() -> None:
    """Train or open, measure, write."""
    parser = study(__doc__, config="mnist-5k")
    parser.add_argument("--out", type=Path, help="JSON to write")
    given = parser.parse_args()
    name = Path(given.config).stem
    first = None

    def opened(run: Run) -> tuple[Dataset, Classifier]:
        nonlocal first
        if first is None:
            data = open_dataset(run.config.data)
            first = data, classifier(data)
        return first

    rows = compare(
        {name: {}}, given.config, given.seeds,
        lambda _, seed: given.runs / f"q-{name}-seed{seed}",
        lambda run: measure(run, *opened(run)),
    )[name]  # fmt: skip
    finish({"config": given.config, "values": VALUES, "summary": summarise(rows), "runs": rows}, given.out, "summary")


if __name__ == "__main__":
    main()
