"""The memory of a step, estimated from steps on a few images."""

from __future__ import annotations

import pytest
import torch
from narrow import narrow_config, one_line

from gan_zoo.config import Config
from gan_zoo.data import bounds
from gan_zoo.data.dataset import open_dataset
from gan_zoo.errors import InputError
from gan_zoo.training.build import new_state
from gan_zoo.training.memory import FEW, StepMemory, check_step_memory, step_memory

CPU = torch.device("cpu")


def needed(**settings: object) -> StepMemory:
    config: Config = narrow_config("infogan", **settings)
    return step_memory(config, open_dataset(config.data), CPU)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"training__update": "simultaneous"},
        {"loss__r1": 1.0, "trunk__discriminator_norm": "none"},
        {"trunk__name": "resnet"},
    ],
)
def test_what_a_few_images_need_says_what_many_need(
    settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    estimated = needed(training__batch_size=48, **settings)
    monkeypatch.setattr("gan_zoo.training.memory.FEW", (48, 48))  # a step on all of them
    assert estimated.kept == pytest.approx(needed(training__batch_size=48, **settings).kept, rel=0.02)


def test_micro_batches_and_a_narrower_network_need_less() -> None:
    whole = needed(training__batch_size=4 * max(FEW))
    assert needed(training__batch_size=4 * max(FEW), training__accumulate=4).kept < 0.4 * whole.kept
    assert needed(training__batch_size=4 * max(FEW), trunk__width=2).total < whole.total


def test_weights_count_with_gradients_moments_and_the_average() -> None:
    model = new_state(narrow_config("infogan"), CPU).model
    stored, trained = (sum(t.nbytes for t in tensors) for tensors in (model.state_dict().values(), model.parameters()))
    assert needed(training__ema=0.0).weights == stored + 3 * trained
    average = sum(t.nbytes for t in model.generator.state_dict().values())
    assert needed(training__ema=0.9).weights == stored + 3 * trained + average


def test_what_cannot_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_step_memory(StepMemory(10, 20), CPU)
    monkeypatch.setattr("gan_zoo.training.memory.memory", lambda: 2**30)
    with pytest.raises(InputError) as refused:
        check_step_memory(StepMemory(2**20, 2**31), CPU)
    assert "a step would take 2.0 GiB or more: 1 MiB of weights" in one_line(refused)
    assert "cpu has 1.0 GiB; a smaller training.batch_size" in one_line(refused)
    assert bounds.memory() > 2**30
