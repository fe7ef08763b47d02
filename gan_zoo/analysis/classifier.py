"""A small classifier trained on a dataset's labels, whose features replace Inception's in evaluation.

TF-GAN evaluates MNIST in the same way. The classifier is trained once and cached; no model learns from it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from gan_zoo_kernels.reference_warp import warp
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from gan_zoo.data.batches import batches, in_order, normalise
from gan_zoo.data.dataset import Dataset, Split
from gan_zoo.errors import InputError
from gan_zoo.files import atomic_file, cache_folder, slug, utf8_name
from gan_zoo.models.gan.model import evaluating
from gan_zoo.shapes import ImageShape
from gan_zoo.terminal import say
from gan_zoo.training.checkpoint import load_weights

RECIPE = 1
"""Version of the network and its training; increasing it invalidates the cache."""
DIGESTED = 10_000
"""Maximum number of training images in the cache key."""
FEATURES = 128
LARGEST = 64
"""Largest resolution in pixels."""
EPOCHS, LEAST_STEPS, MOST_STEPS = 20, 400, 1500
BATCH = 128


class Classifier(nn.Module):
    """Three convolutions and two linear layers: images [n, C, R, R] to logits [n, classes].

    Attributes:
        accuracy: Accuracy on the test split or, without one, on every tenth training image, which is not trained on.
    """

    def __init__(self, image: ImageShape, classes: int) -> None:
        super().__init__()
        self.to_features = nn.Sequential(
            *_block(image.channels, 16), nn.MaxPool2d(2),
            *_block(16, 32), nn.MaxPool2d(2),
            *_block(32, 64), nn.AdaptiveAvgPool2d(4),
            nn.Flatten(), nn.Linear(64 * 4 * 4, FEATURES), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(FEATURES, classes)
        self.accuracy = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, classes] of images [n, C, R, R] in [-1, 1]."""
        logits: Tensor = self.head(self.to_features(x))
        return logits

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Features [n, 128], the last layer's input, of uint8 images [n, C, R, R]."""
        with evaluating(self):
            features: Tensor = self.to_features(normalise(images.to(self.head.weight.device)))
        return features

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """The predicted classes, int64 [n], of uint8 images [n, C, R, R]."""
        return self.head(self.features(images)).argmax(1)  # type: ignore[no-any-return]


def suits(dataset: Dataset) -> str | None:
    """Why a dataset cannot have a classifier; empty if it can."""
    if dataset.classes < 2 or dataset.train.labels is None:
        return f"data {dataset.name!r} has no labels of two classes or more"
    if dataset.image.resolution > LARGEST:
        return (
            f"data {dataset.name!r} has images of {dataset.image.resolution} pixels, and the classifier up to {LARGEST}"
        )
    return None


def classifier(dataset: Dataset, *, device: torch.device | str = "cpu") -> Classifier:
    """The classifier of a dataset's labels, from the cache in `cache_folder()` or trained now and cached.

    It depends only on the training images and their labels; the seed is 0. A damaged cache entry is replaced.

    Args:
        dataset: A labelled dataset.
        device: The classifier's device.

    Raises:
        InputError: If the dataset has no labels, or its images are too large.
    """
    if reason := suits(dataset):
        raise InputError(reason)
    path = cache_folder() / f"classifier-{_slug(dataset)}-{_digest(dataset)}.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Classifier(dataset.image, dataset.classes)
    try:
        with utf8_name(path) as name, safe_open(name, framework="pt") as file:
            network.accuracy = float(file.metadata()["accuracy"])
        load_weights(network, path)
    except (OSError, SafetensorError, InputError, KeyError, TypeError, ValueError):
        say(f"training a classifier on the labels of {dataset.name}, for measurement alone; kept in {path}")
        network.to(device)
        train, held_out = _parts(dataset)
        _train(network, train)
        network.accuracy = _accuracy(network, held_out)
        weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
        try:
            with atomic_file(path) as partial:
                save_file(weights, partial, {"accuracy": str(network.accuracy), "data": dataset.name})
        except (OSError, SafetensorError) as error:
            say(f"the classifier could not be cached: {error}")
    return network.to(device).eval()


def _block(channels: int, width: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()


def _train(network: Classifier, split: Split) -> None:
    """Train by Adam with cross-entropy on slightly shifted images; the learning rate decays linearly to zero."""
    device = network.head.weight.device
    steps = min(max(EPOCHS * len(split) // BATCH, LEAST_STEPS), MOST_STEPS)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1e-3, total_iters=steps)
    random = torch.Generator(device).manual_seed(0)
    network.train()
    for _, batch in zip(range(steps), batches(split, seed=0, batch_size=BATCH, device=device), strict=False):
        assert batch.labels is not None
        shift = 0.2 * torch.rand(len(batch.images), 2, device=device, generator=random) - 0.1
        loss = F.cross_entropy(network(warp(batch.images, offset=shift)), batch.labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def _accuracy(network: Classifier, split: Split) -> float:
    right = torch.zeros((), dtype=torch.long, device=network.head.weight.device)
    with evaluating(network):
        for batch in in_order(split, batch_size=500, device=right.device):
            right += (network(batch.images).argmax(1) == batch.labels).sum()
    return right.item() / len(split)


def _parts(dataset: Dataset) -> tuple[Split, Split]:
    """The images to train on, and those to measure accuracy on."""
    if dataset.test is not None and dataset.test.labels is not None:
        return dataset.train, dataset.test
    held_out = torch.arange(len(dataset.train)) % 10 == 9
    return dataset.train.choose((~held_out).nonzero()[:, 0]), dataset.train.choose(held_out.nonzero()[:, 0])


def _slug(dataset: Dataset) -> str:
    name = slug(Path(dataset.name).stem) or "data"
    return f"{name[:40]}-{dataset.image.channels}x{dataset.image.resolution}x{dataset.image.resolution}"


def _digest(dataset: Dataset) -> str:
    """A digest of the recipe, all training labels, and the training images (of a large dataset, a sample)."""
    split = dataset.train
    assert split.labels is not None
    digest = hashlib.sha256(f"{RECIPE}/{dataset.classes}/{len(split)}".encode())
    digest.update(split.labels.numpy().tobytes())
    some = torch.arange(0, len(split), -(-len(split) // DIGESTED))
    for part in some.split(1000):
        digest.update(split.pixels(part).numpy().tobytes())
    return digest.hexdigest()[:16]
