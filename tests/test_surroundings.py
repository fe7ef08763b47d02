"""Models and trainings in programs that have torch otherwise than it starts, that copy models, or that pickle them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch
from narrow import narrow_train, same_bytes

import gan_zoo
from gan_zoo.models.gan.model import GAN
from gan_zoo.registry import models
from gan_zoo.training.run import Run

SETTINGS = {"training__steps": 2, "trunk__name": "mlp"}


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device(device: str) -> Iterator[None]:
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return narrow_train("infogan", tmp_path_factory.mktemp("plain") / "run", **SETTINGS)


AROUND: dict[str, AbstractContextManager[object]] = {
    "no_grad": torch.no_grad(),
    "inference_mode": torch.inference_mode(),
    "float64": default_dtype(torch.float64),
    "default device": default_device("meta"),
    "device": torch.device("meta"),
    "autocast": torch.autocast("cpu", torch.bfloat16),
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_a_training_is_the_same_whatever_is_set_around_it(
    around: AbstractContextManager[object], plain: Run, tmp_path: Path
) -> None:
    with around:
        before = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_default_device()
        run = narrow_train("infogan", tmp_path / "run", **SETTINGS)
        assert (torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_default_device()) == before
        created = gan_zoo.create("infogan", {}, trunk={"name": "mlp", "width": 4}, resolution=8, channels=1, classes=0)
        loaded = gan_zoo.load(run.folder)
    assert same_bytes(run.checkpoint(2), plain.checkpoint(2))
    for parameter in (*created.parameters(), *loaded.parameters()):
        assert (parameter.dtype, parameter.device.type) == (torch.float32, "cpu")
        assert not parameter.is_inference()


def small(model: str) -> GAN:
    return gan_zoo.create(model, {}, trunk={"width": 2}, resolution=32, channels=1, classes=2).eval()


@pytest.mark.parametrize("model", models.entries)
def test_a_model_can_be_copied_and_pickled(model: str) -> None:
    made = small(model)
    copied = copy.deepcopy(made)
    assert torch.equal(copied.sample(2), made.sample(2))
    if made.config.trunk.spectral_norm:
        with pytest.raises(RuntimeError, match="parametrized modules is only supported through state_dict"):
            pickle.dumps(made)
        return
    found = pickle.loads(pickle.dumps(made))
    assert type(found) is type(made)
    assert (found.config, type(found.config)) == (made.config, type(made.config))
    assert torch.equal(found.sample(2), made.sample(2))
    assert pickle.loads(pickle.dumps(made.config)) == made.config
