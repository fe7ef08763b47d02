"""A fixed random network, whose features compare images where there are neither labels nor Inception's weights.

Distances in the features of a random network rank generators much as those of a trained one (Naeem et al., 2020,
arXiv:2002.09797, section 4.2), and carry no labels. Their scale is their own.
"""

from __future__ import annotations

import torch
from torch import nn

from gan_zoo.analysis.classifier import Classifier
from gan_zoo.shapes import ImageShape


def random_network(image: ImageShape, device: torch.device | str = "cpu") -> Classifier:
    """The classifier's network with fixed random weights of He's scale, and batch norms that do nothing.

    Args:
        image: The shape of the images.
        device: The network's device.
    """
    with torch.device("cpu"), torch.random.fork_rng(devices=[]):
        network = Classifier(image, 1)
    random = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, generator=random)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network.to(device).eval()
