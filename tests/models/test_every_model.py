"""Every registered model, every trunk under every loss, every precision: finite losses and weights that move."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from narrow import MIX, Game, moved, narrow_train, weights

from gan_zoo.models.gan.model import GAN
from gan_zoo.registry import losses, models, trunks

PRECISIONS = ["fp32", "bf16", "fp16"]
PENALTIES = {"loss__gradient_penalty": 10.0, "loss__r1": 1.0, "loss__r2": 1.0}


@pytest.mark.parametrize("loss", losses.entries)
@pytest.mark.parametrize("trunk", trunks.entries)
def test_infogan_trains_on_every_trunk_under_every_loss(trunk: str, loss: str) -> None:
    game = Game("infogan", trunk__name=trunk, loss__adversarial=loss, infogan__codes=MIX)
    before = weights(game.model)
    terms = [o.terms for step in range(3) for o in game.step(step)]
    assert all(term.isfinite() for objective in terms for term in objective.values())
    assert {"discriminator/information", "generator/information"} <= terms[-1].keys() | terms[-2].keys()
    unmoved = before.keys() - moved(before, game.model)
    # Where a loss only counts differences of logits, or every margin is violated, the bias of the logit has gradient 0.
    assert unmoved <= {"discriminator.head.bias"}
    assert all(value.isfinite().all() for value in weights(game.model).values())


@pytest.mark.parametrize(
    ("model", "precision"),
    [
        pytest.param(model, precision, marks=[pytest.mark.slow] * (model != "infogan"))  # golden curves are in fp32
        for model in models.entries
        for precision in PRECISIONS
    ],
)
def test_every_model_trains_ten_steps_on_the_digits_in_every_precision(
    model: str, precision: str, tmp_path: Path
) -> None:
    run = narrow_train(
        model, tmp_path, training__steps=10, training__precision=precision, trunk__width=2, training__batch_size=4
    )
    lines = run.metrics()
    assert [line["step"] for line in lines] == list(range(1, 11))
    assert all(math.isfinite(value) for line in lines for value in line.values())
    trained = run.load()
    assert all(value.isfinite().all() for value in weights(trained).values())
    untrained = weights(Game(model, trunk__width=2).model)
    discriminator = {name for name in untrained if not name.startswith("generator.")}
    assert discriminator & moved(untrained, trained)
    assert moved(untrained, trained) - discriminator
    scaler = json.loads((tmp_path / "checkpoints/step-00000010/state.json").read_text())["scaler"]
    if precision == "fp16":
        assert scaler["_growth_tracker"] > 0 or scaler["scale"] < 2**16
    else:
        assert scaler == {}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("model", ["dcgan", "infogan", "acgan"])
def test_all_penalties_together_stay_finite_in_every_precision(model: str, precision: str) -> None:
    game = Game(model, training__precision=precision, trunk__discriminator_norm="layer", **PENALTIES)
    before = weights(game.model)
    for step in range(3):
        terms = game.step(step)[0].terms
        assert {"discriminator/gradient_penalty", "discriminator/r1", "discriminator/r2"} <= terms.keys()
        assert all(term.isfinite() for term in terms.values())
    assert all(value.isfinite().all() for value in weights(game.model).values())
    assert any(not name.startswith("generator.") for name in moved(before, game.model))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("model", models.entries)
def test_weights_and_losses_are_fp32_whatever_is_computed_in(model: str, precision: str) -> None:
    game = Game(model, training__precision=precision, trunk__width=2)
    seen: set[torch.dtype] = set()
    for module in game.model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(lambda _m, _i, output: seen.add(output.dtype))
    objectives = game.step(1, update_generator=True)
    assert all(p.dtype == torch.float32 for p in game.model.parameters())
    assert all(term.dtype == torch.float32 for o in objectives for term in o.terms.values())
    assert {"bf16": torch.bfloat16, "fp16": torch.float16}[precision] in seen


@pytest.mark.parametrize("model", models.entries)
def test_the_seed_alone_decides_the_first_weights(model: str) -> None:
    torch.manual_seed(1)
    first = weights(Game(model).model)
    torch.manual_seed(2)
    again, other = weights(Game(model).model), weights(Game(model, seed=1).model)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("model", models.entries)
def test_every_parameter_outside_the_generator_is_the_discriminator_s_player_s(model: str) -> None:
    game = Game(model)
    assert isinstance(game.model, GAN)
    assert all(not name.startswith("generator.") for name in game.state.optimizers["discriminator"].parameters)
    assert all(name.startswith("generator.") for name in game.state.optimizers["generator"].parameters)
