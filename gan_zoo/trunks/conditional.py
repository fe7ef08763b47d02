"""Generators that are conditioned on a class, made from any trunk's: by conditional batch norm, or by an embedding.

Conditional batch norm: Dumoulin et al., 2017 (arXiv:1610.07629, section 2.2), used for GANs by Miyato & Koyama, 2018
(arXiv:1802.05637). An embedding of the class beside the noise, for trunks without batch norm: Huang et al., 2024
(arXiv:2501.05441), on ImageNet.
"""

from __future__ import annotations

import torch
from gan_zoo_kernels import leaky_relu
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gan_zoo.config import TrunkSettings
from gan_zoo.errors import InputError
from gan_zoo.shapes import ImageShape
from gan_zoo.trunks.trunk import Trunk


class ConditionalBatchNorm(nn.Module):
    """γ_y (x - μ) / σ + β_y, then leaky ReLU: batch norm with a gain and a bias for each class y.

    Gains start at 1, biases at 0. It computes with torch, as the fused kernels take one gain for each channel.

    Args:
        norm: The batch norm that it replaces, without its gain and bias; a `LotNorm`'s activation is kept.
        classes: The number of classes.

    Attributes:
        affine: Maps one-hot classes [n, classes] to gains and biases [n, 2C].
        one_hot: The classes of the images in the present pass, [n, classes].
    """

    one_hot: Tensor | None = None

    def __init__(self, norm: _BatchNorm, classes: int) -> None:
        super().__init__()
        kind = nn.BatchNorm1d if isinstance(norm, nn.BatchNorm1d) else nn.BatchNorm2d
        self.norm = kind(norm.num_features, norm.eps, norm.momentum, affine=False)
        self.slope: float = getattr(norm, "slope", 1.0)
        self.affine = nn.Linear(classes, 2 * norm.num_features, bias=False)
        gains, biases = self.affine.weight.detach().chunk(2)
        gains.fill_(1.0)
        biases.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Normalise, scale, shift and activate [n, C] or [n, C, h, w]."""
        assert self.one_hot is not None
        shape = (*x.shape[:2], *(1 for _ in x.shape[2:]))
        gain, bias = (part.view(shape) for part in self.affine(self.one_hot).chunk(2, 1))
        return leaky_relu(self.norm(x) * gain + bias, self.slope)


class ConditionalGenerator(nn.Module):
    """A trunk's generator whose batch norms are conditional, all of them.

    Args:
        network: The generator, from latents without the class. Its batch norms are replaced.
        classes: The number of classes.
    """

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.network, self.classes = network, classes
        for module in list(network.modules()):
            for name, child in module.named_children():
                if isinstance(child, _BatchNorm):
                    setattr(module, name, ConditionalBatchNorm(child, classes))

    def norms(self) -> list[ConditionalBatchNorm]:
        """The conditional batch norms."""
        return [layer for layer in self.network.modules() if isinstance(layer, ConditionalBatchNorm)]

    def forward(self, latents: Tensor) -> Tensor:
        """Latents [n, width + classes], the class last as one-hot, to images [n, C, R, R] in [-1, 1]."""
        rest, one_hot = latents.tensor_split((-self.classes,), 1)
        norms = self.norms()
        try:
            for norm in norms:
                norm.one_hot = one_hot
            images: Tensor = self.network(rest)
        finally:
            for norm in norms:
                norm.one_hot = None
        return images


class EmbeddingGenerator(nn.Module):
    """A trunk's generator, whose input is the latents without the class, then a learned embedding of the class.

    Args:
        network: The generator, from latents that are `width` wider than those without the class.
        classes: The number of classes.
        width: Of the embedding, which starts at N(0, 1 / classes).
    """

    def __init__(self, network: nn.Module, classes: int, width: int) -> None:
        super().__init__()
        self.network, self.classes = network, classes
        self.embedding = nn.Linear(classes, width, bias=False)
        nn.init.normal_(self.embedding.weight, std=classes**-0.5)

    def forward(self, latents: Tensor) -> Tensor:
        """Latents [n, width + classes], the class last as one-hot, to images [n, C, R, R]."""
        rest, one_hot = latents.tensor_split((-self.classes,), 1)
        images: Tensor = self.network(torch.cat([rest, self.embedding(one_hot)], 1))
        return images


def build_generator(
    trunk: Trunk, latent_width: int, image: ImageShape, settings: TrunkSettings, *, classes: int
) -> nn.Module:
    """The trunk's generator, conditioned on the last `classes` columns of its input if there are any.

    Raises:
        InputError: If it is to be conditioned, takes no embedding, and has no batch norm.
    """
    if classes and trunk.class_width:
        network = trunk.generator(latent_width - classes + trunk.class_width, image, settings)
        return EmbeddingGenerator(network, classes, trunk.class_width)
    generator = trunk.generator(latent_width - classes, image, settings)
    if not classes:
        return generator
    conditional = ConditionalGenerator(generator, classes)
    if not conditional.norms():
        raise InputError(
            f"a generator that is conditioned on labels requires batch norm, and trunk {settings.name} has none with "
            f'trunk.generator_norm = "{settings.generator_norm}"; set it to "batch", or choose another trunk'
        )
    return conditional
