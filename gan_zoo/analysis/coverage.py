"""Whether every class of the data is among the samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SEEN = 0.1
"""A class counts as covered from this part of its share in the data."""


def coverage(generated: NDArray[np.int64], real: NDArray[np.int64]) -> dict[str, float]:
    """Mode coverage of samples whose classes a classifier told.

    Args:
        generated: Images of each class among the samples, [classes].
        real: Images of each class in the data, [classes].

    Returns:
        `modes`: classes with at least a tenth of their share in the data; `classes`: how many the data has; `coverage`:
        modes by classes; `kl`: KL(samples ‖ data) of the shares of these classes, in nats, 0 for equal shares and at
        most -log of the least share.
    """
    from scipy.stats import entropy

    there = real > 0
    p, q = generated[there] / generated.sum(), real[there] / real.sum()
    modes = int((p >= SEEN * q).sum())
    kl = float(entropy(p, q)) if p.sum() else float("inf")
    return {"coverage": modes / len(q), "modes": modes, "classes": len(q), "kl": kl}
