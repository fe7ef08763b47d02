"""InfoGAN on the fused kernels: how often they are launched, and that its gradients are those of plain torch.

Launches are those of our kernels. The information term has about ten small operators of torch around them (sub,
mul, sum, neg and their backwards), which are not counted.
"""

from dataclasses import replace

import pytest
import torch
from gan_zoo_kernels.fused.launches import count_launches
from narrow import MIX, Game, narrow_config, narrow_train

from gan_zoo.training.build import build_model

STEPS = 31
TOLERANCE = 64 * torch.finfo(torch.float32).eps


def kernel_launches_of_the_information_term(codes, device, variance="learned"):
    model = build_model(narrow_config("infogan", infogan__codes=codes, infogan__variance=variance), device)
    latents = model.prior.sample(64, seed=0, device=device)
    features = model.discriminator.trunk(model.generator(latents.input)).detach().requires_grad_()
    with count_launches() as names:
        (-(model.weights * model.information(features, latents)).sum()).backward()
    return names


@pytest.mark.parametrize("codes", ["categorical:10", "categorical:10, uniform:2", MIX, "categorical:10x10"])
def test_the_information_term_launches_our_kernels_four_times_at_most_whatever_the_codes(codes, device, monkeypatch):
    monkeypatch.setenv("GAN_ZOO_KERNELS", "triton")
    names = kernel_launches_of_the_information_term(codes, device)
    assert 2 <= len(names) <= 4
    assert len(names) == len(kernel_launches_of_the_information_term("categorical:10", device))


def test_the_latents_of_a_step_are_one_launch_of_our_kernel(device, monkeypatch):
    monkeypatch.setenv("GAN_ZOO_KERNELS", "triton")
    model = build_model(narrow_config("infogan", infogan__codes=MIX), device)
    with count_launches() as names:
        model.prior.sample(64, seed=0, step=3, device=device)
    assert len(names) == 1


GAME = {
    "trunk__name": "mlp",
    "training__batch_size": 32,
    "infogan__codes": "categorical:5, uniform:1, bernoulli(0.3):1",
    "infogan__variance": "learned",
}


def gradients(game, step):
    """The gradient of each player's loss in its own parameters, as one row; no weight is changed."""
    tensors = game.tensors(step)
    losses = {
        "discriminator": game.model.discriminator_objective(tensors).loss,
        "generator": game.model.generator_objective(replace(tensors, real=tensors.real.detached)).loss,
    }
    found = {}
    for name, loss in losses.items():
        parameters = list(game.state.optimizers[name].parameters.values())
        found[name] = torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, retain_graph=True)])
    return found


@pytest.mark.slow
def test_along_a_game_through_the_kernels_every_gradient_is_that_of_the_reference(device, monkeypatch):
    """Both are taken at the weights of one game: two games drift apart once rounding turns the sign of an Adam step."""
    game = Game("infogan", device, **GAME)
    for step in range(STEPS):
        monkeypatch.setenv("GAN_ZOO_KERNELS", "triton")
        if step % 10 == 0:
            fused = gradients(game, step)
            monkeypatch.setenv("GAN_ZOO_KERNELS", "reference")
            for name, plain in gradients(game, step).items():
                assert (fused[name] - plain).abs().max() <= TOLERANCE * plain.abs().max(), (name, step)
            monkeypatch.setenv("GAN_ZOO_KERNELS", "triton")
        with count_launches() as names:
            game.step(step)
        assert names


def test_a_run_begins_with_the_same_losses_through_the_kernels_and_through_the_reference(tmp_path, device, monkeypatch):
    """Those of the first step, where the weights are equal. On a GPU a run's sampling stays free to use plain torch."""
    first = {}
    for path in ("triton" if device.type == "cpu" else "auto", "reference"):
        monkeypatch.setenv("GAN_ZOO_KERNELS", path)
        with count_launches() as names:
            run = narrow_train(
                "infogan",
                tmp_path / path,
                **GAME,
                training__steps=2,
                training__tf32=False,
                training__device=str(device),
            )
        assert bool(names) == (path != "reference")
        first[path] = {k: v for k, v in next(iter(run.metrics())).items() if k != "images_per_second"}
    fused, plain = first.values()
    assert fused == pytest.approx(plain, rel=TOLERANCE, abs=TOLERANCE)
