"""Agreement between classes and groups that were found without labels.

Letters in shapes: n images, K groups. A group is a value of a categorical code, or a cluster of k-means.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gan_zoo.analysis.encode import Encoder
from gan_zoo.data.batches import in_order
from gan_zoo.data.dataset import Split

Ints = NDArray[np.int64]


class Grouped(NamedTuple):
    """The group and the class of each image, int64 [n] each."""

    groups: Ints
    classes: Ints


def modes(model: Encoder, split: Split, *, batch_size: int = 500) -> dict[str, Ints]:
    """The mode of Q(c | x), int64 [n], for each categorical code and the images of a split."""
    names = [code.name for code in model.codes if code.kind == "categorical"]
    grouping: dict[str, list[Ints]] = {name: [] for name in names}
    for batch in in_order(split, batch_size=batch_size, device=model.device):
        posteriors = model.encode(batch.images)
        for name in names:
            probabilities = posteriors[name]
            assert not isinstance(probabilities, tuple)
            grouping[name].append(probabilities.argmax(1).cpu().numpy())
    return {name: np.concatenate(parts) for name, parts in grouping.items()}


def grouped(model: Encoder, split: Split) -> dict[str, Grouped]:
    """The modes of Q's categorical codes on a labelled split, with its labels."""
    assert split.labels is not None
    labels: Ints = split.labels.numpy()
    return {name: Grouped(grouping, labels) for name, grouping in modes(model, split).items()}


def contingency(grouping: Grouped, k: int, classes: int) -> Ints:
    """The number of images of each class in each group, [K, classes]."""
    table = np.zeros((k, classes), dtype=np.int64)
    np.add.at(table, (grouping.groups, grouping.classes), 1)
    return table


def assignment(table: Ints) -> Ints:
    """The class [K] of each group in the best one-to-one assignment; -1 for a group without one.

    Computed by the Hungarian method (Kuhn, 1955) from a table [K, classes]. Images in groups without a class, and
    images of classes without a group, count as wrong.
    """
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(table, maximize=True)
    assigned = np.full(len(table), -1, dtype=np.int64)
    assigned[rows] = columns
    return assigned


def accuracy(grouping: Grouped, assigned: Ints) -> float:
    """The fraction of images whose class is assigned to their group."""
    return float((assigned[grouping.groups] == grouping.classes).mean())


def scores(fit: Grouped, evaluated: Grouped, k: int, classes: int) -> dict[str, float]:
    """Agreement of groups and classes on `evaluated`, with groups assigned to classes on `fit`.

    Returns:
        `accuracy` under the best one-to-one assignment; `purity`, the accuracy if each group stands for its commonest
        class; the normalised mutual information `nmi` (by the mean of the entropies) and the adjusted Rand index `ari`
        (Hubert and Arabie, 1985), which need no assignment.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    table = contingency(fit, k, classes)
    return {
        "accuracy": accuracy(evaluated, assignment(table)),
        "purity": accuracy(evaluated, table.argmax(1)),
        "nmi": float(normalized_mutual_info_score(evaluated.classes, evaluated.groups)),
        "ari": float(adjusted_rand_score(evaluated.classes, evaluated.groups)),
    }
