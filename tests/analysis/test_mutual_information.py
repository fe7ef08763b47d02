"""The bound on fresh samples."""

from __future__ import annotations

import math

import pytest
import torch
from narrow import Game, one_line

from gan_zoo.analysis.mutual_information import information
from gan_zoo.errors import InputError
from gan_zoo.models.gan.prior import SHOWN
from gan_zoo.models.infogan.model import InfoGAN


@pytest.fixture(scope="module")
def model() -> InfoGAN:
    made = Game("infogan", infogan__codes="categorical:5, uniform:1, bernoulli:1").model
    assert isinstance(made, InfoGAN)
    return made


def test_the_bound_is_the_models_on_samples_that_are_shown(model: InfoGAN) -> None:
    model.train()
    told = information(model, n=9, seed=3)
    assert model.training
    model.eval()
    latents = model.prior.sample(9, seed=3, stream=SHOWN)
    with torch.no_grad():
        expected = model.information(model.discriminator.trunk(model.generate(latents)), latents)
    assert [told[code.name] for code in model.codes] == pytest.approx(expected.tolist(), abs=1e-5)


def test_entropies_stand_beside_the_bounds(model: InfoGAN) -> None:
    told = information(model, n=2)
    assert told["c1/entropy"] == pytest.approx(math.log(5))
    assert told["c3/entropy"] == pytest.approx(math.log(2))
    assert "c2/entropy" not in told  # no maximum of a continuous code
    assert told["c1"] <= told["c1/entropy"]


def test_batches_are_parts_of_one_draw(model: InfoGAN) -> None:
    whole, parts = information(model, n=7), information(model, n=7, batch_size=3)
    assert parts == pytest.approx(whole, abs=1e-5)
    assert information(model, n=7, seed=1)["c1"] != pytest.approx(whole["c1"], abs=1e-6)


def test_a_model_without_the_term_is_refused() -> None:
    with pytest.raises(InputError) as error:
        information(Game("acgan").model, n=2)
    assert "acgan" in one_line(error)


def test_a_learned_prior_s_bound_stands_beside_its_own_entropy() -> None:
    made = Game("infogan", infogan__codes="categorical:5", infogan__prior="learned").model
    assert isinstance(made, InfoGAN) and made.learned is not None
    made.learned.logits["c1"].data.copy_(torch.tensor([5.0, 0, 0, 0, 0]))
    told = information(made, n=4)
    p = made.learned.probabilities()["c1"].detach()
    assert told["c1/entropy"] == pytest.approx(float(-(p * p.log()).sum()), abs=1e-6)
    assert told["c1/entropy"] < 1
