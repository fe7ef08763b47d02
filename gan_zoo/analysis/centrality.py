"""ModelCentrality: which of several runs agrees most with the others, without a label (Lin et al., 2020, section 4).

The images that one run generates are a dataset whose factors are known: the codes. FactorVAE's metric (Kim & Mnih,
2018, arXiv:1802.05983, section 4) scores the encoder of every other run on it. Disentangled models resemble each other,
while entangled ones differ, so the run that agrees most with the others is chosen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from gan_zoo.errors import InputError
from gan_zoo.models.gan.codes import Code
from gan_zoo.models.gan.prior import SHOWN, Latents, Prior
from gan_zoo.terminal import with_progress
from gan_zoo.training.hub_download import written
from gan_zoo.training.run import load

GROUP = 100
"""Images per vote."""
OVERALL = 5000
"""Images for the overall variance of each code, by which a group's variance is divided."""
AT_ONCE = 1000
"""Images per pass."""


class Model(Protocol):
    """A generator with codes, and an encoder of these codes."""

    prior: Prior

    def generate(self, latents: Latents) -> Tensor:
        """Generate images [n, C, H, W] from latents."""

    def encode(self, images: Tensor) -> Mapping[str, Any]:
        """Q(c | x) by code: probabilities [n, K], P(c = 1) [n], or a tuple that starts with a mean [n]."""


@dataclass(frozen=True)
class Centrality:
    """Agreement between models.

    Attributes:
        scores: B [models, models]: B_ij is the score of model j's encoder on the images and codes of model i's
            generator, in 0 to 1. The diagonal is NaN: no model is compared with itself.
        centrality: [models]: the mean over j ≠ i of A_ij = (B_ij + B_ji) / 2.
    """

    scores: Tensor
    centrality: Tensor

    @property
    def chosen(self) -> int:
        """The most central model; the first one on a tie."""
        return int(self.centrality.argmax())

    def record(self, runs: Sequence[Path]) -> dict[str, Any]:
        """The scores by row, with None on the diagonal, and the chosen run, for JSON."""
        names = [written(run) for run in runs]
        return {
            "runs": names,
            "scores": [[None if math.isnan(score) else score for score in row] for row in self.scores.tolist()],
            "centrality": self.centrality.tolist(),
            "chosen": names[self.chosen],
        }


def centrality(models: Sequence[Model], *, samples: int = 500, seed: int = 0) -> Centrality:
    """Score every ordered pair of models with the same codes.

    Args:
        models: Two or more; centralities can differ only from three on.
        samples: Votes per pair. Chance level is about 1 / number of codes, higher with few votes.
        seed: Seed of the images.
    """
    scores = torch.full((len(models), len(models)), float("nan"))
    for i, world in enumerate(with_progress(models, len(models), "runs")):
        others = [j for j in range(len(models)) if j != i]
        scores[i, others] = torch.tensor(agreement(world, [models[j] for j in others], samples=samples, seed=seed))
    return Centrality(scores, ((scores + scores.T) / 2).nanmean(1))


def agreement(world: Model, readers: Sequence[Model], *, samples: int, seed: int) -> list[float]:
    """FactorVAE's score of each reader's encoder on images of `world`'s generator, whose codes are the factors.

    Images of a group share one code and differ in all else. The group votes for the code whose encoding varies least,
    relative to its overall variance. The variance of a categorical code is the sum over its probabilities, that of a
    continuous code the variance of its mean.
    """
    factors = len(world.prior.codes)
    overall = [_variances([_encode(reader, images) for images in _free(world, seed)]) for reader in readers]
    spreads: list[list[Tensor]] = [[] for _ in readers]
    for images in _grouped(world, samples, seed):
        for reader, spread in zip(readers, spreads, strict=True):
            columns = [column.unflatten(0, (-1, GROUP)) for column in _encode(reader, images)]
            spread.append(torch.stack([column.var(1).sum(-1) for column in columns], 1))
    fixed = torch.arange(samples) % factors
    return [
        factor_score(torch.cat(spread).cpu(), variance.cpu(), fixed, factors)
        for spread, variance in zip(spreads, overall, strict=True)
    ]


def factor_score(variances: Tensor, overall: Tensor, fixed: Tensor, factors: int) -> float:
    """How accurately the code that varies least identifies the fixed factor (Kim & Mnih, 2018, section 4).

    Args:
        variances: Variance of each code within each group, [groups, codes].
        overall: Variance of each code over all images, [codes]; a code that never varies gets no vote.
        fixed: The factor that each group shares, int64 [groups].
        factors: Number of factors.

    Returns:
        The accuracy, on these votes, of the majority-vote classifier from codes to factors.
    """
    spread = torch.where(overall > 0, variances / overall, torch.inf)
    least = spread.argmin(1)
    votes = torch.bincount(least * factors + fixed, minlength=spread.shape[1] * factors).view(-1, factors)
    return float(votes.amax(1).sum() / len(fixed))


def open_models(runs: Sequence[Path], device: torch.device | str = "cpu") -> list[Model]:
    """Load the models of runs, which must have the same image shape and the same codes, two or more.

    Raises:
        InputError: If there are fewer than two runs, one is named twice, or they cannot be compared.
    """
    if len(runs) < 2:
        raise InputError(f"centrality compares runs, 3 or more to choose one; {len(runs)} is named")
    names = [written(run) for run in runs]
    for index, run in enumerate(runs):
        if run.resolve() in [other.resolve() for other in runs[:index]]:
            raise InputError(f"{names[index]} is named twice: a run would agree with itself")
    models: list[Any] = []
    for run, name in zip(runs, names, strict=True):
        model = load(run, device=device)
        if not hasattr(model, "encode") or len(model.codes) < 2:
            raise InputError(
                f"{name}: centrality compares 2 or more codes; model {model.config.model} has {_kinds(model)}"
            )
        first = models[0] if models else model
        for what, actual, expected in (("codes", _kinds(model), _kinds(first)), ("images", model.image, first.image)):
            if actual != expected:
                raise InputError(f"{name} has other {what} than {names[0]}: {actual}, not {expected}")
        models.append(model)
    return models


def _kinds(model: Any) -> str:
    def one(code: Code) -> str:
        kind = f"{code.kind}:{code.classes}" if code.kind == "categorical" else code.kind
        return f"{kind}({code.probability:g})" if code.kind == "bernoulli" else kind

    return ", ".join(map(one, model.codes)) or "no codes"


def _encode(reader: Model, images: Tensor) -> list[Tensor]:
    """A reader's encoding of each code, [n, columns]: probabilities of a categorical code, else one number."""
    posteriors = reader.encode(images).values()
    columns = [posterior if isinstance(posterior, Tensor) else posterior[0] for posterior in posteriors]
    return [column if column.ndim == 2 else column[:, None] for column in columns]


def _variances(batches: list[list[Tensor]]) -> Tensor:
    """The variance of each code over all batches, [codes]."""
    return torch.stack([torch.cat(parts).var(0).sum() for parts in zip(*batches, strict=True)])


def _free(world: Model, seed: int) -> Iterator[Tensor]:
    """Generate `OVERALL` images from the prior."""
    for first in range(0, OVERALL, AT_ONCE):
        yield world.generate(world.prior.sample(AT_ONCE, seed=seed, stream=SHOWN, first_row=first))


def _grouped(world: Model, groups: int, seed: int) -> Iterator[Tensor]:
    """Generate images in consecutive groups of `GROUP`; group g shares the code g mod number of codes."""
    prior = world.prior
    for first in range(0, groups, AT_ONCE // GROUP):
        count = min(AT_ONCE // GROUP, groups - first)
        drawn = prior.sample(count * GROUP, seed=seed, step=1, stream=SHOWN, first_row=first * GROUP)
        codes = drawn.codes.clone().unflatten(0, (count, GROUP))
        each, fixed = torch.arange(count), torch.arange(first, first + count) % len(prior.codes)
        codes[each, :, fixed] = codes[each, :1, fixed]
        yield world.generate(prior.compose(drawn.input[:, : prior.noise], codes.flatten(0, 1)))
