"""Networks in stages: gradient checkpointing and number formats by stage."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from narrow import Game, one_line
from torch import Tensor, nn

from gan_zoo.errors import InputError
from gan_zoo.registry import Entry, models, trunks
from gan_zoo.training.half_weights import CAST, HalfWeights
from gan_zoo.trunks.stages import Staged, StagedSequence
from gan_zoo.trunks.trunk import Trunk

Settings = dict[str, Any]
HALF = Trunk(trunks.get("mlp").generator, trunks.get("dcgan").discriminator)
TINY: Settings = {"data__resolution": 8, "trunk__width": 2}
KINDS: dict[str, tuple[str, Settings]] = {
    **{model: (model, {}) for model in models.entries if model not in ("gan", "sngan", "r3gan", "projection-gan")},
    **{f"infogan, {trunk}": ("infogan", {"trunk__name": trunk}) for trunk in trunks.entries if trunk != "mlp"},
    "recipe": ("infogan", {"infogan__consistency": 1.0, "data__warp": "rotate:0.2"}),
    "penalties": ("r3gan", TINY),
    "penalties, simultaneous": ("r3gan", {"training__update": "simultaneous", **TINY}),
    "path lengths": ("stylegan2", {"loss__penalty_interval": 1, "stylegan2__path_length_interval": 2, **TINY}),
    "simultaneous": ("acgan", {"training__update": "simultaneous"}),
    "in parts": ("infogan", {"training__accumulate": 2}),
    "bf16": ("infogan", {"training__precision": "bf16", "trunk__name": "resnet"}),
    "learned prior": ("infogan", {"infogan__prior": "learned"}),
    "conditional": ("infogan", {"infogan__conditional": True}),
    "pairs": ("infogan-cr", {"infogan_cr__contrast_after": 1}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_checkpointing_does_not_change_a_single_bit(kind: str) -> None:
    model, settings = KINDS[kind]
    ends = []
    for checkpointing in (False, True):
        game = Game(model, training__gradient_checkpointing=checkpointing, **settings)
        for step in range(3):
            game.step(step, update_generator=step != 1)
        ends.append(game.model.state_dict())
    for name, value in ends[0].items():
        assert torch.equal(ends[1][name], value), name


@pytest.mark.parametrize("trunk", ["dcgan", "infogan-mnist", "resnet", "r3gan", "stylegan2"])
def test_stages_below_a_side_compute_in_fp32_and_the_others_in_half_precision(
    trunk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    formats: dict[bool, set[torch.dtype]] = {True: set(), False: set()}
    stage = Staged.stage

    def noting(network: Staged, side: int, layers: list[nn.Module], *inputs: Tensor) -> Tensor:
        maps = stage(network, side, layers, *inputs)
        formats[side < 14].add(maps.dtype)
        return maps

    monkeypatch.setattr(Staged, "stage", noting)
    Game("infogan", trunk__name=trunk, training__precision="bf16", training__fp32_below=14).step()
    assert formats[True] == {torch.float32}
    assert torch.bfloat16 in formats[False]


@pytest.mark.parametrize("trunk", ["dcgan", "infogan-mnist", "resnet", "r3gan", "stylegan2"])
def test_networks_all_of_whose_stages_are_in_fp32_compute_as_without_autocast(trunk: str) -> None:
    game = Game("infogan", trunk__name=trunk, training__precision="bf16", training__fp32_below=1024)
    side = game.model.image.resolution
    assert game.model.notes() == [f"training.fp32_below = 1024: every stage of {side}-pixel images computes in fp32"]
    latents = game.latents().input
    with torch.no_grad():
        images = game.model.generator(latents)
        features = game.model.discriminator.trunk(images)
        with game.state.precision.autocast():
            assert torch.equal(game.model.generator(latents), images)
            assert torch.equal(game.model.discriminator.trunk(images), features)


def test_weights_of_stages_in_fp32_have_no_copies_in_half_precision() -> None:
    model = Game("infogan", training__precision="bf16", training__fp32_below=14, trunk__name="infogan-mnist").model
    copied = {layer for layer, _, _ in HalfWeights([model.generator, model.discriminator], torch.bfloat16).places}
    full = set().union(*(m.layers_in_fp32() for m in model.modules() if isinstance(m, StagedSequence)))
    assert {layer for layer in full if isinstance(layer, CAST)} == {
        model.generator[0],
        model.generator[3],
        model.discriminator.trunk.to_features[1],
    }
    assert copied
    assert not copied & full


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"trunk__name": "mlp", "training__fp32_below": 8},
            "training.fp32_below applies to stages, and trunk mlp has none; set it to 0",
        ),
        ({"trunk__name": "mlp", "training__gradient_checkpointing": True}, "trunk mlp has none; set it to false"),
        ({"training__compile": True, "training__gradient_checkpointing": True}, "does not support training.compile"),
        ({"trunk__spectral_norm": True, "training__gradient_checkpointing": True}, "support trunk.spectral_norm"),
    ],
)
def test_what_cannot_be_is_refused(settings: Settings, message: str) -> None:
    with pytest.raises(InputError) as refused:
        Game("infogan", **settings)
    assert message in one_line(refused)


def test_networks_of_a_model_s_own_are_recomputed_too() -> None:
    model = Game(
        "infogan-cr", trunk__name="resnet", training__gradient_checkpointing=True, training__fp32_below=8
    ).model
    stages = {name: module for name, module in model.named_modules() if isinstance(module, Staged)}
    assert any(name.startswith("h.") for name in stages)
    assert all(module.recompute and module.fp32_below == 8 for module in stages.values())


def test_a_plug_in_with_stages_in_one_network_alone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(trunks.entries, "half", Entry("half", "", "gan-zoo", f"{__name__}:HALF"))
    with pytest.raises(InputError, match="and the generator of trunk half has none; set it to false"):
        Game("infogan", trunk__name="half", training__gradient_checkpointing=True)
