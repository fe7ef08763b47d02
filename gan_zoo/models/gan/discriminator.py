"""The discriminator: a trunk, whose features every head reads, the adversarial head, and its projection on classes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from gan_zoo.errors import InputError
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
    """A trunk and the adversarial head on its features.

    Args:
        trunk: The trunk.
        spectral_norm: Whether the head, and the embedding of the classes, have spectral norm.
        classes: Classes that the logits are conditioned on; 0 for none.
    """

    def __init__(self, trunk: DiscriminatorTrunk, *, spectral_norm: bool, classes: int = 0) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = spectral(trunk.head(), spectral_norm)
        self.embedding: nn.Module | None = None  # a row for each class
        if classes:
            self.embedding = spectral(nn.Linear(trunk.width, classes, bias=False), spectral_norm)

    def forward(self, images: Tensor) -> DiscriminatorOutput:
        """The output for images [n, C, H, W], in one pass of the trunk."""
        features = self.trunk(images)
        return DiscriminatorOutput(images, self.head(features), features)

    def conditioned(self, output: DiscriminatorOutput, labels: Tensor | None) -> DiscriminatorOutput:
        """The output with ⟨embedding(y), features⟩ added to its logits, if D is conditioned on classes.

        Miyato & Koyama, 2018 (arXiv:1802.05637), eq. 3.

        Args:
            output: For n images.
            labels: Their classes y, int64 [n].

        Raises:
            InputError: If D is conditioned and there are no labels.
        """
        if self.embedding is None:
            return output
        if labels is None:
            raise InputError("the discriminator is conditioned on labels, and the data has none")
        projection = self.embedding(output.features).gather(1, labels[:, None])
        return output._replace(logits=output.logits + projection)

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
