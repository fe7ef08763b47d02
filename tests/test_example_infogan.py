"""The example in one file minimises what the package minimises, and learns the digits."""

from __future__ import annotations

import importlib.util
import math
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch
from narrow import Game, digits
from PIL import Image

from gan_zoo.models.infogan.model import InfoGAN

FILE = Path(__file__).parents[1] / "examples/infogan.py"
WARP = "rotate:0.2, scale:0.1, shift:0.05, shear:0.4, height:0.2, elastic:0.04"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_infogan", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_its_first_steps_have_the_losses_of_the_package(example: ModuleType) -> None:
    game = Game(
        "infogan", trunk__name="infogan-mnist", trunk__width=32, training__batch_size=16, data__warp=WARP,
        infogan__codes="categorical:10, uniform:2@0.6", infogan__consistency=1.0, latent__noise=62,
    )  # fmt: skip
    assert isinstance(game.model, InfoGAN)
    generator, discriminator = example.make_generator(), example.Discriminator()
    ours = game.model.generator, game.model.discriminator, game.model.q
    theirs = [*generator.parameters(), *discriminator.parameters()]
    for own, weight in zip((w for network in ours for w in network.parameters()), theirs, strict=True):
        weight.data.copy_(own)
    optimizers = [
        torch.optim.Adam(network.parameters(), lr=lr, betas=(0.5, 0.999))
        for network, lr in ((generator, 1e-3), (discriminator, 2e-4))
    ]
    for step in range(3):
        batch, latents = digits(16, seed=step), game.latents(step)
        (warped,) = game.model.additional_images(batch.images, latents, game.draws(step))
        codes = latents.codes[:, 0].long(), latents.codes[:, 1:]
        found = example.step(generator, discriminator, *optimizers, batch.images, warped, latents.input, codes)
        before = game.model.q.variances.clone()
        of_d, of_g = game.step(step)
        after = game.model.q.variances
        for bounds, objective, variances in ((found[2], of_d, before), (None, of_g, after)):
            name = "discriminator" if bounds else "generator"
            # the package's term has the constants of a Gaussian, and its bound the running variance
            constants = 0.6 * (variances[1:] * (math.log(2) - 0.5 * (2 * math.pi * variances[1:]).log())).sum()
            theirs = objective.loss + constants + math.log(10)
            ours = found[0 if bounds else 1]
            assert ours == pytest.approx(float(theirs.detach()), abs=1e-4 if step < 2 else 2e-2), name  # rounding grows
        assert found[2][0] == pytest.approx(float(of_d.metrics["mi/c1"]), abs=1e-4 if step < 2 else 2e-2)
        errors = (after - 0.98 * before) / 0.02
        best = math.log(2) - 0.5 * (2 * math.pi * math.e * errors[1:]).log()
        torch.testing.assert_close(torch.tensor(found[2][1:]), best, atol=1e-3 if step < 2 else 5e-2, rtol=0)


def test_its_warps_are_spread_as_the_package_s(example: ModuleType) -> None:
    game, rows = Game("infogan", data__warp=WARP, infogan__consistency=1.0), 4000
    x, y = torch.meshgrid(torch.linspace(-1, 1, 28), torch.linspace(-1, 1, 28), indexing="xy")
    image = (torch.exp(-8 * ((x - 0.5) ** 2 + (y + 0.3) ** 2)) * 2 - 1).expand(rows, 1, 28, 28)
    assert isinstance(game.model, InfoGAN)
    torch.manual_seed(0)
    one, other = example.warp(image), game.model.warp(image, game.draws())
    for moment in (torch.mean, torch.std):
        torch.testing.assert_close(moment(one, 0), moment(other, 0), atol=0.05, rtol=0)
    assert float((one - image).abs().mean()) > 0.05


def test_it_runs_by_itself(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(example, "BATCH", 8)
    monkeypatch.chdir(tmp_path)
    example.main(2)
    assert re.match(r"Q is right on 0\.\d{3} of the digits held back; infogan\.png", capsys.readouterr().out)
    assert Image.open("infogan.png").size == (280, 224)
    assert len(FILE.read_text().splitlines()) <= 150
    assert not re.search(r"^\s*(import|from) gan_zoo", FILE.read_text(), re.M)


@pytest.mark.slow
def test_it_learns_the_digits(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    example.main()
    said = capsys.readouterr().out.splitlines()[-1]
    assert float(said.split()[4]) > 0.94
