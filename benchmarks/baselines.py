"""gan-zoo's step compared with short versions of how others write it, on the same network, data and losses.

    python benchmarks/baselines.py --out benchmarks/results/baselines-cpu.json

The cases, interleaved, and run by gan-zoo's loop except for the last kind:

    gan                        the plain GAN
    infogan                    gan-zoo's InfoGAN: the information term reuses the passes of the GAN
    three passes               D's step, G's step, and one for the information term with a third optimizer, each on
                               new fakes
    gradients thrown away      as infogan, but G's step also computes D's gradients, which are discarded
    waiting at every step      as infogan, but latents are drawn on the host, and every loss is read by `.item()`
    gan, graph                 on CUDA: the plain GAN as a CUDA graph
    infogan, graph             on CUDA: infogan as a CUDA graph
    naive                      a loop in plain torch, as most people write it: see naive.py
"""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from dataclasses import replace

import torch
from gan_zoo_kernels import q_head_nll
from naive import Naive
from rich.console import Console
from runs import measuring
from torch import Tensor

from gan_zoo.bench import pages
from gan_zoo.bench.rates import rates
from gan_zoo.bench.record import Cell, Report
from gan_zoo.bench.step import Running, timed
from gan_zoo.bench.workloads import CASES, PAPER, Workload
from gan_zoo.config import Training
from gan_zoo.models.gan.model import GAN, Objective, StepTensors
from gan_zoo.models.gan.prior import Latents
from gan_zoo.models.infogan.model import InfoGAN
from gan_zoo.training.environment import environment
from gan_zoo.training.precision import pick_device, pick_precision, tuned
from gan_zoo.training.state import State
from gan_zoo.training.step import MicroBatch, StepFunctions, alternating


def differentiate(loss: Tensor, state: State) -> None:
    """Accumulate the gradients of every parameter, as `loss.backward()` does without copies in half precision."""
    loss.backward()
    for optimizer in state.optimizers.values():
        optimizer.half_weights.collect_gradients(optimizer.parameters.values())


class ThreePasses:
    """D's step, G's step, and one of G, Q and trunk for the information term, each on new fakes, nothing frozen."""

    def __init__(self, state: State) -> None:
        self.optimizer = torch.optim.Adam(state.model.parameters(), lr=2e-4, betas=(0.5, 0.999), fused=True)

    def __call__(
        self,
        state: State,
        functions: StepFunctions,
        micro_batches: list[MicroBatch],
        **kind: bool,
    ) -> list[Objective]:
        """Play a step."""
        model, ((batch, latents, random),) = state.model, micro_batches
        assert isinstance(model, InfoGAN)
        discriminator, generator = state.optimizers["discriminator"], state.optimizers["generator"]
        with state.precision.autocast():
            fake = model.generator(latents.input).detach()
            real, judged = model.discriminator(batch.images), model.discriminator(fake.float())
            tensors = StepTensors(real=real, fake=judged, latents=latents, labels=batch.labels, random=random)
            of_discriminator = GAN.discriminator_objective(model, tensors)
        differentiate(of_discriminator.loss, state)
        discriminator.update()

        with state.precision.autocast():
            judged = model.discriminator(model.generator(latents.input).float())
            of_generator = GAN.generator_objective(model, replace(tensors, real=real.detached, fake=judged))
        differentiate(of_generator.loss, state)
        generator.update()
        discriminator.adam.zero_grad(set_to_none=True)

        with state.precision.autocast():
            features = model.discriminator.trunk(model.generator(latents.input).float())
            log_likelihood = -q_head_nll(model.q(features), latents.codes, model.layout)
        information = -(model.weights * (model.entropy + log_likelihood)).sum()
        differentiate(information, state)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        for optimizer in (discriminator, generator):
            optimizer.half_weights.refresh(optimizer.parameters.values())
        return [of_discriminator, of_generator, Objective({"information": information})]


class ThrownAway:
    """gan-zoo's step without freezing anything in G's."""

    def __call__(
        self,
        state: State,
        functions: StepFunctions,
        micro_batches: list[MicroBatch],
        **kind: bool,
    ) -> list[Objective]:
        """Play a step."""
        discriminator, generator = state.optimizers["discriminator"], state.optimizers["generator"]
        discriminator.frozen = nullcontext  # type: ignore[method-assign]
        generator.backward = lambda objective: differentiate(objective.loss, state)  # type: ignore[method-assign]
        objectives = alternating(state, functions, micro_batches, **kind)
        discriminator.adam.zero_grad(set_to_none=True)
        return objectives


class Waiting:
    """gan-zoo's step with latents from the host, which reads every value at once."""

    def __call__(
        self,
        state: State,
        functions: StepFunctions,
        micro_batches: list[MicroBatch],
        **kind: bool,
    ) -> list[Objective]:
        """Play a step."""
        drawn = [micro._replace(latents=self.draw(state, micro.latents)) for micro in micro_batches]
        objectives = alternating(state, functions, drawn, **kind)
        for objective in objectives:
            for value in itertools.chain(objective.terms.values(), objective.metrics.values()):
                value.item()
        return objectives

    def draw(self, state: State, latents: Latents) -> Latents:
        """The same number of latents, drawn code by code on the host and copied."""
        prior = state.model.prior
        values = torch.stack(
            [
                torch.randint(code.classes, (len(latents.codes),)).float()
                if code.kind == "categorical"
                else torch.rand(len(latents.codes)) * 2 - 1
                for code in prior.codes
            ],
            1,
        )
        noise = torch.rand(len(latents.codes), prior.noise) * 2 - 1
        return prior.compose(noise.to(latents.input.device), values.to(latents.input.device))


def measure(workload: Workload, device: torch.device, *, seconds: float) -> Cell:
    """Measure all cases of one workload."""
    running: dict[str, Running | Naive] = {}
    for name, (model, settings) in CASES.items():
        running[name] = Running(workload.config(model, settings, device))
        if device.type == "cuda":
            running[f"{name}, graph"] = Running(replace(workload, mode="graph").config(model, settings, device))
    config = workload.config("infogan", {}, device)
    for name, make in (
        ("three passes", ThreePasses),
        ("gradients thrown away", lambda state: ThrownAway()),
        ("waiting at every step", lambda state: Waiting()),
    ):
        running[name] = Running(config, order=make)
    running["naive"] = Naive(config)
    return Cell(key=workload.key, cases=timed(running, device, seconds=seconds))


def main() -> None:
    """Measure all workloads, print the table and write the report."""
    parser = measuring(__doc__)
    parser.add_argument("--seconds", type=float, default=40.0, help="for each number format (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=PAPER.batch, help="(default: %(default)s)")
    given = parser.parse_args()

    device = pick_device(given.device)
    precisions = dict.fromkeys(("fp32", pick_precision("auto", device)))
    with tuned(Training(), device):
        report = Report(
            suite="step",
            environment=environment(device),
            settings={"seconds a cell": given.seconds},
            rates=rates(precisions, device),
            cells=(),
        )
        for precision in precisions:
            cell = measure(replace(PAPER, batch=given.batch_size, precision=precision), device, seconds=given.seconds)
            report = report.model_copy(update={"cells": (*report.cells, cell)})
            if given.out:
                report.write(given.out)
    Console(width=200).print(pages.report_table(report))


if __name__ == "__main__":
    main()
