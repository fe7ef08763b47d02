"""Every command on an InfoGAN of trunk stylegan2, whose images and codes are functions of their own input alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commandline import zoo
from narrow import narrow_train
from torch import nn

import gan_zoo
from gan_zoo.explore.view import View
from gan_zoo.models.infogan.model import InfoGAN
from gan_zoo.training.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two steps, with codes in z."""
    return narrow_train(
        "infogan", tmp_path_factory.mktemp("stylegan2") / "run", trunk__name="stylegan2", data__resolution=8,
        trunk__width=2, training__steps=2, infogan__codes="categorical:3, uniform:1", training__batch_size=8,
    )  # fmt: skip


@pytest.fixture(scope="module")
def model(run: Run) -> InfoGAN:
    loaded = run.load()
    assert isinstance(loaded, InfoGAN)
    return loaded


def test_images_and_codes_are_functions_of_their_own_input(model: InfoGAN) -> None:
    nn.init.ones_(model.generator.synthesis.noise.strength)  # type: ignore[union-attr, arg-type]
    images = model.sample(6, seed=1)
    assert images.abs().max() <= 1
    assert torch.equal(model.sample(6, seed=1), images)
    torch.testing.assert_close(model.sample(2, seed=1), images[:2])
    told = model.encode(images)["c2"].mean  # type: ignore[union-attr]
    torch.testing.assert_close(model.encode(images[:1])["c2"].mean, told[:1])  # type: ignore[union-attr]
    assert float(model.discriminator.trunk.to_map[-3].mean) > 0, "the statistic that was measured at the checkpoint"  # type: ignore[index]


def test_codes_enter_the_mapping_network(model: InfoGAN) -> None:
    generator: Any = model.generator
    latents = model.prior.sample(1, seed=0)
    other = model.prior.with_codes(latents, {"c1": 2.0 if latents.codes[0, 0] != 2 else 1.0})
    assert generator.mapping[0].in_features == model.prior.width
    assert not torch.equal(generator.mapping(latents.input), generator.mapping(other.input))


COMMANDS: dict[str, tuple[object, ...]] = {
    "sample": ("sample", "RUN", "-n", "4", "--out", "OUT/samples.png"),
    "traverse": ("traverse", "RUN", "--code", "c1", "--out", "OUT/traversal.png"),
    "encode": ("encode", "RUN", "--out", "OUT/codes.csv"),
    "evaluate": ("evaluate", "RUN", "--metrics", "information"),
    "invert": ("edit", "RUN", "OUT/one.png", "--codes", "c1=1", "--steps", "3", "--out", "OUT/edited.png"),
    "export": ("export", "RUN", "--out", "OUT/export"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_works(name: str, run: Run, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "one.png")
    words = [str(word).replace("RUN", str(run.folder)).replace("OUT", str(tmp_path)) for word in COMMANDS[name]]
    ended = zoo(*words)
    assert ended.code == 0, ended.err
    if name == "export":
        assert torch.equal(gan_zoo.load(tmp_path / "export").sample(3, seed=2), run.load().sample(3, seed=2))


def test_the_page_shows_its_images(run: Run) -> None:
    view = View(run.folder)
    assert view.image([1, 0.5], 0).size[0] >= 8


@pytest.mark.slow
def test_onnx_agrees_with_torch(run: Run, tmp_path: Path) -> None:
    """The exporter, too, gets the fixed noise."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    ended = zoo("export", run.folder, "--out", tmp_path / "out", "--onnx")
    assert ended.code == 0, ended.err
    assert ended.err.count("differs from torch by at most") == 2


def test_it_fine_tunes_from_its_own_weights(run: Run, tmp_path: Path) -> None:
    ended = zoo(
        "train", "--from", run.folder, "--data.resolution", "8", "--trunk.freeze-d", "1", "--steps", "1",
        "--batch-size", "4", "--device", "cpu", "--out", tmp_path / "tuned",
    )  # fmt: skip
    assert ended.code == 0, ended.err
