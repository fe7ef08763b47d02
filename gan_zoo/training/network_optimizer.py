"""The optimizers of a model's two networks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from gan_zoo_kernels import adam_step, implementation_for
from torch import Tensor, nn

from gan_zoo.config import Optimizer
from gan_zoo.models.gan.model import GAN, LearningRateSchedule, Objective
from gan_zoo.training.half_weights import NONE, HalfWeights
from gan_zoo.training.precision import Precision
from gan_zoo.training.ranks import ALONE, Ranks

LARGE = 2**18
"""Elements from which a weight with a copy in half precision gets a launch of its own (`gan_zoo_kernels.adam_step`),
which moves 28 bytes per element where torch's Adam and the casts of gradient and weight move 40.
"""


class NetworkOptimizer:
    """Adam on some of a model's parameters, with learning rates that are functions of the step.

    Adam's moments exist from the start, also those of parameters that get their first gradient late.

    Args:
        model: The model; its `schedules` apply to parameters with a schedule of their own.
        parameters: By name.
        lr: The maximum of their learning rate.
        precision: Holds the gradient scaler.
        ranks: Over which gradients are averaged.

    Attributes:
        half_weights: Copies of the parameters that forward passes read in their place.
        norm: The norm of the last update's gradient, on the device, with `training.on_nan = "skip"`.
        fault: Whether that update was skipped; in fp16, for another reason than the scaler's.
    """

    def __init__(
        self,
        model: GAN,
        parameters: dict[str, nn.Parameter],
        lr: float,
        precision: Precision,
        ranks: Ranks = ALONE,
    ) -> None:
        settings, training = model.config.optimizer, model.config.training
        shared = {n: p for n, p in parameters.items() if n not in model.schedules}
        scheduled = {n: p for n, p in parameters.items() if n in model.schedules}
        self.parameters = shared | scheduled
        self.schedules = [LearningRateSchedule(lr), *(model.schedules[n] for n in scheduled)]
        self.settings = settings
        self.steps = training.steps
        self.scaler = precision.scaler
        self.ranks = ranks
        self.skips_faults = training.on_nan == "skip"
        self.share = torch.tensor(1 / training.accumulate, device=precision.device)  # of a micro-batch
        # Micro-batches add gradients, ranks average them, fp16's scaler and `on_nan = "skip"` read them before Adam.
        self.reads_gradients = (
            training.accumulate > 1 or ranks.world > 1 or self.skips_faults or self.scaler.is_enabled()
        )
        self.use(NONE)
        self.losses: list[Tensor] = []
        self.norm: Tensor | None = None
        self.fault: Tensor | None = None
        self.adam = torch.optim.Adam(
            [{"params": list(shared.values())}, *({"params": [p]} for p in scheduled.values())],
            lr=lr,
            betas=(settings.beta1, settings.beta2),
            fused=True,
        )
        for parameter in self.parameters.values():  # as Adam would at a parameter's first gradient
            state = {name: torch.zeros_like(parameter, requires_grad=False) for name in ("exp_avg", "exp_avg_sq")}
            self.adam.state[parameter] = {"step": torch.zeros((), device=parameter.device), **state}

    def use(self, half_weights: HalfWeights) -> None:
        """Collect gradients from `half_weights` and refresh them after every update."""
        self.half_weights = half_weights
        candidates = {} if self.reads_gradients else half_weights.copies
        fuses = bool(candidates) and implementation_for(self.share.device).path == "triton"
        self.large = {
            weight: candidates[weight]
            for weight in self.parameters.values()
            if fuses and weight in candidates and weight.numel() >= LARGE and weight.dtype == torch.float32
        }
        self.others = [weight for weight in self.parameters.values() if weight not in self.large]

    def backward(
        self, objective: Objective, *, retain_graph: bool = False, through: tuple[Tensor, Tensor] | None = None
    ) -> None:
        """Accumulate the gradients of one micro-batch's objective.

        Every term is a root of its own, and only this optimizer's parameters get gradients.

        Args:
            objective: The objective.
            retain_graph: Whether the other network's objective will be differentiated through the same graph.
            through: A tensor of this network's graph, and the leaf that replaces it in the objective.
        """
        terms = [term for term in objective.terms.values() if term.requires_grad]
        if self.skips_faults:
            self.losses.append(objective.loss.detach())
        share = self.scaler.scale(self.share)
        leaves, cut = self._leaves(), through[1:] if through else ()
        torch.autograd.backward(terms, [share] * len(terms), retain_graph=retain_graph, inputs=[*leaves, *cut])
        if through and through[1].grad is not None:
            torch.autograd.backward(through[0], through[1].grad, inputs=leaves)
        self.half_weights.collect_gradients(self.others)

    def rates(self, step: int) -> list[float]:
        """The learning rate of each of Adam's parameter groups in step `step`."""
        factor = lr_factor(self.settings, step, self.steps)
        return [schedule.lr * factor if step >= schedule.start else 0.0 for schedule in self.schedules]

    def set_rates(self, rates: Sequence[float | Tensor]) -> None:
        """Set the learning rates; Adam reads those that are tensors at every update."""
        for rate, group in zip(rates, self.adam.param_groups, strict=True):
            group["lr"], group["capturable"] = rate, isinstance(rate, Tensor)

    def update(self) -> None:
        """Update the parameters and drop the gradients. In fp16 an update with infinite gradients is skipped."""
        self._update_large()
        gradients = [p.grad for p in self.parameters.values() if p.grad is not None]
        if self.skips_faults:
            self._skip_if_faulty(gradients)
        else:
            self.ranks.average(gradients)
        self.scaler.step(self.adam)
        self.adam.zero_grad(set_to_none=True)
        self.half_weights.refresh(self.others)

    @torch.no_grad()
    def _update_large(self) -> None:
        """Update each large weight and its copy in one launch, and drop its gradient, so that `adam` leaves it out."""
        due = [
            (weight, copy, gradient, group, self.adam.state[weight])
            for group in self.adam.param_groups
            for weight in group["params"]
            if (copy := self.large.get(weight)) is not None
            and (gradient := weight.grad if copy.grad is None else copy.grad) is not None
        ]
        if due:
            torch._foreach_add_([state["step"] for *_, state in due], 1)
        for weight, copy, gradient, group, state in due:
            lr = torch.as_tensor(group["lr"], device=weight.device)  # on CUDA it is one
            adam_step(
                weight, gradient, state["exp_avg"], state["exp_avg_sq"], copy, lr, state["step"],
                betas=group["betas"], eps=group["eps"],
            )  # fmt: skip
            weight.grad = copy.grad = None

    def drop_gradients(self) -> None:
        """Undo a part of a step that did not reach `update`."""
        self.losses.clear()
        self.adam.zero_grad(set_to_none=True)
        for parameter in self.parameters.values():
            parameter.requires_grad_(True)
            if (copy := self.half_weights.copies.get(parameter)) is not None:
                copy.requires_grad_(True).grad = None

    def _leaves(self) -> list[Tensor]:
        """Where gradients arrive: the parameters, or the copies that replace them."""
        return [self.half_weights.active_weight(parameter) for parameter in self.parameters.values()]

    def _skip_if_faulty(self, gradients: list[Tensor]) -> None:
        """Average gradients and losses over the ranks, and have Adam skip an update that is not finite on any rank."""
        loss = torch.stack(self.losses).sum()
        self.losses = []
        self.ranks.average([*gradients, loss])
        self.norm = torch.nn.utils.get_total_norm(gradients)
        if self.scaler.is_enabled():  # the scaler skips gradients that are not finite, and does not see losses
            self.fault = ~loss.isfinite()
            torch._foreach_mul_(gradients, torch.where(self.fault, math.nan, 1.0))
            self.norm = self.norm / self.scaler.scale(torch.ones_like(self.norm))
        else:
            self.fault = ~(loss + self.norm).isfinite()
            self.adam.found_inf = self.fault.float()  # type: ignore[attr-defined]

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """A context in which these parameters get no gradient."""
        for leaf in self._leaves():
            leaf.requires_grad_(False)
        try:
            yield
        finally:
            for leaf in self._leaves():
                leaf.requires_grad_(True)


def network_optimizers(model: GAN, precision: Precision, ranks: Ranks = ALONE) -> dict[str, NetworkOptimizer]:
    """The optimizers of the discriminator with every head, and of the generator with a learned prior."""
    settings = model.config.optimizer
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    generator = {n: p for n, p in trained.items() if n.startswith(("generator.", "prior."))}
    discriminator = {n: p for n, p in trained.items() if n not in generator}
    return {
        "discriminator": NetworkOptimizer(model, discriminator, settings.discriminator_lr, precision, ranks),
        "generator": NetworkOptimizer(model, generator, settings.generator_lr, precision, ranks),
    }


def lr_factor(settings: Optimizer, step: int, steps: int) -> float:
    """The share of the maximal learning rate at `step` of `steps`: warm-up, then the schedule's decay."""
    warmup = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
    return warmup * decayed(settings.schedule, settings.final_lr, step, steps)


def decayed(schedule: Literal["constant", "linear", "cosine"], final: float, step: int, steps: int) -> float:
    """A number that falls from 1 at step 0 to `final` at step `steps`, or is always 1."""
    done = min(step / steps, 1.0)
    left = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}[schedule]
    return final + (1 - final) * left
