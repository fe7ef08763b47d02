"""k-means++ on the trunk's features (Arthur and Vassilvitskii, 2007), compared with Q's clustering."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from gan_zoo.analysis.clustering import Grouped, Ints, modes, scores
from gan_zoo.analysis.encode import encoder
from gan_zoo.data.batches import in_order
from gan_zoo.data.dataset import Dataset, Split
from gan_zoo.errors import InputError
from gan_zoo.models.gan.model import GAN, evaluating

RESTARTS = 10
"""Initialisations of k-means; the result with the least sum of squares wins."""


@torch.no_grad()
def pooled(
    model: GAN, split: Split, *, pool: Literal["mean", "max"] = "mean", batch_size: int | None = None
) -> NDArray[Any]:
    """The trunk's last feature map, pooled over space: float32 [n, channels], in the split's order."""
    values = []
    with evaluating(model):
        for batch in in_order(split, batch_size=batch_size or model.at_once, device=model.device):
            maps = model.discriminator.trunk.feature_map(batch.images).float()
            values.append((maps.mean((2, 3)) if pool == "mean" else maps.amax((2, 3))).cpu().numpy())
    return np.concatenate(values)


def cluster(
    model: GAN, dataset: Dataset, *, k: int | None = None, seed: int = 0, pool: Literal["mean", "max"] = "mean"
) -> dict[str, dict[str, Any]]:
    """Cluster a dataset by k-means and, for a model with codes, by Q, and compare both with the labels.

    Args:
        model: A trained GAN.
        dataset: The dataset; k-means is fitted on its training split.
        k: Number of clusters; defaults to the number of classes, or of values of Q's first categorical code.
        seed: Seed of k-means.
        pool: How to pool a feature map over space.

    Returns:
        For `k-means` and each categorical code: `k` and, by split, the clusters' `sizes`. If training split and split
        are labelled, also `scores` (see `gan_zoo.analysis.clustering`), assigned to classes on the training split.

    Raises:
        InputError: If k is not given and has no default, or exceeds the number of training images.
    """
    from sklearn.cluster import KMeans

    codes = {code.name: code.classes for code in model.codes if code.kind == "categorical"}
    if k is None:
        k = dataset.classes or next(iter(codes.values()), None)
    if k is None:
        raise InputError(
            f"data {dataset.name!r} has no labels and model {model.config.model} no categorical code; set --k"
        )
    if not 2 <= k <= len(dataset.train):
        raise InputError(f"--k {k}: between 2 clusters and {len(dataset.train)}, the number of training images")
    splits = dataset.splits
    features = {part: pooled(model, split, pool=pool) for part, split in splits.items()}
    means = KMeans(k, init="k-means++", n_init=RESTARTS, random_state=seed % 2**32).fit(features["train"])
    groups = {"k-means": {part: means.predict(values).astype(np.int64) for part, values in features.items()}}
    if codes:
        by_split = {part: modes(encoder(model), split) for part, split in splits.items()}
        groups |= {name: {part: values[name] for part, values in by_split.items()} for name in codes}
    return {
        name: _agreement(values, splits, {"k-means": k, **codes}[name], dataset.classes)
        for name, values in groups.items()
    }


def _agreement(groups: dict[str, Ints], splits: dict[str, Split], k: int, classes: int) -> dict[str, Any]:
    labelled = {
        part: Grouped(values, labels.numpy().astype(np.int64))
        for part, values in groups.items()
        if classes and (labels := splits[part].labels) is not None
    }
    record: dict[str, Any] = {"k": k}
    for part, values in groups.items():
        record[part] = {"sizes": np.bincount(values, minlength=k).tolist()}
        if part in labelled and "train" in labelled:
            record[part]["scores"] = scores(labelled["train"], labelled[part], k, classes)
    return record
