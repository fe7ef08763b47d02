"""FreezeD: the first layers of D's trunk stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from narrow import Game, moved, narrow_config, narrow_train, one_line, weights
from safetensors.torch import load_file
from torch import nn

from gan_zoo.config import TrunkSettings
from gan_zoo.errors import InputError
from gan_zoo.registry import trunks
from gan_zoo.shapes import ImageShape
from gan_zoo.training.build import new_state
from gan_zoo.trunks.layers import LotNorm
from gan_zoo.trunks.resnet import ResidualBlock
from gan_zoo.trunks.trunk import DiscriminatorTrunk

LAYERS = {"mlp": 2, "dcgan": 2, "resnet": 4, "infogan-mnist": 3, "stylegan2": 5}


def trunk(name: str, **settings: Any) -> DiscriminatorTrunk:
    side = 16 if name == "stylegan2" else 28
    made: DiscriminatorTrunk = trunks.get(name).discriminator(ImageShape(1, side), TrunkSettings(width=4, **settings))
    return made


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("settings", [{}, {"discriminator_norm": "layer"}, {"discriminator_norm": "none"}])
def test_the_layers_are_the_network_s_and_hold_all_of_it(name: str, settings: dict[str, Any]) -> None:
    network = trunk(name, **settings)
    layers = network.layers()
    assert len(layers) == LAYERS[name]
    assert [p for layer in layers for p in layer.parameters()] == list(network.parameters())
    for layer in layers:
        main, *after = layer
        assert isinstance(main, nn.Linear | nn.Conv2d | ResidualBlock)
        assert not any(isinstance(part, nn.Linear | nn.Conv2d | ResidualBlock) for part in after)


def test_layers_follow_the_resolution() -> None:
    for resolution, count in ((32, 3), (64, 4), (128, 5)):
        network = trunks.get("dcgan").discriminator(ImageShape(3, resolution), TrunkSettings(width=2))
        assert len(network.layers()) == count


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"loss__r1": 1.0, "trunk__discriminator_norm": "none"},
        {"training__update": "simultaneous", "trunk__spectral_norm": True},
        {"training__precision": "bf16", "training__on_nan": "skip"},
    ],
    ids=["plain", "R1", "simultaneous", "bf16"],
)
def test_the_first_layers_stay_and_all_others_learn(name: str, settings: dict[str, Any]) -> None:
    if name == "stylegan2":  # which has no spectral norm
        settings = {key: value for key, value in settings.items() if key != "trunk__spectral_norm"}
    for count in (1, LAYERS[name]):
        game = Game("infogan", trunk__name=name, trunk__freeze_d=count, **settings)
        layers = game.model.discriminator.trunk.layers()
        fixed = {id(p) for layer in layers[:count] for p in layer.parameters()}
        names = {n for n, p in game.model.named_parameters() if id(p) in fixed}
        before = weights(game.model)
        for step in range(3):
            game.step(step)
        unmoved = before.keys() - moved(before, game.model)
        assert unmoved == names
        assert not any(p.grad is not None for p in game.model.parameters() if id(p) in fixed)
        assert not names & game.state.optimizers["discriminator"].parameters.keys()


def test_a_frozen_layer_s_batch_norm_normalises_each_batch() -> None:
    network = trunk("mlp").train()
    before = network(images := torch.rand(8, 1, 28, 28) * 2 - 1)
    network.freeze(2)
    (norm,) = [layer for layer in network.modules() if isinstance(layer, LotNorm)]
    assert torch.equal(network(images), before)
    assert norm.training


def test_more_layers_than_there_are_are_refused(tmp_path: Path) -> None:
    for name, count in LAYERS.items():
        with pytest.raises(InputError) as refused:
            new_state(narrow_config("gan", trunk__name=name, trunk__freeze_d=count + 1), torch.device("cpu"))
        assert one_line(refused).endswith(f"freeze_d = {count + 1}: the discriminator's trunk has {count} layers")
    with pytest.raises(InputError, match="has 2 layers"):
        narrow_train("gan", tmp_path / "run", trunk__freeze_d=3)
    assert not (tmp_path / "run").exists()


def test_a_trunk_that_is_no_sequence_is_refused() -> None:
    network = DiscriminatorTrunk(ResidualBlock(nn.Identity(), nn.Identity()), nn.Flatten(), 784)
    with pytest.raises(InputError) as refused:
        network.freeze(1)
    assert "to_map is an nn.Sequential, not ResidualBlock; set it to 0" in one_line(refused)


def test_a_resumed_run_can_freeze_more_or_less(tmp_path: Path) -> None:
    name = "discriminator.trunk.to_map.1.weight"

    def resumed(steps: int, frozen: int) -> tuple[torch.Tensor, set[str]]:
        run = narrow_train(None, tmp_path / "run", resume=True, training__steps=steps, trunk__freeze_d=frozen)
        files = (run.checkpoint(steps) / f"{file}.safetensors" for file in ("model", "optimizer"))
        tensors, moments = map(load_file, files)
        return tensors[name], {key for key in moments if name in key}

    narrow_train("gan", tmp_path / "run", training__steps=1)
    free, moments = resumed(2, 0)
    fixed, without = resumed(3, 1)
    thawed, again = resumed(4, 0)
    assert torch.equal(fixed, free)
    assert not torch.equal(thawed, free)
    assert moments == again
    assert len(moments) == 3
    assert not without
