"""Mode coverage: whether the samples contain every class of the data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SEEN = 0.1
"""A class counts as covered from this fraction of its share in the data."""


def coverage(generated: NDArray[np.int64], real: NDArray[np.int64]) -> dict[str, float]:
    """Mode coverage of samples with predicted classes.

    Args:
        generated: Number of samples of each class, [classes].
        real: Number of images of each class in the data, [classes].

    Returns:
        `modes`: number of classes with at least a tenth of their share in the data; `classes`: number of classes in the
        data; `coverage`: modes / classes; `kl`: KL(samples ‖ data) of the class shares in nats, from 0 to -log of the
        least share.
    """
    from scipy.stats import entropy

    there = real > 0
    p, q = generated[there] / generated.sum(), real[there] / real.sum()
    modes = int((p >= SEEN * q).sum())
    kl = float(entropy(p, q)) if p.sum() else float("inf")
    return {"coverage": modes / len(q), "modes": modes, "classes": len(q), "kl": kl}
