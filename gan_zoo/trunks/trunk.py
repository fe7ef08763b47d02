"""The interface of trunks: matching pairs of a generator and a discriminator network."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from torch import Tensor, nn

from gan_zoo.config import TrunkSettings
from gan_zoo.errors import InputError
from gan_zoo.shapes import ImageShape
from gan_zoo.trunks.layers import NORMS


class DiscriminatorTrunk(nn.Module):
    """A discriminator without its last layer: images to the features that every head reads.

    The adversarial head, InfoGAN's Q head and a class head share the features of one pass.

    Args:
        to_map: Images [n, C, R, R] to the last feature map [n, c, h, w] (of an mlp, [n, c, 1, 1]).
        to_features: That map to features [n, width].
        width: Number of features.
    """

    def __init__(self, to_map: nn.Module, to_features: nn.Module, width: int) -> None:
        super().__init__()
        self.to_map = to_map
        self.to_features = to_features
        self.width = width

    def layers(self) -> list[nn.ModuleList]:
        """The trunk's layers, or residual blocks, each with the norm and the activation that follow it.

        Raises:
            InputError: If the trunk is not a sequence.
        """
        if not isinstance(self.to_map, nn.Sequential):
            raise InputError(
                f"trunk.freeze_d requires a trunk whose to_map is an nn.Sequential, not {type(self.to_map).__name__}; "
                "set it to 0"
            )
        after = self.to_features if isinstance(self.to_features, nn.Sequential) else nn.Sequential(self.to_features)
        layers: list[nn.ModuleList] = []
        for part in (*self.to_map, *after):
            if not isinstance(part, NORMS) and any(True for _ in part.parameters()):
                layers.append(nn.ModuleList())
            if layers:
                layers[-1].append(part)
        return layers

    def freeze(self, count: int) -> None:
        """Fix the weights of the first layers, so that no optimizer gets them (Mo et al., 2020, arXiv:2002.10964).

        Their batch norms keep fixed gains and biases, and still normalise each batch by its own statistics: that is how
        the weights were trained, and another set has other statistics.

        Raises:
            InputError: If the trunk is not a sequence, or has fewer layers.
        """
        if count > len(layers := self.layers()):
            raise InputError(f"trunk.freeze_d = {count}: the discriminator's trunk has {len(layers)} layers")
        for layer in layers[:count]:
            layer.requires_grad_(False)

    def feature_map(self, x: Tensor) -> Tensor:
        """Images [n, C, R, R] in [-1, 1] to the last feature map [n, c, h, w]."""
        feature_map: Tensor = self.to_map(x)
        return feature_map

    def forward(self, x: Tensor) -> Tensor:
        """Images [n, C, R, R] in [-1, 1] to features [n, width]."""
        features: Tensor = self.to_features(self.feature_map(x))
        return features


@dataclass(frozen=True)
class Trunk:
    """Builds the two networks.

    Weights are drawn from torch's global generator: the same seed before the call gives the same network. Both raise
    `InputError` for a resolution that the design does not support.
    """

    generator: Callable[[int, ImageShape, TrunkSettings], nn.Module]
    """``generator(latent_width, image, settings)`` maps [n, latent_width] to [n, C, R, R] in [-1, 1]."""
    discriminator: Callable[[ImageShape, TrunkSettings], DiscriminatorTrunk]
    """``discriminator(image, settings)`` maps images to features."""
    joins: bool = False
    """Whether images do not mix in the discriminator trunk, except in batch norms from `layers.norm`. Reals and fakes
    then share one pass, each normalised by their own statistics."""


def require_resolution(name: str, image: ImageShape, accepted: Collection[int]) -> None:
    """Check that the trunk `name` supports an image's resolution.

    Raises:
        InputError: If the image's resolution is not among `accepted`.
    """
    if image.resolution in accepted:
        return
    *most, last = (f"{side}×{side}" for side in sorted(accepted))
    sizes = f"{', '.join(most)} or {last}" if most else last
    sides = " or ".join(str(side) for side in sorted(accepted))
    raise InputError(
        f"trunk {name} supports {sizes} images, not {image.resolution}×{image.resolution}; "
        f"set data.resolution to {sides}, or trunk.name to another trunk (see `gan-zoo trunks`)"
    )
