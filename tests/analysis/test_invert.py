"""Inversion: latents of given images are found, within the prior's range, whatever else is in the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from narrow import MIX, Game, one_line
from torch import Tensor

import gan_zoo
from gan_zoo import registry
from gan_zoo.analysis import invert as inverting
from gan_zoo.analysis.invert import invert, starting_codes
from gan_zoo.errors import InputError
from gan_zoo.models.gan import model as models
from gan_zoo.models.gan.model import GAN
from gan_zoo.models.gan.prior import SHOWN, Latents
from gan_zoo.models.infogan.q_head import Gaussian


def made(model: str = "infogan", **settings: Any) -> GAN:
    """An untrained model whose generator's images differ as much as a trained one's."""
    model = Game(model, trunk__name="mlp", trunk__width=16, **settings).model.eval()
    with torch.no_grad():
        for weight in model.generator.parameters():
            weight.mul_(4)
    return model


def drawn(model: GAN, n: int) -> tuple[Latents, Tensor]:
    """Latents and images that no start of `invert` is equal to."""
    latents = model.prior.sample(n, seed=123, stream=SHOWN)
    return latents, model.generate(latents)


def error(a: Tensor, b: Tensor) -> Tensor:
    return 127.5 * (a - b).flatten(1).square().mean(1).sqrt()


@pytest.fixture(scope="module")
def infogan() -> GAN:
    return made(infogan__codes=MIX)


def knows(model: GAN, latents: Latents, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Q read the true codes."""

    def encode(images: Tensor) -> dict[str, Any]:
        values = {code.name: column for code, column in zip(model.codes, latents.codes.unbind(1), strict=True)}
        return {
            code.name: torch.nn.functional.one_hot(values[code.name].long(), code.classes).float()
            if code.kind == "categorical"
            else values[code.name]
            if code.kind == "bernoulli"
            else Gaussian(values[code.name], torch.zeros(len(images)))
            for code in model.codes
        }

    monkeypatch.setattr(model, "encode", encode)


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_the_latents_of_a_generated_image_are_found_again(distribution: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(infogan__codes="categorical:3, uniform:1", latent__distribution=distribution)
    latents, images = drawn(model, 6)
    latents = model.prior.with_codes(latents, {"c1": [0, 1, 2, 0, 1, 2]})
    images = model.generate(latents)
    knows(model, latents, monkeypatch)
    found = invert(model, images, steps=200)
    others = error(images, images.roll(1, 0))
    assert found.rmse.max() < 0.05 * others.min()
    noise = slice(0, model.prior.noise)
    assert (found.latents.input[:, noise] - latents.input[:, noise]).abs().max() < 0.2
    assert torch.allclose(found.latents.codes, latents.codes)


def test_the_error_is_that_of_the_images_the_latents_give(infogan: GAN) -> None:
    _, images = drawn(infogan, 3)
    found = invert(infogan, images, steps=5)
    assert found.images.shape == images.shape
    assert torch.equal(found.images, infogan.generate(found.latents))
    assert torch.allclose(found.rmse, error(found.images, images))
    assert found.rmse.min() > 1, "five steps do not find them"
    assert (invert(infogan, images, steps=50).rmse < found.rmse).all()


def test_the_seed_decides_the_result(infogan: GAN) -> None:
    _, images = drawn(infogan, 2)
    one, again, other = (invert(infogan, images, steps=4, seed=seed).latents for seed in (3, 3, 4))
    assert torch.equal(one.input, again.input)
    assert torch.equal(one.codes, again.codes)
    assert not torch.allclose(one.input, other.input)


def test_an_image_is_inverted_as_it_is_alone(infogan: GAN) -> None:
    _, images = drawn(infogan, 3)
    together, alone = invert(infogan, images, steps=8), invert(infogan, images[2:], steps=8)
    assert torch.allclose(together.latents.input[2:], alone.latents.input, atol=1e-3)
    assert torch.allclose(together.rmse[2:], alone.rmse, rtol=1e-3)


def test_passes_have_a_bounded_number_of_rows(monkeypatch: pytest.MonkeyPatch, infogan: GAN) -> None:
    _, images = drawn(infogan, 7)
    whole = invert(infogan, images, steps=6)
    rows: list[int] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
        for module in (infogan.generator, infogan.discriminator.trunk)
    ]
    monkeypatch.setattr(models, "MAX_IMAGES_AT_ONCE", 8)
    parts = invert(infogan, images, steps=6)
    for hook in hooks:
        hook.remove()
    assert max(rows) == 8
    assert torch.allclose(parts.latents.input, whole.latents.input, atol=1e-3)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_stays_as_it_was(infogan: GAN, training: bool) -> None:
    infogan.train(training)
    before = {name: value.clone() for name, value in infogan.state_dict().items()}
    modes: list[bool] = []
    hook = infogan.generator.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    invert(infogan, torch.zeros(2, 1, 28, 28), steps=3, codes=True)
    hook.remove()
    assert modes and not any(modes)
    assert all(module.training is training for module in infogan.modules())
    assert all(torch.equal(value, before[name]) for name, value in infogan.state_dict().items())
    assert all(weight.grad is None and weight.requires_grad for weight in infogan.parameters())
    infogan.eval()


@pytest.mark.parametrize(("distribution", "radius"), [("uniform", 6**0.5), ("normal", 6**0.5 + 1)])
def test_noise_stays_where_the_priors_samples_are(
    distribution: str, radius: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inverting, "LEARNING_RATE", 2.0)
    model = made(latent__distribution=distribution)
    noise = invert(model, torch.full((2, 1, 28, 28), 0.9), steps=20).latents.input[:, : model.prior.noise]
    norm = noise.norm(dim=1)
    assert norm.max() <= radius + 1e-4
    assert noise.abs().max() == 1 if distribution == "uniform" else torch.isclose(norm.max(), torch.tensor(radius))


def test_noise_in_the_region_is_not_moved() -> None:
    for distribution in ("uniform", "normal"):
        prior = made("gan", latent__distribution=distribution, latent__noise=50).prior
        noise = prior.sample(500, seed=1).input
        kept = (prior.within(noise) == noise).all(1).float().mean()
        assert kept == 1 if distribution == "uniform" else 0.88 < kept < 0.97
        assert torch.equal(prior.within(torch.zeros(2, 50)), torch.zeros(2, 50))


def test_continuous_codes_are_optimised_only_on_request(infogan: GAN) -> None:
    images = torch.full((2, 1, 28, 28), 0.9)
    read, moved = (invert(infogan, images, steps=20, codes=codes, starts=1).latents.codes for codes in (False, True))
    continuous = [k for k, code in enumerate(infogan.codes) if not code.discrete]
    discrete = [k for k, code in enumerate(infogan.codes) if code.discrete]
    assert torch.equal(moved[:, discrete], read[:, discrete])
    assert ((moved - read).abs()[:, continuous].amax(1) > 0.1).all()
    for k in continuous:
        low, high = infogan.codes[k].traversal(2)
        assert low <= moved[:, k].min() and moved[:, k].max() <= high


def test_starts_have_qs_codes_and_one_the_second_most_likely(infogan: GAN, monkeypatch: pytest.MonkeyPatch) -> None:
    sure, unsure = torch.eye(5)[2], torch.tensor([0.0, 0.6, 0.0, 0.39, 0.01])
    third = torch.eye(3)[1].expand(2, 3)
    far = Gaussian(torch.tensor([5.0, -0.25]), torch.zeros(2))
    read = {"c1": torch.stack([sure, unsure]), "c2": far, "c3": third, "c4": third, "c5": far, "c6": far}
    read |= {"c7": torch.tensor([0.9, 0.005]), "c8": torch.tensor([0.1, 0.999])}
    monkeypatch.setattr(infogan, "encode", lambda images: read)
    codes = starting_codes(infogan, torch.zeros(2, 1, 28, 28), torch.zeros(3, 8)).reshape(2, 3, 8)
    assert codes[0].tolist() == [[2, 1, 1, 1, 2, 2, 1, 0], [2, 1, 1, 1, 2, 2, 1, 0], [2, 1, 1, 1, 2, 2, 0, 1]]
    assert codes[1, :, 0].tolist() == [1, 1, 3]
    assert codes[1, :, [1, 4, 6, 7]].tolist() == [[-0.25, -0.25, 0, 1]] * 3


def test_a_model_that_reads_no_codes_starts_from_drawn_ones(infogan: GAN, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = made("gan")
    _, images = drawn(plain, 2)
    found = invert(plain, images, steps=200)
    assert found.rmse.max() < 0.05 * error(images, images.roll(1, 0)).min()
    assert found.latents.codes.shape == (2, 0)
    monkeypatch.setattr(infogan, "encode", lambda images: {"c1": torch.eye(5)[[1, 1]]})  # as of a label that none reads
    seen = infogan.prior.sample(4, seed=0, stream=SHOWN).codes
    codes = starting_codes(infogan, torch.zeros(2, 1, 28, 28), seen).reshape(2, 4, 8)
    assert torch.equal(codes[..., 1:], seen[:, 1:].expand(2, 4, 7))
    assert codes[..., 0].unique().tolist() == [1]


@pytest.mark.parametrize("name", registry.models.entries)
def test_every_model_is_inverted(name: str) -> None:
    model = Game(name, trunk__width=2).model
    _, images = drawn(model, 2)
    found = invert(model, images, steps=3, codes=True)
    assert found.latents.input.shape == (2, model.prior.width)
    assert found.rmse.isfinite().all()
    assert torch.equal(found.images, model.generate(found.latents))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_models_in_half_precision_are_inverted(dtype: torch.dtype) -> None:
    model = made("gan")
    _, images = drawn(model, 3)
    found = invert(model.to(dtype), images, steps=100)
    assert found.images.dtype == found.latents.input.dtype == torch.float32
    assert found.rmse.max() < 0.2 * error(images, images.roll(1, 0)).min()


def test_models_without_noise_are_inverted_by_their_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(latent__noise=0, infogan__codes="uniform:4")
    _, images = drawn(model, 2)
    assert invert(model, images, steps=2).latents.input.shape == (2, 4)
    assert invert(model, images, steps=200, codes=True).rmse.max() < 0.1 * error(images, images.roll(1, 0)).min()


def test_progress_counts_the_steps_of_all_batches(infogan: GAN, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "MAX_IMAGES_AT_ONCE", 8)
    calls: list[tuple[int, int]] = []
    invert(infogan, torch.zeros(5, 1, 28, 28), steps=2, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(k + 1, 6) for k in range(6)]


def test_numpy_and_one_step_are_accepted(infogan: GAN) -> None:
    found = gan_zoo.invert(infogan, np.zeros((1, 1, 28, 28), np.float32), steps=1, starts=1)
    assert found.latents.input.shape == (1, infogan.prior.width)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"images": torch.zeros(1, 1, 14, 14)}, "images must be floats [n, 1, 28, 28]"),
        ({"images": torch.zeros(1, 1, 28, 28, dtype=torch.uint8)}, "images / 127.5 - 1"),
        ({"images": torch.zeros(0, 1, 28, 28)}, "no images"),
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"starts": -1}, "starts must be at least 1, not -1"),
    ],
)
def test_what_is_refused(infogan: GAN, arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as refused:
        invert(infogan, **({"images": torch.zeros(1, 1, 28, 28)} | arguments))
    assert told in one_line(refused)


@pytest.mark.parametrize("weight", ["FEATURES", "TYPICAL"])
def test_a_greater_weight_makes_a_term_smaller(infogan: GAN, weight: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images = drawn(infogan, 2)[1]
    terms = []
    for value in (0.0, 10.0):
        monkeypatch.setattr(inverting, weight, value)
        found = invert(infogan, images, steps=30)
        with torch.no_grad():
            features = [infogan.discriminator.trunk(x) for x in (found.images, images)]
        of_weight = {
            "FEATURES": (features[0] - features[1]).square().sum(1),
            "TYPICAL": found.latents.input[:, : infogan.prior.noise].square().sum(1),
        }
        terms.append(of_weight[weight])
    assert (terms[1] < 0.9 * terms[0]).all()


def test_the_best_start_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made("gan")
    _, images = drawn(model, 4)
    monkeypatch.setattr(inverting, "SEARCH", 0.0)  # the choice comes before the first step
    monkeypatch.setattr(inverting, "LEARNING_RATE", 0.0)
    starts = model.prior.sample(4, seed=0, stream=SHOWN).input
    kept = invert(model, images, steps=1).latents.input
    assert all((row == starts).all(1).any() for row in kept)
    losses = torch.stack([error(images, model.generate(Latents(z.expand(4, -1), torch.zeros(4, 0)))) for z in starts])
    monkeypatch.setattr(inverting, "FEATURES", 0.0)
    monkeypatch.setattr(inverting, "TYPICAL", 0.0)
    kept = invert(model, images, steps=1).latents.input
    assert torch.equal(kept, starts[losses.argmin(0)])
