"""Between logging steps the host never waits for the device: it reads no value, and no size depends on one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from narrow import narrow_config
from waits import Waits

from gan_zoo.data.dataset import open_dataset
from gan_zoo.registry import models
from gan_zoo.training.build import new_state
from gan_zoo.training.iterations import Iterations
from gan_zoo.training.precision import pick_device

EVERY_TERM = {"loss__penalty_interval": 1, "training__discriminator_steps": 1}
EVERYTHING: dict[str, dict[str, Any]] = {
    **{model: {} for model in models.entries},
    "infogan, all of it": {
        "infogan__consistency": 1.0,
        "infogan__prior": "learned",
        "data__warp": "rotate:0.2, scale:0.1, shear:0.2, height:0.1, elastic:0.04",
        "data__augment": "flip, shift:0.1, rotate:0.1, cutout:0.3, brightness:0.2, contrast:0.2",
        "optimizer__schedule": "linear",
    },
    "gan, penalised": {"loss__r1": 1.0, "loss__r2": 1.0, "loss__gradient_penalty": 1.0},
    "infogan, simultaneous": {"training__update": "simultaneous", "training__accumulate": 2},
    "infogan, skipping": {"training__on_nan": "skip"},
    "gan, skipping in fp16": {"training__on_nan": "skip", "training__precision": "fp16"},
    **{f"{model}, every term in every step": EVERY_TERM for model in ("sngan", "projection-gan", "wgan-gp")},
    "stylegan2, every term in every step": EVERY_TERM | {"stylegan2__path_length_interval": 1},
    "stylegan2-ada, every term in every step": EVERY_TERM | {"stylegan2_ada__path_length_interval": 1},
}


@contextmanager
def steps(name: str, device: str = "cpu", **settings: Any) -> Iterator[Any]:
    """A function that makes a step of the loop, at its second or later."""
    config = narrow_config(name.partition(",")[0], **{"training__device": device} | EVERYTHING[name] | settings)
    iterations = Iterations(new_state(config, pick_device(device)), open_dataset(config.data).train)
    next(iterations)
    yield iterations.__next__


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_step_reads_no_number(name: str) -> None:
    with steps(name) as step, Waits() as waits:
        step()
        step()
    assert waits.found == []


def test_the_watch_sees_what_waits() -> None:
    value = torch.ones(3)
    with Waits() as waits:
        value.sum().item()
        value[value > 0]
        bool(value.any())
    assert len(waits.found) == 3


@pytest.mark.gpu
@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_step_on_a_gpu_never_synchronises(name: str, precision: str) -> None:
    with steps(name, "cuda", training__precision=precision) as step:
        step()
        torch.cuda.set_sync_debug_mode("error")
        try:
            step()
            step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
