"""The two players of the game: each some parameters and the optimizer that moves them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor, nn

from gan_zoo.config import Optimizer
from gan_zoo.models.gan.model import GAN, LearningRateSchedule, Objective
from gan_zoo.training.half_weights import NONE
from gan_zoo.training.precision import Precision
from gan_zoo.training.ranks import ALONE, Ranks


class NetworkOptimizer:
    """Named parameters, and Adam on them with the learning rate a function of the step.

    Adam's moments are there from the start, also those of parameters whose first gradient comes late.

    Args:
        parameters: By name.
        lr: Their learning rate at its height.
        settings: Adam's decays, and the schedule.
        steps: In the whole run.
        precision: Whose gradient scaler is used.
        schedules: Of parameters that have one of their own, by name.
        ranks: Over which gradients are averaged.
        parts: Of a batch that gradients are averaged over.
        skips: Whether an update whose losses or gradients are not finite is left out.

    Attributes:
        half_weights: Copies of the parameters that passes read in their place.
        norm: Where updates may be left out, of the last one's gradient, on the device.
        fault: Whether that update was left out; in fp16, for another reason than the scaler's.
    """

    def __init__(
        self,
        parameters: dict[str, nn.Parameter],
        lr: float,
        settings: Optimizer,
        steps: int,
        precision: Precision,
        schedules: Mapping[str, LearningRateSchedule] = MappingProxyType({}),
        ranks: Ranks = ALONE,
        *,
        parts: int = 1,
        skips: bool = False,
    ) -> None:
        shared = {n: p for n, p in parameters.items() if n not in schedules}
        own = {n: p for n, p in parameters.items() if n in schedules}
        self.parameters = shared | own
        self.settings = settings
        self.steps = steps
        self.scaler = precision.scaler
        self.ranks = ranks
        self.skips = skips
        self.share = torch.tensor(1 / parts, device=precision.device)
        self.half_weights = NONE
        self.losses: list[Tensor] = []
        self.norm: Tensor | None = None
        self.fault: Tensor | None = None
        self.schedules = [LearningRateSchedule(lr), *(schedules[n] for n in own)]
        self.adam = torch.optim.Adam(
            [{"params": list(shared.values())}, *({"params": [p]} for p in own.values())],
            lr=lr,
            betas=(settings.beta1, settings.beta2),
            fused=True,
        )
        for parameter in self.parameters.values():  # which torch makes at a parameter's first gradient
            state = {name: torch.zeros_like(parameter, requires_grad=False) for name in ("exp_avg", "exp_avg_sq")}
            self.adam.state[parameter] = {"step": torch.zeros((), device=parameter.device), **state}

    def backward(
        self, objective: Objective, *, retain_graph: bool = False, through: tuple[Tensor, Tensor] | None = None
    ) -> None:
        """Add this player's gradients of an objective of one part of the batch to those that are held.

        Every term is a root of its own, and nothing but this player's parameters gets a gradient.

        Args:
            objective: Of this player.
            retain_graph: Whether the other player's loss is yet to go through the graph.
            through: A tensor of this player's graph and a leaf that stands for it in the objective.
        """
        terms = [term for term in objective.terms.values() if term.requires_grad]
        if self.skips:
            self.losses.append(objective.loss.detach())
        share = self.scaler.scale(self.share)
        own, cut = self._leaves(), through[1:] if through else ()
        torch.autograd.backward(terms, [share] * len(terms), retain_graph=retain_graph, inputs=[*own, *cut])
        if through and through[1].grad is not None:
            torch.autograd.backward(through[0], through[1].grad, inputs=own)
        self.half_weights.collect_gradients(self.parameters.values())

    def rates(self, step: int) -> list[float]:
        """The learning rate of each of the optimizer's groups in step `step`."""
        factor = lr_factor(self.settings, step, self.steps)
        return [pace.lr * factor if step >= pace.start else 0.0 for pace in self.schedules]

    def set_rates(self, rates: Sequence[float | Tensor]) -> None:
        """Have the optimizer use these learning rates; tensors of one number are read anew at every update."""
        for rate, group in zip(rates, self.adam.param_groups, strict=True):
            group["lr"], group["capturable"] = rate, isinstance(rate, Tensor)

    def update(self) -> None:
        """Move along the gradients held, and drop them. In fp16 a step of infinite gradients is left out."""
        gradients = [p.grad for p in self.parameters.values() if p.grad is not None]
        if self.skips:
            self._check(gradients)
        else:
            self.ranks.average(gradients)
        self.scaler.step(self.adam)
        self.adam.zero_grad(set_to_none=True)
        self.half_weights.refresh(self.parameters.values())

    def _leaves(self) -> list[Tensor]:
        """What gradients arrive at: the parameters, or the copies that are used in their place."""
        return [self.half_weights.active_weight(parameter) for parameter in self.parameters.values()]

    def _check(self, gradients: list[Tensor]) -> None:
        """Average over the ranks, losses too, so that a fault of one is a fault of all; have Adam heed it."""
        loss = torch.stack(self.losses).sum()
        self.losses = []
        self.ranks.average([*gradients, loss])
        self.norm = torch.nn.utils.get_total_norm(gradients)
        if self.scaler.is_enabled():  # which looks for what is not finite in the gradients alone
            self.fault = ~loss.isfinite()
            torch._foreach_mul_(gradients, torch.where(self.fault, math.nan, 1.0))
            self.norm = self.norm / self.scaler.scale(torch.ones_like(self.norm))
        else:
            self.fault = ~(loss + self.norm).isfinite()
            self.adam.found_inf = self.fault.float()  # type: ignore[attr-defined]

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Within, no gradient is computed for this player's parameters."""
        for leaf in self._leaves():
            leaf.requires_grad_(False)
        try:
            yield
        finally:
            for leaf in self._leaves():
                leaf.requires_grad_(True)


def players(model: GAN, precision: Precision, ranks: Ranks = ALONE) -> tuple[NetworkOptimizer, NetworkOptimizer]:
    """The discriminator, with every head on its trunk, and the generator, with what its prior learns."""
    settings, training = model.config.optimizer, model.config.training
    player = partial(
        NetworkOptimizer,
        settings=settings,
        steps=training.steps,
        precision=precision,
        schedules=model.schedules,
        ranks=ranks,
        parts=training.accumulate,
        skips=training.on_nan == "skip",
    )
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    generator = {n: p for n, p in trained.items() if n.startswith(("generator.", "prior."))}
    others = {n: p for n, p in trained.items() if n not in generator}
    return player(others, settings.discriminator_lr), player(generator, settings.generator_lr)


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
