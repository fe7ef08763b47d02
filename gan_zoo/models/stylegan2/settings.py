"""StyleGAN2's table of the configuration and defaults. No torch here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gan_zoo.config import Positive, Recipe, Settings, Weight


class StyleGAN2Settings(Settings):
    """Regularisation of the generator."""

    path_length: Weight = 2.0
    """Weight of path-length regularisation (Karras et al., 2020, section 3.2); 0 disables it."""
    path_length_interval: Positive = 4
    """Compute it at every n-th update of the generator, with n times the weight (lazy regularisation)."""
    style_mixing: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Fraction of the fakes in training whose layers read another w from a random layer on (Karras et al., 2019)."""


class StyleGAN2Recipe(Recipe):
    """What StyleGAN2 adds to the configuration: the one for 256 pixels (Karras et al., 2020, arXiv:2006.06676)."""

    defaults = {
        "latent": {"noise": 512},
        "trunk": {"name": "stylegan2", "generator_norm": "none", "discriminator_norm": "none"},
        "loss": {"r1": 1.0, "penalty_interval": 16},
        "optimizer": {"generator_lr": 2.5e-3, "discriminator_lr": 2.5e-3, "beta1": 0.0, "beta2": 0.99},
        "training": {"batch_size": 64, "ema_images": 20_000},
    }
    settings = StyleGAN2Settings
    preset = "mnist-5k-stylegan2"
