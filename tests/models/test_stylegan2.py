"""StyleGAN2's regularisers, style mixing, and the half-life of its moving average."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from narrow import Game, narrow_config, narrow_train, one_line
from torch import nn

from gan_zoo.config import Training
from gan_zoo.draws import Draws
from gan_zoo.errors import InputError
from gan_zoo.models.stylegan2.model import StyleGAN2
from gan_zoo.training.build import average_decay, new_state
from gan_zoo.trunks.stylegan2 import StyleGenerator

SMALL: dict[str, Any] = {"data__resolution": 8, "trunk__width": 2}


def game(**settings: Any) -> tuple[Game, StyleGAN2, StyleGenerator]:
    made = Game("stylegan2", **SMALL | settings)
    assert isinstance(made.model, StyleGAN2)
    assert isinstance(made.model.generator, StyleGenerator)
    return made, made.model, made.model.generator


def test_path_lengths_are_the_norms_of_jacobians_times_noise_images() -> None:
    _, model, generator = game()
    z = model.prior.sample(1, seed=0).input
    lengths = model.path_lengths(z, Draws(0, 0))
    w = generator.mapping(z)[:, None].expand(1, generator.synthesis.count, -1).detach()
    jacobian = torch.autograd.functional.jacobian(generator.synthesis, w).flatten(0, 3)[:, 0]  # [pixels, layers, w]
    random = Draws(0, 0)
    random.normal(1)  # the noise inputs
    y = random.normal(1, 64)[0] / 8
    slope = torch.einsum("p, plw -> lw", y, jacobian)
    torch.testing.assert_close(lengths[0].detach(), slope.square().sum(1).mean().sqrt())


def test_the_path_length_is_regularised_at_every_fourth_update_with_its_mean_kept() -> None:
    made, model, _ = game()
    for step in range(6):
        before = float(model.mean_path)
        objective = made.step(step)[-1]
        due = step in (0, 4)
        assert ("generator/path_length" in objective.terms) == due == (float(model.mean_path) != before)
        if due:
            length = float(objective.metrics["path_length"])
            assert float(model.mean_path) == pytest.approx(before + 0.01 * (length - before))
    lazy, eager = (game(stylegan2__path_length_interval=n)[0].step(0)[-1].terms for n in (4, 1))
    torch.testing.assert_close(lazy["generator/path_length"], 4 * eager["generator/path_length"])
    _, model, _ = game(training__discriminator_steps=3)
    assert [step for step in range(24) if model.phase(step) and (step + 1) % 3 == 0] == [2, 14]


def test_the_term_s_gradient_is_that_of_its_definition() -> None:
    _, model, generator = game()
    z, affine = model.prior.sample(3, seed=0).input, generator.synthesis.layers[0].affine.weight

    def term() -> torch.Tensor:
        return (model.path_lengths(z, Draws(0, 0)) - 0.1).square().mean()

    model.double()
    z = z.double()
    (slope,) = torch.autograd.grad(term(), affine)
    ends = []
    for change in (1e-5, -2e-5):
        affine.detach()[0, 0] += change
        ends.append(float(term().detach()))
    assert float(slope[0, 0]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4)


def test_a_step_passes_the_synthesis_once_and_for_path_lengths_half_a_batch_more() -> None:
    made, _, generator = game()
    rows: list[int] = []
    generator.synthesis.register_forward_hook(lambda _, inputs, __: rows.append(len(inputs[0])))
    for step, expected in ((0, [8, 4]), (1, [8])):
        rows.clear()
        made.step(step)
        assert rows == expected


def test_mixed_images_read_another_w_from_a_layer_on() -> None:
    made, model, generator = game(stylegan2__style_mixing=1.0)
    latents, seen = made.latents(), []
    generator.synthesis.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = model.training_images(latents, made.draws())
    own = generator.mapping(latents.input)
    (w,) = seen
    layers = [int((row == mine).all(1).sum()) for row, mine in zip(w, own, strict=True)]
    for row, mine, count in zip(w, own, layers, strict=True):
        assert 1 <= count < generator.synthesis.count
        assert (row[:count] == mine).all()
        assert (row[count:] == row[-1]).all()
    assert len(set(layers)) > 1
    part = model.training_images(made.latents(n=3, first_row=2), made.draws(first_row=2))
    torch.testing.assert_close(part, images[2:5])


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_the_share_of_mixed_images_and_the_other_noise(distribution: str) -> None:
    _, model, generator = game(latent__distribution=distribution, stylegan2__style_mixing=0.4)
    other, first_layer = model._mixing(4000, Draws(0, 0))
    mixed = first_layer[first_layer.isfinite()]
    assert len(mixed) / 4000 == pytest.approx(0.4, abs=0.03)
    assert set(mixed.tolist()) == set(range(1, generator.synthesis.count))
    assert float(other.square().mean()) == pytest.approx(model.prior.noise_variance, rel=0.05)


def test_without_both_it_is_the_gan_on_any_trunk() -> None:
    neither = {"stylegan2__path_length": 0.0, "stylegan2__style_mixing": 0.0}
    norms = {"trunk__generator_norm": "none", "trunk__discriminator_norm": "none"}
    assert set(Game("stylegan2", trunk__name="dcgan", **neither).step()[-1].terms) == {"generator/adversarial"}
    for either in neither:
        with pytest.raises(InputError) as error:
            Game("stylegan2", trunk__name="dcgan", **norms, **{k: v for k, v in neither.items() if k != either})
        assert "trunk dcgan has no mapping network, which stylegan2.path_length and stylegan2.style" in one_line(error)


def test_28_pixels_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        narrow_train("stylegan2", tmp_path / "run", data__resolution=28)
    assert "not 28×28; set data.resolution to 32" in one_line(error)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("model", ["stylegan2"])
def test_a_resumed_run_is_the_uninterrupted_one(model: str, tmp_path: Path) -> None:
    """Noise, mixing, the mean path length and the moving average included."""
    settings = SMALL | {"training__batch_size": 4, "training__ema_images": 30}
    whole = narrow_train(model, tmp_path / "whole", training__steps=7, logging__checkpoint_every=3, **settings)
    part = narrow_train(model, tmp_path / "rest", training__steps=3, **settings)
    part = narrow_train(None, part.folder, resume=True, training__steps=7)
    for name in ("model", "ema", "optimizer"):
        ends = [(run.checkpoint(7) / f"{name}.safetensors").read_bytes() for run in (whole, part)]
        assert ends[0] == ends[1]


def test_the_half_life_of_the_moving_average() -> None:
    assert average_decay(Training(ema=0.9)) == 0.9
    assert average_decay(Training(ema=0.0)) == 0.0
    decay = average_decay(Training(ema=0.0, ema_images=10_000, batch_size=25, discriminator_steps=4))
    assert decay ** (10_000 / 100) == pytest.approx(0.5)
    state = new_state(narrow_config("stylegan2", **SMALL, training__batch_size=64), torch.device("cpu"))
    assert state.ema is not None
    assert state.ema.decay == 0.5 ** (64 / 20_000)
    assert isinstance(state.model.discriminator.head, nn.Linear)
