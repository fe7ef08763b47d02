"""StyleGAN2: path-length regularisation and style mixing on a generator with a mapping network."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping

import torch
from torch import Tensor

from gan_zoo.config import Config, table_name
from gan_zoo.draws import Draws
from gan_zoo.errors import InputError
from gan_zoo.models.gan.model import GAN, Objective, StepTensors
from gan_zoo.models.gan.prior import Latents
from gan_zoo.models.stylegan2.settings import StyleGAN2Recipe, StyleGAN2Settings
from gan_zoo.trunks.style import drawing
from gan_zoo.trunks.stylegan2 import StyleGenerator

PATH_MOMENTUM = 0.01
"""The share of a batch in the mean path length."""
PATH_ROWS = 2
"""Path lengths are computed for one image of so many (Karras et al., 2020, appendix B)."""


class StyleGAN2(StyleGAN2Recipe, GAN):
    """Non-saturating losses, lazy R1, path-length regularisation, style mixing (Karras et al., 2020, arXiv:1912.04958).

    The mixed w of an image is that of a second z, from a layer on that is uniform among those after the first. Both
    regularisers need w, so the generator must be a `StyleGenerator`.
    """

    mean_path: Tensor  # float32 [], the running mean of the path length, a in eq. 4

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        settings: StyleGAN2Settings = self.model_settings(config)
        self.path_length, self.path_interval = settings.path_length, settings.path_length_interval
        self.style_mixing = settings.style_mixing
        self.register_buffer("mean_path", torch.zeros(()))
        if (self.path_length or self.style_mixing) and not isinstance(self.generator, StyleGenerator):
            table = table_name(config.model)
            raise InputError(
                f"trunk {config.trunk.name} has no mapping network, which {table}.path_length and {table}.style_mixing "
                "need; set trunk.name to stylegan2, or both to 0"
            )

    def phase(self, step: int) -> Hashable:
        """Whether the path length is regularised in the generator's update of this step."""
        update = step // self.config.training.discriminator_steps
        return self.path_length > 0 and update % self.path_interval == 0

    def training_images(self, latents: Latents, random: Draws) -> Tensor:
        """The GAN's, with mixed styles."""
        if not self.style_mixing:
            return super().training_images(latents, random)
        with drawing(self.generator, random):
            images: Tensor = self.generator(latents.input, *self._mixing(len(latents), random))
        return images

    def generator_objective(self, step: StepTensors) -> Objective:
        """The GAN's, and the path-length term at every `path_length_interval`-th update."""
        objective = super().generator_objective(step)
        if self.phase(step.latents.step):
            with step.random.every(PATH_ROWS, len(step.latents)):
                lengths = self.path_lengths(step.latents.input[::PATH_ROWS], step.random)
            excess = (lengths - self.mean_path).square().mean()
            objective.terms["generator/path_length"] = self.path_length * self.path_interval * excess
            objective.observed["path_length"] = lengths.detach().mean()
        return objective

    def observe(self, means: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The GAN's, and the mean path length."""
        metrics = super().observe(means)
        if "path_length" in means:
            self.mean_path.lerp_(means["path_length"], PATH_MOMENTUM)
            metrics["path_length"] = means["path_length"]
        return metrics

    def path_lengths(self, latents: Tensor, random: Draws) -> Tensor:
        """‖Jᵀ y‖₂ for J = ∂G/∂w and an image y of N(0, 1) / R: the root mean square over layers, [n], in float32.

        Karras et al., 2020, section 3.2. With the 1 / R of the authors' code the length does not depend on the
        resolution.
        """
        generator = self._style_generator
        with torch.autocast(latents.device.type, enabled=False), drawing(generator, random):
            w = generator.mapping(latents)[:, None].expand(-1, generator.synthesis.count, -1)
            images = generator.synthesis(w)
            y = random.normal(len(images), self.image.pixels).view_as(images) / self.image.resolution
            (slope,) = torch.autograd.grad((images * y).sum(), w, create_graph=True)
        lengths: Tensor = slope.square().sum(2).mean(1).sqrt()
        return lengths

    def _mixing(self, rows: int, random: Draws) -> tuple[Tensor, Tensor]:
        """Further noise [rows, noise], and the first layer of each image that reads its w, float32 [rows]."""
        noise, count = self.prior.noise, self._style_generator.synthesis.count
        normals, cube = (noise, ()) if self.prior.layout.normal else (0, ((-1.0, 1.0),) * noise)
        drawn, uniforms = random.mixed(rows, normals=normals, uniforms=(*cube, (0.0, 1.0), (1.0, float(count))))
        *rest, chance, layer = uniforms.unbind(1)
        other = drawn if normals else torch.stack(rest, 1)
        return other, torch.where(chance < self.style_mixing, layer.floor(), math.inf)

    @property
    def _style_generator(self) -> StyleGenerator:
        assert isinstance(self.generator, StyleGenerator)
        return self.generator
