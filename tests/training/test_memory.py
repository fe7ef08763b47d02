"""The memory of a step, counted without making one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from narrow import narrow_config, one_line

from gan_zoo.config import Config
from gan_zoo.data import bounds
from gan_zoo.data.dataset import open_dataset
from gan_zoo.errors import InputError
from gan_zoo.models.gan.model import GAN, StepTensors
from gan_zoo.training.build import new_state
from gan_zoo.training.half_weights import HalfWeights
from gan_zoo.training.iterations import Iterations
from gan_zoo.training.memory import Allocated, StepMemory, check_step_memory, step_memory

CPU = torch.device("cpu")


def needed(**settings: object) -> StepMemory:
    config: Config = narrow_config("infogan", **settings)
    memory = step_memory(config)
    assert memory
    return memory


@pytest.mark.parametrize(
    "settings",
    [
        {"training__update": "simultaneous", "training__precision": "fp16", "trunk__width": 16},
        {"loss__r1": 1.0, "trunk__discriminator_norm": "none", "trunk__width": 16},
        {"trunk__name": "r3gan", "training__gradient_checkpointing": True},
        {"training__accumulate": 2, "trunk__name": "resnet"},
        {"trunk__name": "stylegan2"},
    ],
    ids=str,
)
def test_a_step_without_values_allocates_what_a_step_does(settings: dict[str, Any]) -> None:
    estimated = needed(**settings).step
    config = narrow_config("infogan", **settings)
    iterations, allocated = Iterations(new_state(config, CPU), open_dataset(config.data).train), Allocated()
    try:
        kind = iterations.prepare()
        with allocated:
            iterations.iterate(kind)
    finally:
        iterations.close()
    assert estimated == pytest.approx(allocated.most, rel=0.1)


def test_more_than_this_machine_has_is_counted_in_seconds() -> None:
    assert needed(training__batch_size=2**16).step > 2**31


@pytest.mark.parametrize(("trunk", "share"), [("resnet", 0.65), ("r3gan", 0.4), ("stylegan2", 0.45)])
def test_gradient_checkpointing_saves_most_of_the_feature_maps(trunk: str, share: float) -> None:
    settings = {"trunk__name": trunk, "training__batch_size": 32, "trunk__width": 8}
    assert needed(training__gradient_checkpointing=True, **settings).step < share * needed(**settings).step


def test_of_all_steps_of_a_run_the_largest_is_counted() -> None:
    settings = {"loss__r1": 1.0, "loss__penalty_interval": 5, "trunk__discriminator_norm": "none", "trunk__width": 16}
    each = needed(training__discriminator_steps=1, training__steps=10, **settings)
    of_two = needed(training__discriminator_steps=2, training__steps=10, **settings)  # G is updated in the second
    assert of_two.step == each.step
    assert needed(training__steps=1, **settings).step == each.step
    late = needed(training__discriminator_steps=5, training__steps=4, **settings)  # G never
    assert late.step < each.step


def test_steps_of_two_phases_are_both_counted() -> None:
    warped = {"infogan__consistency": 1.0, "data__warp": "shift:0.1", "training__steps": 4}
    always, fading = (needed(infogan__consistency_steps=steps, **warped) for steps in (0, 2))
    assert fading.step == always.step > needed(training__steps=4).step


def test_an_error_of_a_plug_in_is_not_taken_for_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(model: GAN, player: str, step: StepTensors) -> dict[str, torch.Tensor]:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(GAN, "game_terms", failing)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        step_memory(narrow_config("infogan"))


def test_a_model_whose_step_reads_values_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    real = GAN.game_terms

    def reading(model: GAN, player: str, step: StepTensors) -> dict[str, torch.Tensor]:
        return real(model, player, step) if step.fake.logits.mean().item() < 9 else {}

    monkeypatch.setattr(GAN, "game_terms", reading)
    assert step_memory(narrow_config("infogan")) is None


def test_micro_batches_and_a_narrower_network_need_less() -> None:
    whole = needed(training__batch_size=32)
    assert needed(training__batch_size=32, training__accumulate=4).step < 0.7 * whole.step
    assert needed(training__batch_size=32, trunk__width=2).total < whole.total


def test_weights_count_with_moments_and_the_average() -> None:
    model = new_state(narrow_config("infogan"), CPU).model
    stored, trained = (sum(t.nbytes for t in tensors) for tensors in (model.state_dict().values(), model.parameters()))
    assert needed(training__ema=0.0).weights == stored + 2 * trained
    copies = HalfWeights((model.generator, model.discriminator), torch.bfloat16).copies.values()
    in_half = needed(training__ema=0.0, training__precision="bf16").weights
    assert in_half == stored + 2 * trained + sum(copy.nbytes for copy in copies)
    average = sum(t.nbytes for t in model.generator.state_dict().values())
    assert needed(training__ema=0.9).weights == stored + 2 * trained + average


def test_what_cannot_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_step_memory(StepMemory(10, 20), CPU)
    monkeypatch.setattr("gan_zoo.training.memory.memory", lambda: 2**30)
    with pytest.raises(InputError) as refused:
        check_step_memory(StepMemory(2**20, 2**31), CPU)
    assert "a step would take 2.0 GiB or more: 1 MiB of weights" in one_line(refused)
    assert "cpu has 1.0 GiB; a smaller training.batch_size" in one_line(refused)
    assert bounds.memory() > 2**30
