"""The two players of the game: each some parameters and the optimizer that moves them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import torch
from torch import Tensor, nn

from gan_zoo.config import Optimizer
from gan_zoo.models.gan.model import GAN, Pace
from gan_zoo.training.precision import Precision


class Player:
    """Named parameters, and Adam on them with the learning rate a function of the step.

    Args:
        parameters: By name.
        lr: Their learning rate at its height.
        settings: Adam's decays, and the schedule.
        steps: In the whole run.
        precision: Whose gradient scaler is used.
        paces: Of parameters that have one of their own, by name.
    """

    def __init__(
        self,
        parameters: dict[str, nn.Parameter],
        lr: float,
        settings: Optimizer,
        steps: int,
        precision: Precision,
        paces: Mapping[str, Pace] = MappingProxyType({}),
    ) -> None:
        shared = {n: p for n, p in parameters.items() if n not in paces}
        own = {n: p for n, p in parameters.items() if n in paces}
        self.parameters = shared | own
        self.settings = settings
        self.steps = steps
        self.scaler = precision.scaler
        self.paces = [Pace(lr), *(paces[n] for n in own)]
        self.optimizer = torch.optim.Adam(
            [{"params": list(shared.values())}, *({"params": [p]} for p in own.values())],
            lr=lr,
            betas=(settings.beta1, settings.beta2),
            fused=True,
        )

    def backward(self, loss: Tensor, *, alone: bool = False) -> None:
        """Add the gradients of `loss` to those that are held.

        Args:
            loss: Of this player.
            alone: Whether no parameter but this player's gets a gradient, of a graph that the other player needs, too.
        """
        inputs = list(self.parameters.values()) if alone else None
        self.scaler.scale(loss).backward(retain_graph=alone, inputs=inputs)

    def set_pace(self, step: int) -> None:
        """Set the learning rates of step `step`."""
        for pace, group in zip(self.paces, self.optimizer.param_groups, strict=True):
            lr = pace.lr * lr_factor(self.settings, step, self.steps) if step >= pace.start else 0.0
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr

    def update(self) -> None:
        """Move along the gradients held, and drop them. In fp16 a step of infinite gradients is left out."""
        self.scaler.step(self.optimizer)
        self.optimizer.zero_grad(set_to_none=True)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Within, no gradient is computed for this player's parameters."""
        for parameter in self.parameters.values():
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in self.parameters.values():
                parameter.requires_grad_(True)


def players(model: GAN, settings: Optimizer, steps: int, precision: Precision) -> tuple[Player, Player]:
    """The discriminator, with every head on its trunk, and the generator, with what its prior learns."""
    generator = {n: p for n, p in model.named_parameters() if n.startswith(("generator.", "prior."))}
    others = {n: p for n, p in model.named_parameters() if n not in generator}
    return (
        Player(others, settings.discriminator_lr, settings, steps, precision, model.paces),
        Player(generator, settings.generator_lr, settings, steps, precision, model.paces),
    )


def lr_factor(settings: Optimizer, step: int, steps: int) -> float:
    """Share of the full learning rate at `step` of `steps`: warm-up, then the schedule's fall to zero."""
    rise = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
    done = min(step / steps, 1.0)
    match settings.schedule:
        case "constant":
            return rise
        case "linear":
            return rise * (1 - done)
        case "cosine":
            return rise * 0.5 * (1 + math.cos(math.pi * done))
