"""What one iteration costs: forwards, backwards, updates, gradients and FLOPs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from narrow import Game
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.flop_counter import FlopCounterMode

from gan_zoo.registry import models

FLOP_RATIO = 1.03
OF_PAIRS = {"infogan-cr": 2}
"""Passes of the generator that a model makes beside the game's."""


@contextmanager
def counting(game: Game, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    counts: Counter[str] = Counter()
    real_backward = torch.Tensor.backward

    def backward(tensor: torch.Tensor, *args: object, **kwargs: object) -> None:
        counts["backward"] += 1
        real_backward(tensor, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    hooks = [
        game.model.generator.register_forward_hook(lambda *_: counts.update(["generator"])),
        game.model.discriminator.trunk.register_forward_hook(lambda *_: counts.update(["trunk"])),
        register_optimizer_step_post_hook(lambda *_: counts.update(["update"])),
    ]
    yield counts
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("model", models.entries)
def test_an_iteration_is_one_generator_and_three_trunk_forwards(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    game = Game(model, training__discriminator_steps=1)
    of_interpolates = 1 if game.config.loss.gradient_penalty else 0
    with counting(game, monkeypatch) as counts:
        game.step()
    generated = 1 + OF_PAIRS.get(model, 0)
    assert counts == {"generator": generated, "trunk": 3 + of_interpolates, "backward": 2, "update": 2}


@pytest.mark.parametrize("trains", ["generator+q+trunk", "generator+q", "q"])
def test_infogan_adds_no_pass_whatever_its_term_trains(trains: str, monkeypatch: pytest.MonkeyPatch) -> None:
    game = Game("infogan", infogan__trains=trains)
    with counting(game, monkeypatch) as counts:
        game.step()
    assert counts == {"generator": 1, "trunk": 3, "backward": 2, "update": 2}


@pytest.mark.parametrize(
    ("settings", "further"),
    [
        ({"infogan__consistency": 1.0}, 1),
        ({"infogan__consistency": 0.0}, 0),
        ({"infogan__consistency": 1.0, "infogan__codes": "uniform:2, bernoulli:1"}, 0),
        ({"infogan__consistency": 1.0, "infogan__codes": "categorical:5x3"}, 1),
        ({"infogan__consistency": 1.0, "infogan__consistency_share": 0.5}, 1),
    ],
)
def test_consistency_adds_one_pass_of_the_trunk_where_there_is_a_categorical_code(
    settings: dict[str, object], further: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = Game("infogan", data__warp="rotate:0.2", **settings)
    with counting(game, monkeypatch) as counts:
        game.step()
    assert counts == {"generator": 1, "trunk": 3 + further, "backward": 2, "update": 2}


def test_a_step_without_the_generator_s_turn_is_one_generator_and_two_trunk_forwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    game = Game("sngan")
    with counting(game, monkeypatch) as counts:
        game.step(update_generator=False)
    assert counts == {"generator": 1, "trunk": 2, "backward": 1, "update": 1}


@pytest.mark.parametrize("model", ["gan", "infogan"])
def test_accumulation_makes_its_passes_once_a_part_and_updates_once(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = Game(model, training__accumulate=4)
    with counting(game, monkeypatch) as counts:
        game.step()
    assert counts == {"generator": 4, "trunk": 12, "backward": 8, "update": 2}


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
            parameter.register_hook(lambda _, name=name: note(name))
            parameter.register_post_accumulate_grad_hook(lambda _, name=name: note(name))
        game.step()
    assert arrived == {
        1: set(game.state.players["discriminator"].parameters),
        2: set(game.state.players["generator"].parameters),
    }


@pytest.mark.parametrize("model", models.entries)
def test_after_a_step_no_gradient_is_held_and_every_weight_takes_one_again(model: str) -> None:
    game = Game(model)
    game.step()
    assert all(p.grad is None and p.requires_grad for p in game.model.parameters())


def test_the_two_players_share_no_weight_and_leave_none_out() -> None:
    game = Game("infogan")
    discriminator, generator = (set(player.parameters) for player in game.state.players.values())
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
