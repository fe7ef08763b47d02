"""The interface of trunks: matching pairs of a generator and a discriminator network."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from gan_zoo.config import TrunkSettings
from gan_zoo.errors import InputError
from gan_zoo.registry import trunks
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

    def head(self) -> nn.Module:
        """A new adversarial head, features [n, width] to logits [n, 1]."""
        return nn.Linear(self.width, 1)

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
    """``generator(latent_width, image, settings)`` maps [n, latent_width] to [n, C, R, R]; in [-1, 1] in evaluation
    mode."""
    discriminator: Callable[[ImageShape, TrunkSettings], DiscriminatorTrunk]
    """``discriminator(image, settings)`` maps images to features."""
    joins: bool = False
    """Whether images do not mix in the discriminator trunk, except in batch norms from `layers.norm`. Reals and fakes
    then share one pass, each normalised by their own statistics."""
    settings: frozenset[str] = frozenset({"width", "generator_norm", "discriminator_norm", "spectral_norm"})
    """The keys of `TrunkSettings` that the two functions read; `trunk_of` refuses values of others."""
    class_width: int = 0
    """Width of an embedding of classes in the generator's input; 0 conditions its batch norms on them instead."""


OF_ALL_TRUNKS = {"name", "freeze_d"}
UNUSED = {"generator_norm": "none", "discriminator_norm": "none"}
"""The values of settings in a trunk that does not read them, where these are not the defaults."""


def trunk_of(settings: TrunkSettings) -> Trunk:
    """The trunk that `settings` names.

    Raises:
        InputError: If it ignores one of the settings, or there is none of this name.
    """
    trunk: Trunk = trunks.get(settings.name)
    unused = {key: UNUSED.get(key, field.default) for key, field in TrunkSettings.model_fields.items()}
    ignored = sorted(k for k in unused.keys() - trunk.settings - OF_ALL_TRUNKS if getattr(settings, k) != unused[k])
    if ignored:
        given = " and ".join(f"trunk.{key} = {json.dumps(getattr(settings, key))}" for key in ignored)
        change = " and ".join(f"trunk.{key} to {json.dumps(unused[key])}" for key in ignored)
        raise InputError(f"trunk {settings.name} does not support {given}; set {change}")
    if settings.widths and settings.width != unused["width"]:
        widths, default = json.dumps(settings.widths), unused["width"]
        change = f"set trunk.widths to [], or trunk.width to {default}"
        raise InputError(f"trunk.width = {settings.width} has no effect beside trunk.widths = {widths}; {change}")
    return trunk


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


def stage_sides(name: str, image: ImageShape) -> list[int]:
    """The sides 4, 8, …, R of the maps of the trunk `name`, which has a stage for each.

    Raises:
        InputError: If the image's resolution R is not a power of 2 from 4.
    """
    above: int = 1 << (image.resolution - 1).bit_length()
    if image.resolution < 4 or image.resolution != above:
        raise InputError(
            f"trunk {name} supports images whose side is a power of 2 from 4, not {image.resolution}×"
            f"{image.resolution}; set data.resolution to {max(4, above)}, or trunk.name to another trunk (see `gan-zoo "
            "trunks`)"
        )
    return [2**k for k in range(2, above.bit_length())]


def by_stage(key: str, given: Sequence[int], automatic: Sequence[int]) -> list[int]:
    """A number for each stage: `given`, the value of the setting trunk.`key`, or `automatic` if that is empty.

    Raises:
        InputError: If there are several, but not one for each stage.
    """
    if len(given) not in (0, 1, len(automatic)):
        raise InputError(
            f"trunk.{key} has {len(given)} numbers, but the trunk has {len(automatic)} stages at this resolution; give "
            f"{len(automatic)} numbers, or one for all"
        )
    return [*given] * len(automatic) if len(given) == 1 else [*(given or automatic)]
