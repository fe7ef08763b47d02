"""InfoGAN as most people write it: three losses, three passes, three optimizers, no optimisation.

It has gan-zoo's images and networks: `generator`, `discriminator.trunk`, `discriminator.head` and `q` of a model that
gan-zoo builds. Everything else is plain torch: a DataLoader, labels as floats, BCEWithLogitsLoss, CrossEntropyLoss and
MSELoss, and `.item()` on each loss.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from gan_zoo.config import Config
from gan_zoo.data.batches import normalise
from gan_zoo.data.dataset import open_dataset
from gan_zoo.models.infogan.model import InfoGAN
from gan_zoo.training.build import build_model, with_facts

CLASSES, CONTINUOUS = 10, 2
"""The codes of the suite of steps: `gan_zoo.bench.workloads.CODES`."""


class Naive:
    """The loop as a case of `gan_zoo.bench.step.timed`.

    Args:
        config: The configuration of an InfoGAN with the codes above, for networks, data, batch size, precision and
            device.
    """

    captured = False

    def __init__(self, config: Config) -> None:
        self.device = torch.device(config.training.device)
        dataset = open_dataset(config.data)
        config = with_facts(config, dataset, self.device)
        model = build_model(config, self.device)
        assert isinstance(model, InfoGAN)
        assert model.layout.width == CLASSES + CONTINUOUS
        self.model, self.noise = model.train(), config.latent.noise
        self.images, self.waited = config.training.batch_size, 0.0
        self.losses: list[tuple[float, float, float]] = []
        self.half = config.training.precision == "bf16"
        self.data = self.batches(normalise(dataset.train.pixels(torch.arange(len(dataset.train)))))

        settings = {"lr": 2e-4, "betas": (0.5, 0.999)}
        learning = [model.generator.parameters(), model.discriminator.trunk.parameters(), model.q.parameters()]
        self.optimizer_d = torch.optim.Adam(model.discriminator.parameters(), **settings)
        self.optimizer_g = torch.optim.Adam(model.generator.parameters(), **settings)
        self.optimizer_q = torch.optim.Adam(itertools.chain(*learning), **settings)
        self.adversarial, self.categorical, self.continuous = (
            nn.BCEWithLogitsLoss(),
            nn.CrossEntropyLoss(),
            nn.MSELoss(),
        )

        with FlopCounterMode(display=False) as counter:
            self.steps(1)
        self.flops = counter.get_total_flops()
        self.steps(3)

    def batches(self, images: Tensor) -> Iterator[Tensor]:
        """An endless sequence of shuffled batches."""
        loader = DataLoader(TensorDataset(images), batch_size=self.images, shuffle=True, drop_last=True)
        while True:
            for (batch,) in loader:
                yield batch

    def latents(self) -> tuple[Tensor, Tensor, Tensor]:
        """The generator's input [n, width], classes [n] and continuous codes [n, 2]."""
        noise = torch.rand(self.images, self.noise, device=self.device) * 2 - 1
        classes = torch.randint(CLASSES, (self.images,), device=self.device)
        continuous = torch.rand(self.images, CONTINUOUS, device=self.device) * 2 - 1
        return torch.cat([noise, F.one_hot(classes, CLASSES).float(), continuous], 1), classes, continuous

    def steps(self, count: int) -> None:
        """Make `count` steps."""
        for _ in range(count):
            begun = time.perf_counter()
            images = next(self.data)
            self.waited += time.perf_counter() - begun
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
                self.step(images.to(self.device))

    def step(self, images: Tensor) -> None:
        """G's step, D's, and the information term's."""
        model = self.model
        real_labels = torch.ones(self.images, 1, device=self.device)
        fake_labels = torch.zeros(self.images, 1, device=self.device)

        self.optimizer_g.zero_grad()
        fakes = model.generator(self.latents()[0])
        loss_g = self.adversarial(model.discriminator(fakes).logits, real_labels)
        loss_g.backward()
        self.optimizer_g.step()

        self.optimizer_d.zero_grad()
        loss_real = self.adversarial(model.discriminator(images).logits, real_labels)
        loss_fake = self.adversarial(model.discriminator(fakes.detach()).logits, fake_labels)
        loss_d = (loss_real + loss_fake) / 2
        loss_d.backward()
        self.optimizer_d.step()

        self.optimizer_q.zero_grad()
        latents, classes, continuous = self.latents()
        q = model.q(model.discriminator.trunk(model.generator(latents)))
        loss_q = self.categorical(q[:, :CLASSES], classes) + 0.1 * self.continuous(q[:, CLASSES:], continuous)
        loss_q.backward()
        self.optimizer_q.step()

        self.losses.append((loss_d.item(), loss_g.item(), loss_q.item()))
