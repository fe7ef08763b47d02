"""Metrics on predictors fitted from the representation to the factors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gan_zoo.analysis.disentanglement.codes_and_factors import Floats, gap, standardised, tables

HELD_OUT = 1 / 3
"""Fraction of the images for evaluation, as disentanglement_lib's 5,000 beside 10,000."""
TREES = 30
LEAF = 0.005


class DCI(NamedTuple):
    """Eastwood & Williams' three scores, each from 0 to 1."""

    disentanglement: float
    completeness: float
    informativeness: float


def sap(codes: ArrayLike, factors: ArrayLike) -> float:
    """Separated attribute predictability: how far the best single predictor of a factor leads the second, mean over k.

    Kumar et al., 2018 (DIP-VAE, arXiv:1711.00848, section 3), in the paper's form for classes: thresholds on one
    dimension predict a factor, scored by balanced accuracy on the same images. The thresholds are those of a decision
    tree with as many leaves as the factor has values; a constant dimension scores 0. The maximum for a factor of K
    values is 1 - 1/K if the second dimension is uninformative, since chance is 1/K. disentanglement_lib uses a linear
    SVM instead of thresholds, which cannot separate a middle value and scores lower.

    Args:
        codes: [n, D].
        factors: [n, F].
    """
    from sklearn.metrics import recall_score
    from sklearn.tree import DecisionTreeClassifier

    data = tables(codes, factors)
    scores = np.zeros((data.codes.shape[1], len(data.levels)))
    for j, z in enumerate(data.codes.T):
        for k, (v, levels) in enumerate(zip(data.factors.T, data.levels, strict=True)):
            if np.ptp(z) > 0:
                thresholds = DecisionTreeClassifier(max_leaf_nodes=levels, class_weight="balanced", random_state=0)
                predicted = thresholds.fit(z[:, None], v).predict(z[:, None])
                scores[j, k] = recall_score(v, predicted, average="macro", zero_division=0)
    return float(gap(scores).mean())


def dci(codes: ArrayLike, factors: ArrayLike, *, seed: int = 0, trees: int = TREES) -> DCI:
    """Disentanglement, completeness, informativeness (Eastwood & Williams, 2018, ICLR, section 2).

    A random forest predicts each factor from all dimensions; R[j, k] is dimension j's importance in it. With the rows
    of R, and the columns, as distributions P: disentanglement is 1 - H_F(P_j.), weighted by dimension j's share of all
    importance; completeness is 1 - H_D(P_.k), mean over factors; informativeness is the accuracy on held-out images
    (as in disentanglement_lib; an error in the paper), mean over factors. The paper sets its forests' depth by
    cross-validation; here a leaf has at least 0.5 % of the images, which keeps noise out of the importances.
    disentanglement_lib's boosted trees take minutes for a factor of 40 values. An uninformative code has
    disentanglement and completeness near 0 and accuracy at chance level.

    Args:
        codes: [n, D].
        factors: [n, F].
        seed: Seed of the forests and of the held-out images.
        trees: Trees per forest.
    """
    from sklearn.ensemble import RandomForestClassifier

    fitted, judged = tables(codes, factors).split(HELD_OUT, seed)
    importance = np.zeros((fitted.codes.shape[1], len(fitted.levels)))
    accuracy = []
    for k in range(len(fitted.levels)):
        forest = RandomForestClassifier(trees, max_features=None, min_samples_leaf=LEAF, random_state=seed % 2**32)
        forest.fit(fitted.codes, fitted.factors[:, k])
        importance[:, k] = forest.feature_importances_
        accuracy.append(forest.score(judged.codes, judged.factors[:, k]))
    of_code, of_factor = importance.sum(1), importance.sum(0)
    share = of_code / max(of_code.sum(), np.finfo(float).tiny)
    return DCI(
        disentanglement=float((share * _focus(importance)).sum()),
        completeness=float(np.where(of_factor > 0, _focus(importance.T), 0).mean()),
        informativeness=float(np.mean(accuracy)),
    )


def _focus(importance: Floats) -> Floats:
    """1 - H(row) / log(length) of each row as a distribution: 1 if one entry has all weight, 0 if all are equal."""
    total = importance.sum(1, keepdims=True)
    shares = importance / np.where(total > 0, total, 1)
    plogp = shares * np.log(np.where(shares > 0, shares, 1))
    focus: Floats = 1 + plogp.sum(1) / np.log(max(importance.shape[1], 2))
    return focus


def explicitness(codes: ArrayLike, factors: ArrayLike, *, seed: int = 0) -> float:
    """How well a linear classifier predicts the factors' values from the whole code: mean area under the ROC curve.

    Ridgeway & Mozer, 2018 (arXiv:1802.05312, section 3): logistic regression on dimensions of deviation 1, one value of
    a factor against the others on held-out images, mean over values and then over factors, as in disentanglement_lib.
    From 0.5 (chance) to 1.

    Args:
        codes: [n, D].
        factors: [n, F].
        seed: Seed of the held-out images.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    data = tables(codes, factors)
    fitted, judged = data._replace(codes=standardised(data.codes)).split(HELD_OUT, seed)
    areas = []
    for k, levels in enumerate(data.levels):
        classifier = LogisticRegression(max_iter=1000).fit(fitted.codes, fitted.factors[:, k])
        predicted = classifier.predict_proba(judged.codes)
        of_values = [roc_auc_score(judged.factors[:, k] == v, predicted[:, v]) for v in range(levels)]
        areas.append(np.mean(of_values))
    return float(np.mean(areas))
