"""All metrics on a dataset whose factors are known, of anything that represents images, or of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_zoo.analysis.disentanglement.codes_and_factors import Floats, Integers
from gan_zoo.analysis.disentanglement.groups import GROUPS, beta_vae, factor_vae
from gan_zoo.analysis.disentanglement.mutual_information_gap import mig, modularity
from gan_zoo.analysis.disentanglement.predictors import dci, explicitness, sap
from gan_zoo.data.batches import normalise
from gan_zoo.data.dataset import Dataset
from gan_zoo.errors import InputError
from gan_zoo.models.gan.codes import Code
from gan_zoo.models.gan.model import GAN

Represent = Callable[[Tensor], NDArray[np.floating]]
"""Images [n, C, H, W] in [-1, 1] to their representation [n, D]."""

SAMPLES = 15_000


def disentanglement(
    represent: Represent,
    dataset: Dataset,
    *,
    seed: int = 0,
    samples: int = SAMPLES,
    groups: int = GROUPS,
    batch_size: int = 256,
) -> dict[str, float]:
    """Every metric of this package, by name.

    Args:
        represent: What is measured.
        dataset: A set with factors; its training images are the population.
        seed: Decides which images are drawn, and everything random in the metrics.
        samples: How many images are drawn, each once; the whole set if it has no more. By default 15,000, which makes
            disentanglement_lib's 10,000 to fit to and 5,000 to be judged by.
        groups: Groups of 64 images in factor_vae, points of 64 pairs in beta_vae.
        batch_size: Images represented at a time.

    Returns:
        factor_vae, beta_vae, mig, sap, dci_disentanglement, dci_completeness, dci_informativeness, modularity and
        explicitness.

    Raises:
        InputError: If the set has no factors or fewer than two that vary, or the representation is no finite table.
    """
    codes, factors = encoded(represent, dataset, seed=seed, samples=samples, batch_size=batch_size)
    triple = dci(codes, factors, seed=seed)
    return {
        "factor_vae": factor_vae(codes, factors, seed=seed, groups=groups),
        "beta_vae": beta_vae(codes, factors, seed=seed, groups=groups),
        "mig": mig(codes, factors),
        "sap": sap(codes, factors),
        "dci_disentanglement": triple.disentanglement,
        "dci_completeness": triple.completeness,
        "dci_informativeness": triple.informativeness,
        "modularity": modularity(codes, factors),
        "explicitness": explicitness(codes, factors, seed=seed),
    }


def encoded(
    represent: Represent, dataset: Dataset, *, seed: int = 0, samples: int = SAMPLES, batch_size: int = 256
) -> tuple[Floats, Integers]:
    """Codes [n, D] and factors [n, F] of `samples` images drawn from a set, each once, or of all that it has.

    Raises:
        InputError: As `disentanglement`.
    """
    known = dataset.factors
    if known is None or sum(size > 1 for size in known.sizes) < 2:
        raise InputError(
            f"data {dataset.name!r} has no two factors that are known and vary; sets that have: sprites, dsprites"
        )
    if samples < 2 or batch_size < 1:
        raise InputError(f"samples is 2 or more and batch_size 1 or more, not {samples} and {batch_size}")
    indices = torch.randperm(known.count, generator=torch.Generator().manual_seed(seed))[:samples]
    parts = []
    for part in indices.split(batch_size):
        output = np.asarray(represent(normalise(dataset.train.pixels(part))), np.float64)
        if output.ndim != 2 or len(output) != len(part) or not np.isfinite(output).all():
            raise InputError(
                f"the representation of {len(part)} images is no finite table of as many rows: {output.shape}"
            )
        parts.append(output)
    return np.concatenate(parts), known.values(indices).numpy()


def representation(model: GAN) -> Represent:
    """A model's representation: one dimension for each of its codes, from Q(c | x).

    A continuous code is the mean of Q. A discrete one, categorical or bernoulli, is the value that Q finds most
    likely: one dimension, as for the others, so that no code counts more than once. Its values have no order. mig and
    modularity do not read one into them, and the trees of sap and dci hardly; factor_vae, beta_vae and explicitness
    take the values for numbers, and a categorical code of more than two classes is at a disadvantage there.

    Raises:
        InputError: If the model has no codes to read from images.
    """
    encode: Callable[[Tensor], dict[str, Any]] | None = getattr(model, "encode", None)
    if encode is None or not model.codes:
        raise InputError(f"model {model.config.model} reads no codes from images; infogan does")

    def represent(images: Tensor) -> Floats:
        output = encode(images)
        return np.stack([_column(code, output[code.name]) for code in model.codes], 1)

    return represent


def _column(code: Code, posterior: Any) -> Floats:
    """What stands for a code [n], from Q of it."""
    if code.kind == "categorical":
        value = posterior.argmax(1)
    elif code.kind == "bernoulli":
        value = posterior >= 0.5
    else:
        value = posterior.mean
    column: Floats = value.double().cpu().numpy()
    return column
