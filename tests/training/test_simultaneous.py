"""`training.update = "simultaneous"`: both objectives from one pass over the fakes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from narrow import Game, moved, narrow_train, weights
from test_passes import OF_MODEL, counting, expected, flops

from gan_zoo.models.gan.model import GAN, Objective, StepTensors
from gan_zoo.registry import models

SIMULTANEOUS = {"training__update": "simultaneous", "training__discriminator_steps": 1}


@pytest.mark.parametrize("model", models.entries)
def test_an_iteration_is_one_generator_and_two_trunk_passes(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And three backward passes: what G's loss asks of the fakes is handed on to G."""
    game = Game(model, **SIMULTANEOUS)
    of_interpolates = 1 if game.config.loss.gradient_penalty else 0
    with counting(game, monkeypatch) as counts:
        game.step()
    generated = 1 + OF_MODEL.get(model, 0)
    passes = expected(generator=generated, trunk=2 + of_interpolates, calls=2 + of_interpolates)
    assert counts == passes | {"backward": 3}


@pytest.mark.parametrize("model", sorted(models.entries.keys() - {"infovae"}))  # its encoder learns through the decoder
def test_the_discriminator_s_objective_cannot_reach_the_generator(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    game = Game(model, **SIMULTANEOUS)
    real = type(game.model).discriminator_objective

    def searching(model: GAN, tensors: StepTensors) -> Objective:
        objective: Objective = real(model, tensors)
        reached = torch.autograd.grad(
            [*objective.terms.values(), *(t.sum() for t in tensors.fake)],
            list(model.generator.parameters()),
            retain_graph=True,
            allow_unused=True,
        )
        assert all(gradient is None for gradient in reached)
        return objective

    monkeypatch.setattr(type(game.model), "discriminator_objective", searching)
    game.step()


@pytest.mark.parametrize("model", models.entries)
def test_the_discriminator_takes_the_step_of_the_alternating_order_and_both_move(model: str) -> None:
    """Its weights must not see the generator's loss, nor the generator's the discriminator's."""
    changed = {}
    for order in ("alternating", "simultaneous"):
        game = Game(model, **SIMULTANEOUS | {"training__update": order})
        before = weights(game.model)
        game.step()
        changed[order] = {n: w for n, w in weights(game.model).items() if not torch.equal(w, before[n])}
    assert changed["alternating"].keys() == changed["simultaneous"].keys()
    for name, weight in changed["simultaneous"].items():
        if not name.startswith(("generator.", "prior.")):
            torch.testing.assert_close(weight, changed["alternating"][name], rtol=0, atol=1e-6)


def test_the_generator_s_gradient_is_that_of_its_objective_against_the_discriminator_as_it_was() -> None:
    game = Game("infogan", **SIMULTANEOUS)
    played = game.model.generator
    taken: dict[str, torch.Tensor] = {}
    for name, parameter in played.named_parameters():
        parameter.register_post_accumulate_grad_hook(
            lambda p, name=name: taken.update({name: p.grad.clone()})  # type: ignore[misc]
        )
    game.step()
    fresh = Game("infogan", **SIMULTANEOUS)
    tensors = fresh.tensors()
    objective = fresh.model.generator_objective(replace(tensors, real=tensors.real.detached))
    names, parameters = zip(*fresh.model.generator.named_parameters(), strict=True)
    for name, gradient in zip(names, torch.autograd.grad(objective.loss, parameters), strict=True):
        torch.testing.assert_close(taken[name], gradient, rtol=1e-4, atol=1e-6)


def test_it_saves_a_forward_pass_of_the_trunk_and_computes_no_gradient_that_is_not_used() -> None:
    both = [flops("infogan", latent__noise=62, training__update=order) for order in ("alternating", "simultaneous")]
    game = Game("infogan", training__batch_size=32, trunk__name="infogan-mnist", trunk__width=64, latent__noise=62)
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
        game.model.discriminator(torch.zeros(32, 1, 28, 28))
    assert both[0] - both[1] == counter.get_total_flops()


def test_a_step_without_the_generator_s_turn_is_the_alternating_one(monkeypatch: pytest.MonkeyPatch) -> None:
    game = Game("sngan", **SIMULTANEOUS)
    with counting(game, monkeypatch) as counts:
        game.step(update_generator=False)
    assert counts == expected(trunk=2, calls=2, players=1)


def test_parts_of_a_batch_add_up_to_the_whole(tmp_path: Path) -> None:
    """Without batch norm, whose statistics are a part's own."""
    norms = {"trunk__generator_norm": "none", "trunk__discriminator_norm": "none"}
    ends = []
    for parts in (1, 2):
        game = Game("gan", training__accumulate=parts, **SIMULTANEOUS, **norms)
        game.step()
        ends.append(weights(game.model))
    for name, whole in ends[0].items():
        torch.testing.assert_close(ends[1][name], whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", ["infogan", "r3gan"])
def test_a_run_says_so_in_its_losses(model: str, tmp_path: Path) -> None:
    told = [
        narrow_train(model, tmp_path / order, training__steps=3, **SIMULTANEOUS | {"training__update": order}).metrics()
        for order in ("alternating", "simultaneous")
    ]
    assert told[0][0].keys() == told[1][0].keys()
    assert told[0][0]["discriminator/adversarial"] == pytest.approx(told[1][0]["discriminator/adversarial"], abs=1e-5)
    assert told[0][-1]["generator/adversarial"] != told[1][-1]["generator/adversarial"]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("order", ["alternating", "simultaneous"])
def test_low_precision_and_parts_of_a_batch_go_with_either_order(order: str, precision: str) -> None:
    """Ten steps: fp16's scale falls from 65,536 by halves until the gradients fit it."""
    game = Game("infogan", training__accumulate=2, training__precision=precision, training__update=order)
    before = weights(game.model)
    for step in range(10):
        objectives = game.step(step)
    assert moved(before, game.model) == before.keys()
    assert all(weight.isfinite().all() for weight in weights(game.model).values())
    assert all(objective.loss.isfinite() for objective in objectives)


def test_no_graph_outlives_a_step() -> None:
    """Each holds the activations of a part of the batch."""
    game = Game("infogan", training__accumulate=4, **SIMULTANEOUS)
    objectives = game.step()
    assert all(term.grad_fn is None for objective in objectives for term in objective.terms.values())
