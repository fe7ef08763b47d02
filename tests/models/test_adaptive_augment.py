"""Adaptive augmentation: the probability follows the sign of D on reals, is kept and resumed, and needs operations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from narrow import Game, narrow_train, one_line

from gan_zoo.errors import InputError
from gan_zoo.models.gan.adaptive_augment import AdaptiveProbability

ADAPTIVE: dict[str, Any] = {"data__augment": "shift, brightness", "data__augment_target": 0.6}


def test_the_probability_rises_while_reals_are_told_apart_and_falls_otherwise() -> None:
    made = AdaptiveProbability(0.6)
    for _ in range(4):
        made.observe(torch.tensor(1.0), 1000)
    assert float(made.sign) == pytest.approx(1 - 0.75**4)
    assert float(made.probability) == pytest.approx(0.002), "it rose once the running mean was above the target"
    for _ in range(600):
        made.observe(torch.tensor(1.0), 1000)
    assert float(made.probability) == 1
    for _ in range(3):
        logged = made.observe(torch.tensor(-1.0), 1000)
    assert float(made.probability) == pytest.approx(1 - 3 * 0.002)
    assert logged["augment/probability"] == made.probability


def test_a_step_observes_the_mean_sign_of_the_augmented_reals() -> None:
    game = Game("gan", **ADAPTIVE)
    objective = game.step()[-1]
    assert game.model.augmentation is not None
    game.model.eval()
    assert objective.metrics.keys() == {"augment/probability", "augment/sign"}
    assert abs(float(game.model.augmentation.sign)) <= 0.25
    assert Game("gan").model.augmentation is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data__augment": ""}, "but data.augment is empty; set data.augment to operations such as flip, shift, or"),
        ({"data__augment_fakes": False}, "but data.augment_fakes is false; set data.augment_fakes to true, or"),
    ],
)
def test_what_cannot_be_adapted_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        Game("gan", **ADAPTIVE | settings)
    assert f"data.augment_target = 0.6, {message} the target to 0" in one_line(error)


def test_a_resumed_run_keeps_the_probability(tmp_path: Path) -> None:
    settings = ADAPTIVE | {"data__augment_target": 0.0001, "trunk__width": 2, "training__batch_size": 4}
    whole = narrow_train("gan", tmp_path / "whole", training__steps=4, **settings)
    narrow_train("gan", tmp_path / "rest", training__steps=2, **settings)
    rest = narrow_train(None, tmp_path / "rest", resume=True, training__steps=4)
    for name in ("model", "optimizer"):
        ends = [(run.checkpoint(4) / f"{name}.safetensors").read_bytes() for run in (whole, rest)]
        assert ends[0] == ends[1]
