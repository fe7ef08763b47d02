"""What the information term trains, in each of its three settings, and with what weight."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from narrow import MIX, Game, moved, weights

from gan_zoo.models.infogan.model import InfoGAN

SETTINGS = ["generator+q+trunk", "generator+q", "q"]


def reached(model: torch.nn.Module) -> set[str]:
    """The parts of the model in which a gradient arrived, and that it arrived in all of the part."""
    parts = {"generator": [], "discriminator.trunk": [], "discriminator.head": [], "q": []}
    for name, parameter in model.named_parameters():
        part = next(part for part in parts if name.startswith(part))
        parts[part].append(parameter.grad is not None and bool(parameter.grad.any()))
    for part, flags in parts.items():
        assert all(flags) or not any(flags), part
    return {part for part, flags in parts.items() if all(flags)}


def infogan(**settings: object) -> tuple[Game, InfoGAN]:
    game = Game("infogan", **{"infogan__codes": MIX, "training__batch_size": 16} | settings)
    assert isinstance(game.model, InfoGAN)
    return game, game.model


@pytest.mark.parametrize(
    ("trains", "expected"), list(zip(SETTINGS, [{"discriminator.trunk", "q"}, {"q"}, {"q"}], strict=True))
)
def test_in_the_discriminator_s_step_the_term_reaches_what_is_asked(trains: str, expected: set[str]) -> None:
    game, model = infogan(infogan__trains=trains)
    latents = game.latents()
    fake = model.generator(latents.input).detach()
    real, judged = model.discriminator(torch.zeros_like(fake)), model.discriminator(fake)
    model.discriminator_objective(replace(game.tensors(), real=real, fake=judged, latents=latents)).terms[
        "discriminator/information"
    ].backward()
    assert reached(model) == expected


@pytest.mark.parametrize("trains", SETTINGS[:2])
def test_in_the_generator_s_step_the_term_reaches_the_generator_alone(trains: str) -> None:
    game, model = infogan(infogan__trains=trains)
    latents = game.latents()
    fake = model.generator(latents.input)
    with game.state.optimizers["discriminator"].frozen():
        judged = model.discriminator(fake)
        objective = model.generator_objective(replace(game.tensors(), real=judged, fake=judged, latents=latents))
    objective.terms["generator/information"].backward()
    assert reached(model) == {"generator"}


def test_a_head_that_only_watches_gives_the_generator_no_term() -> None:
    game, model = infogan(infogan__trains="q")
    tensors = game.tensors()
    assert set(model.generator_objective(tensors).terms) == {"generator/adversarial"}


def test_a_whole_step_moves_each_part_by_the_term_only_where_it_is_trained() -> None:
    after = {}
    for trains in SETTINGS:
        game, model = infogan(infogan__trains=trains)
        game.step()
        after[trains] = weights(model)
    full, cut, watching = (after[trains] for trains in SETTINGS)
    for name in full:
        if name.startswith("discriminator.head") or name.startswith("q."):
            assert torch.equal(full[name], cut[name])
            assert torch.equal(cut[name], watching[name])
        elif name.startswith("discriminator.trunk"):
            assert torch.equal(cut[name], watching[name])
            assert not torch.equal(full[name], cut[name])
        else:
            assert not torch.equal(cut[name], watching[name])


def test_a_watching_head_leaves_the_game_as_it_is_without_the_term() -> None:
    watching, watched = infogan(infogan__trains="q")
    weightless, silent = infogan(infogan__lambda_discrete=0.0, infogan__lambda_continuous=0.0)
    start = weights(watched)
    for step in range(3):
        watching.step(step)
        weightless.step(step)
    for name, value in weights(watched).items():
        same = torch.equal(value, weights(silent)[name])
        assert same == (not name.startswith("q.")), name
    assert any(name.startswith("q.") for name in moved(start, watched))


@pytest.mark.parametrize("side", ["discriminator", "generator"])
def test_the_term_is_minus_the_weighted_bounds(side: str) -> None:
    game, model = infogan(infogan__lambda_discrete=0.7, infogan__lambda_continuous=0.2, infogan__variance="constant")
    model.q.eval()
    tensors = game.tensors()
    bound = model.information(tensors.fake.features, tensors.latents)
    lambdas = torch.tensor([0.7, 0.2, 0.7, 0.7, 0.2, 0.2, 0.7, 0.7])
    objective = (
        model.discriminator_objective(tensors) if side == "discriminator" else model.generator_objective(tensors)
    )
    torch.testing.assert_close(objective.terms[f"{side}/information"], -(lambdas * bound).sum())
    assert len(bound.unique()) == len(bound)


@pytest.mark.parametrize(
    ("setting", "silenced"), [("lambda_continuous", {1, 4, 5}), ("lambda_discrete", {0, 2, 3, 6, 7})]
)
def test_a_weight_of_zero_silences_its_codes_and_no_others(setting: str, silenced: set[int]) -> None:
    game, model = infogan(**{f"infogan__{setting}": 0.0})
    tensors = game.tensors()
    model.discriminator_objective(tensors).terms["discriminator/information"].backward()
    gradient = model.q[-1].weight.grad
    for index, columns in enumerate(model.layout.columns):
        arrived = bool(gradient[columns].any())
        assert arrived == (index not in silenced)


def test_the_weights_are_smaller_for_continuous_codes_by_default() -> None:
    _, model = infogan(infogan__codes="categorical:10, uniform:2, bernoulli:1, gaussian:1")
    assert model.weights.tolist() == pytest.approx([1, 0.1, 0.1, 1, 0.1])


def test_a_code_s_own_weight_replaces_that_of_its_kind() -> None:
    _, model = infogan(infogan__codes="categorical:10@0.5, uniform:1, uniform:1@10", infogan__lambda_continuous=0.2)
    assert model.weights.tolist() == pytest.approx([0.5, 0.2, 10])
