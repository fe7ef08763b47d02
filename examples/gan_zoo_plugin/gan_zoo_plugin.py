"""A model, a trunk, a dataset and a logger that gan-zoo finds by the entry points in pyproject.toml."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch
from einops.layers.torch import Rearrange
from PIL.Image import Image
from torch import nn

from gan_zoo.config import Config, Data, Settings, TrunkSettings, Weight
from gan_zoo.data.dataset import Dataset, Split
from gan_zoo.models.gan.model import GAN, Objective, StepTensors
from gan_zoo.shapes import ImageShape
from gan_zoo.trunks.layers import spectral
from gan_zoo.trunks.trunk import DiscriminatorTrunk, Trunk


class CalmSettings(Settings):
    """The term that keeps the discriminator calm."""

    weight: Weight = 0.5
    """Weight of the mean squared logit."""


class CalmGAN(GAN):
    """The GAN whose discriminator also minimises its mean squared logit."""

    defaults = {"trunk": {"name": "linear"}, "data": {"name": "stripes"}}
    settings = CalmSettings

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.weight = self.model_settings(config).weight

    def discriminator_objective(self, step: StepTensors) -> Objective:
        """The GAN's, and the term; one that is random would draw from `step.random`, as in `step.random.uniform(n)`."""
        objective = super().discriminator_objective(step)
        logits = torch.cat([step.real.logits, step.fake.logits]).float()
        objective.terms["discriminator/calm"] = self.weight * logits.square().mean()
        return objective


def linear_generator(latent_width: int, image: ImageShape, settings: TrunkSettings) -> nn.Module:
    """Latents [n, latent_width] to images [n, C, R, R] in [-1, 1]."""
    return nn.Sequential(
        nn.Linear(latent_width, image.pixels),
        nn.Tanh(),
        Rearrange("n (c h w) -> n c h w", c=image.channels, h=image.resolution),
    )


def linear_discriminator(image: ImageShape, settings: TrunkSettings) -> DiscriminatorTrunk:
    """Images to `width` features."""
    to_map = nn.Sequential(
        Rearrange("n c h w -> n (c h w)"), nn.Linear(image.pixels, settings.width), Rearrange("n c -> n c 1 1")
    )
    return spectral(DiscriminatorTrunk(to_map, Rearrange("n c 1 1 -> n c"), settings.width), settings.spectral_norm)


LINEAR = Trunk(linear_generator, linear_discriminator)


def stripes(settings: Data) -> Dataset:
    """Grey images with bright rows (label 0) or bright columns (label 1)."""
    side = settings.resolution or 12
    rows = torch.zeros(32, 1, side, side, dtype=torch.uint8)
    rows[:, :, ::3] = 255
    images = torch.cat([rows, rows.transpose(2, 3)])
    return Dataset(settings.name, ImageShape(1, side), 2, Split(images, torch.arange(64) // 32))


class CSV:
    """metrics.csv in the run folder: step, name and value in each row."""

    def __init__(self, folder: Path, config: Config, start: int) -> None:
        self.file = (folder / "metrics.csv").open("a" if start else "w", newline="")

    @staticmethod
    def check() -> None:
        """It needs nothing that could be missing."""

    def log(self, record: dict[str, Any]) -> None:
        """Write a row for each value."""
        csv.writer(self.file).writerows((record["step"], name, value) for name, value in record.items())

    def picture(self, picture: Image, step: int) -> None:
        """A table holds none."""

    def flush(self) -> None:
        """Hand the rows to the system."""
        self.file.flush()

    def close(self) -> None:
        """Close the file."""
        self.file.close()
