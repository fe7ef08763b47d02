"""All metrics on a dataset with known factors, for any representation of images, or for a model."""

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
"""Maps images [n, C, H, W] in [-1, 1] to their representation [n, D]."""

SAMPLES = 15_000
BATCH = 256
"""Images per call of a representation."""


def disentanglement(
    represent: Represent, dataset: Dataset, *, seed: int = 0, samples: int = SAMPLES, groups: int = GROUPS
) -> dict[str, float]:
    """Compute every metric of this package, by name.

    Args:
        represent: The representation.
        dataset: A dataset with factors; its training images are used.
        seed: Seed of the choice of images and of the metrics.
        samples: Maximum number of images, drawn without replacement. The default of 15,000 matches disentanglement_lib:
            10,000 for training and 5,000 for evaluation.
        groups: Number of groups of 64 images in factor_vae and of points of 64 pairs in beta_vae.

    Returns:
        factor_vae, beta_vae, mig, sap, dci_disentanglement, dci_completeness, dci_informativeness, modularity and
        explicitness.

    Raises:
        InputError: If the dataset has fewer than two factors that vary, or the representation is not a finite table.
    """
    codes, factors = encoded(represent, dataset, seed=seed, samples=samples)
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
    represent: Represent, dataset: Dataset, *, seed: int = 0, samples: int = SAMPLES
) -> tuple[Floats, Integers]:
    """Codes [n, D] and factors [n, F] of at most `samples` images, drawn without replacement.

    Raises:
        InputError: Like `disentanglement`.
    """
    known = dataset.factors
    if known is None or sum(size > 1 for size in known.sizes) < 2:
        raise InputError(
            f"data {dataset.name!r} has no two factors that are known and vary; sets that have: sprites, dsprites"
        )
    if samples < 2:
        raise InputError(f"samples must be at least 2, not {samples}")
    indices = torch.randperm(known.count, generator=torch.Generator().manual_seed(seed))[:samples]
    parts = []
    for part in indices.split(BATCH):
        output = np.asarray(represent(normalise(dataset.train.pixels(part))), np.float64)
        if output.ndim != 2 or len(output) != len(part) or not np.isfinite(output).all():
            raise InputError(
                f"the representation of {len(part)} images is not a finite table of as many rows: {output.shape}"
            )
        parts.append(output)
    return np.concatenate(parts), known.values(indices).numpy()


def representation(model: GAN) -> Represent:
    """A model's representation: one dimension for each of its codes, from Q(c | x).

    A continuous code is represented by Q's mean, a discrete one by Q's mode: one dimension, so that every code counts
    once. The values of a discrete code have no order. mig and modularity assume none, and the trees of sap and dci
    hardly depend on it; factor_vae, beta_vae and explicitness treat them as numbers, to the disadvantage of categorical
    codes with more than two classes.

    Raises:
        InputError: If the model cannot infer codes.
    """
    encode: Callable[[Tensor], dict[str, Any]] | None = getattr(model, "encode", None)
    if encode is None or not model.codes:
        raise InputError(f"model {model.config.model} reads no codes from images; infogan does")

    def represent(images: Tensor) -> Floats:
        output = encode(images)
        return np.stack([_column(code, output[code.name]) for code in model.codes], 1)

    return represent


def _column(code: Code, posterior: Any) -> Floats:
    """The representation [n] of a code, from Q."""
    if code.kind == "categorical":
        value = posterior.argmax(1)
    elif code.kind == "bernoulli":
        value = posterior >= 0.5
    else:
        value = posterior.mean
    column: Floats = value.double().cpu().numpy()
    return column
