"""One training iteration, the same for every model, in two orders of updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from gan_zoo.data.augment import parse_augment
from gan_zoo.data.batches import Batch
from gan_zoo.draws import Draws
from gan_zoo.models.gan.discriminator import Discriminator, DiscriminatorOutput
from gan_zoo.models.gan.model import GAN, Objective, StepTensors
from gan_zoo.models.gan.prior import Latents
from gan_zoo.registry import trunks
from gan_zoo.training.penalties import Penalties
from gan_zoo.training.precision import Precision
from gan_zoo.training.state import State
from gan_zoo.trunks.layers import LotNorm, counts_passes

UpdateOrder = Callable[..., list[Objective]]
"""See `alternating`."""


class MicroBatch(NamedTuple):
    """The rows of a batch that pass the networks together; gradients accumulate over a batch's micro-batches."""

    batch: Batch
    latents: Latents
    random: Draws


class StepFunctions:
    """The forward passes and objectives of a step, each one function that torch.compile can take as a whole.

    Args:
        model: The model.
        precision: What its networks compute in.
        rows: Images of a micro-batch; batch norms outside of G compute statistics of so many rows each.
    """

    def __init__(self, model: GAN, precision: Precision, rows: int) -> None:
        config = model.config
        augment = parse_augment(config.data.augment)
        self.model, self.precision = model, precision
        self.augment_real = augment
        self.augment_fake = augment if config.data.augment_fakes else parse_augment("")
        self.probability = model.augmentation.probability if model.augmentation else None
        self.penalties = Penalties(config.loss, config.training.steps)
        self.penalised_in_float32 = config.loss.gradient_penalty > 0 or precision.name == "fp16"
        self.at_once = _can_join(model)
        for name, layer in model.named_modules():
            if isinstance(layer, LotNorm):
                in_generator = name.startswith("generator.")
                layer.rows = None if in_generator else rows
                layer.once = in_generator or not self.penalties.any
        self.generate: Callable[[MicroBatch], Tensor] = self._generate
        self.discriminator_objective = self._discriminator_objective
        self.generator_objective = self._generator_objective
        if config.training.compile:
            self.generate = torch.compile(self._generate)
            self.discriminator_objective = torch.compile(self._discriminator_objective)
            self.generator_objective = torch.compile(self._generator_objective)

    def _generate(self, micro: MicroBatch) -> Tensor:
        """G(z, c), float32."""
        with self.precision.autocast():
            return self.model.training_images(micro.latents, micro.random).float()

    def _discriminator_objective(
        self, micro: MicroBatch, fake: Tensor, penalised: bool
    ) -> tuple[Objective, DiscriminatorOutput, DiscriminatorOutput]:
        """D's objective on x ~ data and `fake`, and D's outputs for both, the first of them detached."""
        model, (batch, latents, random) = self.model, micro
        real_x = self.augment_real(batch.images, random, self.probability)
        fake_x = self.augment_fake(fake, random, self.probability)
        if slopes := penalised and self.penalties.of_passes:
            real_x = real_x.detach().requires_grad_()
            fake_x = fake_x if fake_x.requires_grad else fake_x.detach().requires_grad_()
        more_x = model.additional_images(real_x, latents, random)
        at_once = self.at_once and not fake_x.requires_grad  # one pass would carry its gradient through the reals too
        with self.precision.autocast(penalised=slopes):
            real, judged, *more = model.discriminator.discriminate(real_x, fake_x, *more_x, at_once=at_once)
            real = model.discriminator.conditioned(real, batch.labels)
            judged = model.discriminator.conditioned(judged, model.prior.labels(latents.codes))
            objective = model.discriminator_objective(
                StepTensors(
                    real=real, fake=judged, latents=latents, labels=batch.labels, random=random, additional=tuple(more)
                )
            )
            if penalised:
                objective.terms |= self.penalties(
                    model.discriminator, real=real, fake=judged, labels=batch.labels, random=random
                )
        return objective, real.detached, judged

    def _generator_objective(self, micro: MicroBatch, fake: Tensor, real: DiscriminatorOutput) -> Objective:
        """G's objective on `fake`, from a pass of D."""
        with self.precision.autocast():
            judged = self.model.discriminator(self.augment_fake(fake, micro.random, self.probability))
            judged = self.model.discriminator.conditioned(judged, self.model.prior.labels(micro.latents.codes))
        return self.objective_without_pass(micro, judged, real)

    def objective_without_pass(
        self, micro: MicroBatch, fake: DiscriminatorOutput, real: DiscriminatorOutput
    ) -> Objective:
        """G's objective from outputs that D's objective was computed from."""
        batch, latents, random = micro
        with self.precision.autocast():
            return self.model.generator_objective(
                StepTensors(real=real, fake=fake, latents=latents, labels=batch.labels, random=random)
            )


def alternating(
    state: State,
    functions: StepFunctions,
    micro_batches: list[MicroBatch],
    *,
    update_generator: bool,  # False in all but every n-th step, where D makes n updates for one of G
    penalised: bool,  # whether D pays its gradient penalties in this step
) -> list[Objective]:
    """Update D, then G: 1 pass of the generator and 3 of the trunk, two of which are one call where D allows it.

    Returns:
        Both networks' objectives for each micro-batch, on the device: nothing here waits for it.
    """
    discriminator, generator = state.optimizers["discriminator"], state.optimizers["generator"]
    objectives, passed = [], []

    # max_D V(D, G): D sees x ~ data and G(z, c), and no gradient reaches G.
    for micro in micro_batches:
        with torch.set_grad_enabled(update_generator):
            fake = functions.generate(micro)
        objective, real, _ = functions.discriminator_objective(micro, fake.detach(), penalised)
        discriminator.backward(objective)
        objectives.append(objective)
        passed.append((micro, fake, real))
    discriminator.update()

    # min_G V(D, G): the updated D sees the same fakes; its weights get no gradient.
    if update_generator:
        for micro, fake, real in passed:
            with discriminator.frozen():
                objective = functions.generator_objective(micro, fake, real)
                generator.backward(objective)  # gradient checkpointing passes D again
            objectives.append(objective)
        generator.update()
    state.precision.scaler.update()
    return observed(state.model, objectives)


def simultaneous(
    state: State,
    functions: StepFunctions,
    micro_batches: list[MicroBatch],
    *,
    update_generator: bool,
    penalised: bool,
) -> list[Objective]:
    """Update both at once, G against D before its update: 1 pass of the generator and 2 of the trunk.

    Arguments and result are those of `alternating`, which also makes the steps that do not update G.
    """
    if not update_generator:
        return alternating(state, functions, micro_batches, update_generator=False, penalised=penalised)
    discriminator, generator = state.optimizers["discriminator"], state.optimizers["generator"]
    objectives = []

    # max_D V(D, G) and min_G V(D, G) from one pass over fakes that are detached from G: the gradient of G's loss with
    # respect to them is then passed on to G.
    for micro in micro_batches:
        fake = functions.generate(micro)
        cut = fake.detach().requires_grad_()
        of_discriminator, real, judged = functions.discriminator_objective(micro, cut, penalised)
        of_generator = functions.objective_without_pass(micro, judged, real)
        discriminator.backward(of_discriminator, retain_graph=True)
        generator.backward(of_generator, through=(fake, cut))
        objectives += [of_discriminator.detached, of_generator.detached]
        del fake, cut, real, judged, of_discriminator, of_generator  # frees the graph before the next micro-batch
    discriminator.update()
    generator.update()
    state.precision.scaler.update()
    return observed(state.model, objectives)


def observed(model: GAN, objectives: list[Objective]) -> list[Objective]:
    """Let the model observe the means of a step's micro-batches over all ranks; its metrics join the last objective."""
    values: dict[str, list[Tensor]] = {}
    for objective in objectives:
        for name, value in objective.observed.items():
            values.setdefault(name, []).append(value)
    means = {name: model.over_ranks(torch.stack(of_name).mean()) for name, of_name in values.items()}
    objectives[-1].metrics |= model.observe(means)
    return objectives


ORDERS = {"alternating": alternating, "simultaneous": simultaneous}
"""By the setting `training.update`."""


def _can_join(model: GAN) -> bool:
    """Whether D computes for several batches in one pass what it would in several; spectral norm counts passes."""
    norms = [layer for layer in model.discriminator.modules() if isinstance(layer, _BatchNorm)]
    return (
        trunks.get(model.config.trunk.name).joins
        and type(model.discriminator) is Discriminator
        and all(isinstance(norm, LotNorm) for norm in norms)
        and not counts_passes(model.discriminator)
    )
