"""The prior: widths, one-hots, distributions, and latents as a function of seed, step and row."""

from __future__ import annotations

import pytest
import torch
from narrow import MIX

from gan_zoo.models.gan.codes import parse_codes
from gan_zoo.models.gan.prior import Prior
from gan_zoo.resolve import presets, resolve


@pytest.fixture
def prior() -> Prior:
    return Prior(6, "normal", parse_codes(MIX))


def test_the_input_is_as_wide_as_noise_and_codes_together(prior: Prior) -> None:
    latents = prior.sample(3, seed=0)
    assert prior.width == 6 + 5 + 1 + 3 + 3 + 2 + 2
    assert latents.input.shape == (3, prior.width)
    assert latents.codes.shape == (3, 8)


@pytest.mark.parametrize(
    ("preset", "width"),
    [("mnist", 74), ("svhn", 168), ("celeba-64", 228), ("chairs-64", 189), ("faces-32", 133)],
)
def test_the_paper_s_latents_have_the_paper_s_widths(preset: str, width: int) -> None:
    assert preset in presets()
    config = resolve("infogan", preset)
    codes = parse_codes(config.infogan.codes)  # type: ignore[attr-defined]
    assert Prior(config.latent.noise, config.latent.distribution, codes).width == width


def test_a_categorical_code_is_one_hot_at_its_class(prior: Prior) -> None:
    latents = prior.sample(200, seed=1)
    one_hot = latents.input[:, 6:11]
    assert torch.equal(one_hot.sum(1), torch.ones(200))
    assert torch.equal(one_hot.argmax(1), latents.codes[:, 0].long())
    assert set(latents.codes[:, 0].tolist()) == {0, 1, 2, 3, 4}


def test_other_codes_stand_in_the_input_as_they_are(prior: Prior) -> None:
    latents = prior.sample(50, seed=1)
    assert torch.equal(latents.input[:, 11], latents.codes[:, 1])
    assert torch.equal(latents.input[:, 18:], latents.codes[:, 4:])


def test_codes_follow_their_distributions() -> None:
    codes = Prior(0, "normal", parse_codes("uniform:1, gaussian:1, bernoulli(0.3):1")).sample(20000, seed=0).codes
    uniform, gaussian, bernoulli = codes.unbind(1)
    assert uniform.abs().max() <= 1
    assert uniform.std() == pytest.approx(3**-0.5, abs=0.01)
    assert (gaussian.mean(), gaussian.std()) == pytest.approx((0, 1), abs=0.03)
    assert bernoulli.mean() == pytest.approx(0.3, abs=0.015)
    assert set(bernoulli.tolist()) == {0.0, 1.0}


def test_noise_is_normal_or_uniform_as_asked() -> None:
    normal = Prior(8, "normal").sample(4000, seed=0).input
    uniform = Prior(8, "uniform").sample(4000, seed=0).input
    assert normal.abs().max() > 3
    assert normal.std() == pytest.approx(1, abs=0.02)
    assert uniform.abs().max() <= 1
    assert uniform.std() == pytest.approx(3**-0.5, abs=0.01)


def test_the_same_seed_and_step_give_the_same_latents_and_others_give_others(prior: Prior) -> None:
    first, again = prior.sample(8, seed=3, step=5), prior.sample(8, seed=3, step=5)
    assert torch.equal(first.input, again.input)
    assert torch.equal(first.codes, again.codes)
    for other in ({"seed": 4, "step": 5}, {"seed": 3, "step": 6}, {"seed": 3, "step": 5, "stream": 1}):
        assert not torch.equal(first.input, prior.sample(8, **other).input)


def test_global_random_numbers_are_neither_used_nor_moved(prior: Prior) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    prior.sample(8, seed=1)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(("first", "n"), [(0, 4), (4, 4), (3, 7), (11, 1)])
def test_a_slice_of_rows_is_that_slice_of_the_large_batch(prior: Prior, first: int, n: int) -> None:
    whole = prior.sample(12, seed=2, step=9)
    part = prior.sample(n, seed=2, step=9, first_row=first)
    assert torch.equal(part.input, whole.input[first : first + n])
    assert torch.equal(part.codes, whole.codes[first : first + n])


def test_composing_noise_and_values_gives_back_what_was_drawn(prior: Prior) -> None:
    drawn = prior.sample(16, seed=0)
    composed = prior.compose(drawn.input[:, :6], drawn.codes)
    assert torch.equal(composed.input, drawn.input)


def test_chunks_are_the_batch_in_order(prior: Prior) -> None:
    drawn = prior.sample(12, seed=0)
    parts = drawn.chunk(3)
    assert [len(part.input) for part in parts] == [4, 4, 4]
    assert torch.equal(torch.cat([part.input for part in parts]), drawn.input)
    assert torch.equal(torch.cat([part.codes for part in parts]), drawn.codes)


def test_a_traversal_varies_one_code_and_holds_everything_else(prior: Prior) -> None:
    code = prior.codes[1]
    values = code.traversal(5)
    latents = prior.traverse(code, values, 3, seed=7)
    rows = latents.input.unflatten(0, (3, 5))
    column = 6 + 5
    assert torch.allclose(rows[:, :, column], torch.tensor(values).expand(3, 5))
    held = [k for k in range(prior.width) if k != column]
    assert torch.equal(rows[:, :, held], rows[:, :1, held].expand(3, 5, len(held)))
    assert not torch.equal(rows[0, 0, held], rows[1, 0, held])
    assert torch.equal(latents.codes[:, 1], torch.tensor(values).repeat(3))
