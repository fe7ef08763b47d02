"""What one iteration costs: forwards, backwards, updates, gradients and FLOPs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from narrow import Game
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.flop_counter import FlopCounterMode

from gan_zoo.registry import models, trunks
from gan_zoo.training.step import StepFunctions
from gan_zoo.trunks.layers import LotNorm

FLOP_RATIO = 1.03
OF_MODEL = {"infogan-cr": 2, "infovae": 2}
"""Passes of the generator that a model makes besides those of every model: over pairs, or over encoded images."""


BATCH = 8
"""Images of a step of `Game`."""


@contextmanager
def counting(game: Game, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Images that go through the generator and the trunk, calls of the trunk, backward passes and updates."""
    counts: Counter[str] = Counter()
    real_backward = torch.autograd.backward

    def backward(*args: object, **kwargs: object) -> None:
        counts["backward"] += 1
        real_backward(*args, **kwargs)  # type: ignore[arg-type]

    def seen(name: str) -> Callable[..., None]:
        return lambda _, inputs, __: counts.update({name: len(inputs[0]), f"{name} calls": 1})

    monkeypatch.setattr(torch.autograd, "backward", backward)
    hooks = [
        game.model.generator.register_forward_hook(seen("generator")),
        game.model.discriminator.trunk.register_forward_hook(seen("trunk")),
        register_optimizer_step_post_hook(lambda *_: counts.update(["update"])),
    ]
    yield counts
    for hook in hooks:
        hook.remove()


def expected(*, generator: float = 1, trunk: float, calls: int, parts: int = 1, players: int = 2) -> dict[str, float]:
    """What a step counts whose passes are given in batches."""
    return {
        "generator": generator * BATCH,
        "generator calls": (1 if generator <= 1 else players + 1) * parts,
        "trunk": trunk * BATCH,
        "trunk calls": calls * parts,
        "backward": players * parts,
        "update": players,
    }


@pytest.mark.parametrize("model", models.entries)
def test_an_iteration_is_one_generator_and_three_trunk_passes(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    game = Game(model, training__discriminator_steps=1)
    of_interpolates = 1 if game.config.loss.gradient_penalty else 0
    apart = 1 if game.config.loss.r1 or game.config.trunk.spectral_norm else 0
    with counting(game, monkeypatch) as counts:
        game.step()
    generated = 1 + OF_MODEL.get(model, 0)
    assert counts == expected(generator=generated, trunk=3 + of_interpolates, calls=2 + of_interpolates + apart)


@pytest.mark.parametrize("trains", ["generator+q+trunk", "generator+q", "q"])
def test_infogan_adds_no_pass_whatever_its_term_trains(trains: str, monkeypatch: pytest.MonkeyPatch) -> None:
    game = Game("infogan", infogan__trains=trains)
    with counting(game, monkeypatch) as counts:
        game.step()
    assert counts == expected(trunk=3, calls=2)


@pytest.mark.parametrize(
    ("settings", "further"),
    [
        ({"infogan__consistency": 1.0}, 1),
        ({"infogan__consistency": 0.0}, 0),
        ({"infogan__consistency": 1.0, "infogan__codes": "uniform:2, bernoulli:1"}, 0),
        ({"infogan__consistency": 1.0, "infogan__codes": "categorical:5x3"}, 1),
        ({"infogan__consistency": 1.0, "infogan__consistency_share": 0.5}, 0.5),
    ],
)
def test_consistency_adds_the_warped_images_where_there_is_a_categorical_code_and_no_call(
    settings: dict[str, object], further: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = Game("infogan", data__warp="rotate:0.2", **settings)
    with counting(game, monkeypatch) as counts:
        game.step()
    assert counts == expected(trunk=3 + further, calls=2)


def test_a_step_without_the_generator_s_turn_is_one_generator_and_two_trunk_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    game = Game("sngan")
    with counting(game, monkeypatch) as counts:
        game.step(update_generator=False)
    assert counts == expected(trunk=2, calls=2, players=1)


@pytest.mark.parametrize("model", ["gan", "infogan"])
def test_accumulation_makes_its_passes_once_a_part_and_updates_once(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = Game(model, training__accumulate=4)
    with counting(game, monkeypatch) as counts:
        game.step()
    assert counts == expected(trunk=3, calls=2, parts=4)


JOINED: dict[str, dict[str, object]] = {
    "infogan-mnist": {"trunk__name": "infogan-mnist"},
    "dcgan": {"trunk__name": "dcgan"},
    "resnet": {"trunk__name": "resnet", "trunk__discriminator_norm": "layer"},
    "consistency of a share": {
        "trunk__name": "infogan-mnist",
        "infogan__consistency": 1.0,
        "infogan__consistency_share": 0.4,
        "data__warp": "shift:0.1",
    },
    "parts": {"trunk__name": "dcgan", "training__accumulate": 2},
}


@pytest.mark.parametrize("name", JOINED)
def test_batches_judged_at_once_are_judged_as_apart(name: str) -> None:
    """Each by its own statistics; the running ones take in one batch after the other."""
    together, apart = (Game("infogan", **JOINED[name]) for _ in range(2))
    assert together.functions.at_once
    apart.functions.at_once = False
    for step in range(3):
        told, found = together.step(step), apart.step(step)
        for a, b in zip(told, found, strict=True):
            values = [{n: v.item() for n, v in o.terms.items()} for o in (a, b)]
            assert values[0] == pytest.approx(values[1], rel=1e-4, abs=1e-5)
    for key, value in apart.model.named_buffers():
        if key.startswith("generator."):  # its biases before a norm have gradients of rounding alone
            continue
        torch.testing.assert_close(together.model.get_buffer(key), value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("penalty", ["gradient_penalty", "r1", "r2"])
def test_only_norms_that_no_penalty_differentiates_twice_may_be_fused(penalty: str) -> None:
    def once(game: Game) -> dict[str, bool]:
        return {n: layer.once for n, layer in game.model.named_modules() if isinstance(layer, LotNorm)}

    assert all(once(Game("infogan", trunk__name="infogan-mnist")).values())
    penalised = once(Game("infogan", trunk__name="infogan-mnist", **{f"loss__{penalty}": 1.0}))
    assert len(set(penalised.values())) == 2
    assert all(may == name.startswith("generator.") for name, may in penalised.items())


def test_a_trunk_whose_images_mix_and_foreign_batch_norms_are_passed_apart() -> None:
    game = Game("gan", trunk__name="dcgan", trunk__discriminator_norm="batch")
    assert game.functions.at_once
    layers = game.model.discriminator.trunk.to_map
    place = next(k for k, layer in enumerate(layers) if isinstance(layer, torch.nn.BatchNorm2d))  # type: ignore[arg-type]
    layers[place] = torch.nn.BatchNorm2d(layers[place].num_features)  # type: ignore[index, union-attr]
    assert not StepFunctions(game.model, game.state.precision, BATCH).at_once
    undeclared = Game("gan", trunk__name="dcgan")
    with pytest.MonkeyPatch.context() as patch:
        trunk = trunks.get("dcgan")
        patch.setattr(type(trunks), "get", lambda *_: replace(trunk, joins=False))
        assert not StepFunctions(undeclared.model, undeclared.state.precision, BATCH).at_once


@pytest.mark.parametrize("model", models.entries)
def test_each_backward_computes_gradients_for_the_weights_that_are_updated_and_no_others(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = Game(model, training__discriminator_steps=1)
    arrived: dict[int, set[str]] = {1: set(), 2: set()}
    with counting(game, monkeypatch) as counts:

        def note(name: str) -> None:
            arrived[counts["backward"]].add(name)

        for name, parameter in game.model.named_parameters():
            if not parameter.requires_grad:
                continue
            parameter.register_hook(lambda _, name=name: note(name))
            parameter.register_post_accumulate_grad_hook(lambda _, name=name: note(name))
        game.step()
    assert arrived == {
        1: set(game.state.optimizers["discriminator"].parameters),
        2: set(game.state.optimizers["generator"].parameters),
    }


@pytest.mark.parametrize("model", models.entries)
def test_after_a_step_no_gradient_is_held_and_every_weight_takes_one_again(model: str) -> None:
    game = Game(model)
    before = [p.requires_grad for p in game.model.parameters()]
    game.step()
    assert [p.requires_grad for p in game.model.parameters()] == before
    assert all(p.grad is None for p in game.model.parameters())


def test_the_two_players_share_no_weight_and_leave_none_out() -> None:
    game = Game("infogan")
    discriminator, generator = (set(player.parameters) for player in game.state.optimizers.values())
    assert discriminator & generator == set()
    assert discriminator | generator == {name for name, _ in game.model.named_parameters()}
    assert any(name.startswith("q.") for name in discriminator)


def flops(model: str, **settings: object) -> int:
    game = Game(model, training__batch_size=32, trunk__name="infogan-mnist", trunk__width=64, **settings)
    assert game.model.prior.width == 74
    counter = FlopCounterMode(display=False)
    with counter:
        game.step()
    return counter.get_total_flops()


def test_infogan_computes_at_most_three_percent_more_than_the_plain_gan_on_the_paper_s_network() -> None:
    norms = {"trunk__generator_norm": "batch", "trunk__discriminator_norm": "batch"}
    plain = flops("gan", latent__noise=74, **norms)
    info = flops("infogan", latent__noise=62, infogan__codes="categorical:10, uniform:2", **norms)
    assert 1 < info / plain <= FLOP_RATIO
