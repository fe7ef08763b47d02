"""The discriminator: a trunk, whose features every head reads, and the adversarial head."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from gan_zoo.trunks.layers import spectral
from gan_zoo.trunks.trunk import DiscriminatorTrunk


class DiscriminatorOutput(NamedTuple):
    """The discriminator's output for images [n, C, H, W]."""

    images: Tensor
    logits: Tensor  # [n, 1], above 0 for real
    features: Tensor  # [n, trunk width], the input of every head

    @property
    def detached(self) -> DiscriminatorOutput:
        """The output, detached from the graph."""
        return DiscriminatorOutput(self.images.detach(), self.logits.detach(), self.features.detach())


class Discriminator(nn.Module):
    """A trunk and the adversarial head on its features."""

    def __init__(self, trunk: DiscriminatorTrunk, *, spectral_norm: bool) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = spectral(nn.Linear(trunk.width, 1), spectral_norm)

    def forward(self, images: Tensor) -> DiscriminatorOutput:
        """The output for images [n, C, H, W], in one pass of the trunk."""
        features = self.trunk(images)
        return DiscriminatorOutput(images, self.head(features), features)

    def discriminate(self, *batches: Tensor, at_once: bool) -> list[DiscriminatorOutput]:
        """The outputs for several batches of images.

        Args:
            batches: [n, C, H, W] each; the last may have fewer rows.
            at_once: Whether in one pass, which needs a trunk that `joins` and norms whose lots have n rows.
        """
        if not at_once:
            return [self(images) for images in batches]
        sizes = [len(images) for images in batches]
        _, logits, features = self(torch.cat(batches))
        outputs = zip(batches, logits.split(sizes), features.split(sizes), strict=True)
        return [DiscriminatorOutput(*output) for output in outputs]
