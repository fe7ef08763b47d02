"""Adaptive discriminator augmentation: Karras et al., 2020 (arXiv:2006.06676), section 3.1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan_zoo.config import Data
from gan_zoo.errors import InputError

MOMENTUM = 0.25
"""The share of a batch in r_t; the authors take the mean over four batches instead."""
RAMP = 500_000
"""Images in which the probability rises from 0 to 1."""


class AdaptiveProbability(nn.Module):
    """The probability of augmentation: it rises while D overfits, that is while r_t, D's mean sign, exceeds a target.

    It stays on the device, and both numbers are part of a checkpoint.

    Args:
        target: Of r_t, 0.6 in the paper.

    Attributes:
        probability: float32 [], 0 to 1.
        sign: float32 [], r_t.
    """

    probability: Tensor
    sign: Tensor

    def __init__(self, target: float) -> None:
        super().__init__()
        self.target = target
        self.register_buffer("probability", torch.zeros(()))
        self.register_buffer("sign", torch.zeros(()))

    @torch.no_grad()
    def observe(self, sign: Tensor, images: int) -> dict[str, Tensor]:
        """Adapt the probability.

        Args:
            sign: The mean of sign D(x) over a batch of reals, [].
            images: How many.

        Returns:
            The two numbers, to log.
        """
        self.sign.lerp_(sign, MOMENTUM)
        change = (self.sign - self.target).sign() * (images / RAMP)
        self.probability.add_(change).clamp_(0, 1)
        return {"augment/probability": self.probability.clone(), "augment/sign": self.sign.clone()}


def adaptive_probability(data: Data) -> AdaptiveProbability | None:
    """The probability that the setting `data.augment_target` adapts; None if that is 0.

    Raises:
        InputError: If there is nothing to apply with it, or fakes would not be augmented.
    """
    if not data.augment_target:
        return None
    if not data.augment or not data.augment_fakes:
        what = "data.augment is empty" if not data.augment else "data.augment_fakes is false"
        change = "data.augment to operations such as flip, shift" if not data.augment else "data.augment_fakes to true"
        raise InputError(f"data.augment_target = {data.augment_target:g}, but {what}; set {change}, or the target to 0")
    return AdaptiveProbability(data.augment_target)
