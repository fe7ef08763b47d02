"""How much the codes tell: the bound L_I on fresh samples (Chen et al., 2016, eq. 5)."""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor

from gan_zoo.errors import InputError
from gan_zoo.models.gan.model import GAN, evaluating
from gan_zoo.models.gan.prior import SHOWN, Latents


class Informed(Protocol):
    """A model with an information term."""

    def information(self, features: Tensor, latents: Latents) -> Tensor:
        """L_I by code, in nats, as a mean over the batch."""

    def entropies(self) -> Tensor:
        """H(c) by code, in nats."""


def informed(model: GAN) -> Informed:
    """`model` if it has an information term.

    Raises:
        InputError: If it has none.
    """
    if not hasattr(model, "information"):
        raise InputError(f"model {model.config.model} has no information term; infogan has")
    return cast(Informed, model)


@torch.no_grad()
def information(model: GAN, *, n: int, seed: int = 0, batch_size: int | None = None) -> dict[str, float]:
    """L_I of n samples that were not trained on, in nats, with every network in evaluation mode.

    Returns:
        L_I by code's name, such as `c1`, and for a discrete code its maximum H(c) as `c1/entropy`.
    """
    teller = informed(model)
    sums = torch.zeros(len(model.codes), dtype=torch.float64)
    with evaluating(model):
        for start in range(0, n, batch_size or model.at_once):
            size = min(batch_size or model.at_once, n - start)
            drawn = model.prior.sample(size, seed=seed, stream=SHOWN, first_row=start, device=model.device)
            features = model.discriminator.trunk(model.generate(drawn))
            sums += size * teller.information(features, drawn).double().cpu()
    nats: dict[str, float] = {}
    for code, bound, entropy in zip(model.codes, sums / n, teller.entropies(), strict=True):
        nats |= {code.name: float(bound)} | ({f"{code.name}/entropy": float(entropy)} if code.discrete else {})
    return nats
