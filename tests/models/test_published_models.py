"""What sets each published model apart from the plain GAN."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from narrow import Game, narrow_config, narrow_train, one_line
from torch.nn import functional as F
from torch.nn.utils.parametrize import is_parametrized

from gan_zoo.errors import InputError
from gan_zoo.models.acgan.model import ACGAN
from gan_zoo.training.build import new_state
from gan_zoo.training.precision import pick_device

WEIGHTED = (torch.nn.Linear, torch.nn.Conv2d)


def test_the_game_and_the_critic_s_turns_of_each_model_are_the_published_ones() -> None:
    found = {
        name: (c.loss.adversarial, c.loss.gradient_penalty, c.loss.r1, c.loss.r2, c.training.discriminator_steps)
        for name in ("gan", "dcgan", "lsgan", "wgan-gp", "sngan", "r3gan", "acgan", "projection-gan", "infogan")
        for c in [narrow_config(name)]
    }
    assert found == {
        "gan": ("non-saturating", 0, 0, 0, 1),
        "dcgan": ("non-saturating", 0, 0, 0, 1),
        "lsgan": ("least-squares", 0, 0, 0, 1),
        "wgan-gp": ("wasserstein", 10, 0, 0, 5),
        "sngan": ("hinge", 0, 0, 0, 5),
        "r3gan": ("relativistic", 0, 1, 1, 1),
        "acgan": ("non-saturating", 0, 0, 0, 1),
        "projection-gan": ("hinge", 0, 0, 0, 5),
        "infogan": ("non-saturating", 0, 0, 0, 1),
    }


def test_every_weight_of_sngan_s_discriminator_has_spectral_norm_one_and_none_of_its_generator_s() -> None:
    game = Game("sngan")
    for step in range(25):
        game.step(step, update_generator=False)
    layers = [m for m in game.model.discriminator.modules() if isinstance(m, WEIGHTED)]
    assert layers
    game.model.eval()
    for layer in layers:
        assert is_parametrized(layer, "weight")
        assert float(torch.linalg.matrix_norm(layer.weight.flatten(1), 2).detach()) == pytest.approx(1, abs=0.1)
    assert not any(is_parametrized(module) for module in game.model.generator.modules())


def test_five_critic_steps_are_made_for_one_of_the_generator(tmp_path: Path) -> None:
    run = narrow_train("wgan-gp", tmp_path, training__steps=12)
    turns = [line["step"] for line in run.metrics() if "generator/adversarial" in line]
    assert turns == [5, 10]
    assert all("discriminator/gradient_penalty" in line for line in run.metrics())


def test_wgan_gp_s_critic_mixes_no_images() -> None:
    game = Game("wgan-gp")
    images = torch.randn(6, 1, 28, 28)
    alone, together = game.model.discriminator(images[:1]), game.model.discriminator(images)
    torch.testing.assert_close(alone.logits, together.logits[:1])
    assert not any("BatchNorm" in type(m).__name__ for m in game.model.discriminator.modules())


def test_r3gan_normalises_nothing_and_pays_both_penalties() -> None:
    game = Game("r3gan")
    assert not any("Norm" in type(m).__name__ for m in game.model.modules())
    assert set(game.step()[0].terms) == {"discriminator/adversarial", "discriminator/r1", "discriminator/r2"}


def test_lazy_penalties_are_due_at_every_nth_step_with_n_times_the_weight() -> None:
    eager, lazy = Game("r3gan"), Game("r3gan", loss__penalty_interval=4)
    full, weighted = eager.step(0)[0].terms, lazy.step(0)[0].terms
    for name in ("discriminator/r1", "discriminator/r2"):
        torch.testing.assert_close(weighted[name], 4 * full[name])
    assert [set(lazy.step(step)[0].terms) == {"discriminator/adversarial"} for step in (1, 2, 3, 4)] == [
        True,
        True,
        True,
        False,
    ]


def test_acgan_s_class_terms_are_the_nll_of_the_label_for_reals_and_of_the_code_for_fakes() -> None:
    game = Game("acgan", acgan__class_weight=0.5)
    model = game.model
    assert isinstance(model, ACGAN)
    tensors = game.tensors()
    labels = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6])
    tensors = replace(tensors, labels=labels)
    asked = tensors.latents.codes[:, 0].long()
    of_real = F.cross_entropy(model.class_head(tensors.real.features), labels)
    of_fake = F.cross_entropy(model.class_head(tensors.fake.features), asked)
    objective = model.discriminator_objective(tensors)
    torch.testing.assert_close(objective.terms["discriminator/class"], 0.5 * (of_real + of_fake))
    torch.testing.assert_close(objective.metrics["class_nll/real"], of_real.detach())
    torch.testing.assert_close(objective.metrics["class_nll/fake"], of_fake.detach())
    generator = model.generator_objective(tensors)
    torch.testing.assert_close(generator.terms["generator/class"], 0.5 * of_fake)
    assert set(asked.tolist()) <= set(range(10))


def test_acgan_s_prior_has_a_class_for_each_of_the_data_s() -> None:
    model = Game("acgan").model
    (code,) = model.codes
    assert (code.name, code.kind, code.classes) == ("label", "categorical", 10)
    assert model.prior.width == 6 + 10
    assert code.entropy == pytest.approx(math.log(10))


def test_acgan_refuses_data_without_labels_in_one_line_and_makes_no_folder(tmp_path: Path) -> None:
    images = tmp_path / "grey.npy"
    np.save(images, np.zeros((16, 28, 28), np.uint8))
    with pytest.raises(InputError, match="acgan requires labels of 2 or more classes") as error:
        narrow_train("acgan", tmp_path / "run", training__steps=2, data=str(images))
    assert str(images) in one_line(error)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("classes", [0, 1])
def test_acgan_needs_two_classes(classes: int) -> None:
    with pytest.raises(InputError, match="acgan requires labels of 2 or more classes"):
        new_state(narrow_config("acgan", data__classes=classes), pick_device("cpu"))


def test_a_generator_without_codes_needs_noise() -> None:
    with pytest.raises(InputError, match=r"latent\.noise = 0"):
        Game("gan", latent__noise=0)
    assert Game("infogan", latent__noise=0).model.prior.width == 12
