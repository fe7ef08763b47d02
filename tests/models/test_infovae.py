"""InfoVAE: the bound, its gradients, and the codes in it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from narrow import MIX, Game, narrow_config, narrow_train, one_line
from torch.distributions import Normal, kl_divergence

from gan_zoo.errors import InputError
from gan_zoo.models.infovae.model import Encoded, InfoVAE
from gan_zoo.registry import models


def game(**settings: object) -> tuple[Game, InfoVAE]:
    game = Game("infovae", trunk__name="mlp", **settings)
    assert isinstance(game.model, InfoVAE)
    return game, game.model


def test_the_divergence_is_that_of_normal_distributions() -> None:
    mean, log_variance = torch.randn(2, 5, 7).double()
    exact = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(Encoded(mean, log_variance).divergence(), exact)


def test_the_bound_is_the_density_of_the_image_given_its_code_and_the_divergence() -> None:
    """With σ and β, up to the constant of the density; q(z | x) is narrowed to its mean."""
    game_, model = game(infovae__deviation=0.4, infovae__beta=2.0)
    with torch.no_grad():
        model.posterior.weight.zero_()
        model.posterior.bias.copy_(torch.cat([torch.linspace(-1, 1, 6), torch.full((6,), -60.0)]))
    step = game_.tensors()
    bound = model.game_terms("discriminator", step)
    z = torch.linspace(-1, 1, 6).expand(8, 6)
    decoded = model.generator(model.prior.compose(z, model.codes_read(step.real.features)).input)
    exact = -Normal(decoded, 0.4).log_prob(step.real.images) + Normal(torch.zeros(()), 0.4).log_prob(torch.zeros(()))
    torch.testing.assert_close(bound["discriminator/reconstruction"], exact.mean())
    torch.testing.assert_close(
        bound["discriminator/divergence"], 2.0 * model.encoded(step.real.features).divergence() / 784
    )


def test_uniform_noise_is_decoded_from_within_its_range() -> None:
    game_, model = game(latent__distribution="uniform")
    with torch.no_grad():
        model.posterior.weight.zero_()
        model.posterior.bias.zero_()  # q(z | x) is p(z): what is decoded is uniform
    seen = []
    model.generator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, :6]))
    for k in range(400):
        model.game_terms("generator", game_.tensors(k))
    noise = torch.stack(seen[1::2])  # after each step's fakes
    assert noise.abs().max() <= 1
    torch.testing.assert_close(noise.square().mean(), torch.tensor(1 / 3), atol=0.01, rtol=0)
    torch.testing.assert_close((noise.abs() > 0.9).float().mean(), torch.tensor(0.1), atol=0.01, rtol=0)


def test_a_real_image_is_decoded_with_its_most_likely_code() -> None:
    game_, model = game(infovae__codes=MIX)
    model.eval()
    real = game_.tensors().real
    codes, read = model.codes_read(real.features), model.encode(real.images)
    assert not codes.requires_grad
    assert torch.equal(codes[:, 0], read["c1"].argmax(1).float())
    torch.testing.assert_close(codes[:, 1], read["c2"].mean)
    assert torch.equal(codes[:, -1], (read[model.codes[-1].name] > 0.5).float())
    seen = []
    model.generator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    step = game_.tensors()
    model.game_terms("generator", step)
    assert torch.equal(seen[-1][:, 6:11].argmax(1), read["c1"].argmax(1))


def test_each_player_gets_the_gradient_of_the_whole_bound() -> None:
    game_, model = game()
    objectives = game_.step()
    d, g = ({name.partition("/")[2] for name in objective.terms} for objective in objectives)
    assert d == {"reconstruction", "divergence", "information"} and g == {"reconstruction", "information"}
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    game_.step(1)
    still = {name for name, p in model.named_parameters() if torch.equal(p, before[name])}
    assert still == {"discriminator.head.weight", "discriminator.head.bias"}


def test_the_bound_rises_and_the_code_is_read_back(tmp_path: Path) -> None:
    run = narrow_train(
        "infovae", tmp_path, trunk__name="mlp", trunk__width=16, training__steps=150, training__batch_size=32
    )
    first, last = run.metrics()[0], run.metrics()[-1]
    assert last["discriminator/reconstruction"] < 0.5 * first["discriminator/reconstruction"]
    assert last["mi/c1"] > 1.5


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"latent__noise": 0}, "latent.noise = 0: model infovae encodes images as noise"),
        ({"loss__r1": 1.0}, "loss.r1 = 1 penalises an adversarial loss, and model infovae has none"),
        ({"loss__gradient_penalty": 10.0, "trunk__discriminator_norm": "none"}, "loss.gradient_penalty = 10 penalises"),
    ],
)
def test_what_a_vae_cannot_use_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as refused:
        models.get("infovae")(narrow_config("infovae", **settings))
    assert words in one_line(refused)


def test_an_adversarial_loss_that_was_chosen_is_reported() -> None:
    assert "loss.adversarial = 'hinge' is not used: model infovae has no adversarial loss" in (
        game(loss__adversarial="hinge")[1].notes()
    )
    assert not game()[1].notes()
