"""L_I against I(c; x) in worlds where the mutual information is known in closed form: from below, and close.

The worlds stand in for the generator: x is the code itself behind a channel. Only Q is trained, by the model's own
formula (eq. 5), and the bound is measured on fresh draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from gan_zoo_kernels import at_variances, q_head_nll
from narrow import Game
from torch import Tensor
from torch.nn.functional import one_hot

from gan_zoo.models.gan.prior import Latents
from gan_zoo.models.infogan.model import InfoGAN
from gan_zoo.models.infogan.q_head import QHead

Channel = Callable[[Tensor, torch.Generator], Tensor]
STEPS, BATCH, MEASURED = 300, 256, 40_000
CLOSE = 0.02  # nats


def world(width: int, **settings: object) -> InfoGAN:
    """An InfoGAN whose head reads x itself, `width` numbers, in place of a trunk's features."""
    model = Game("infogan", **{f"infogan__{key}": value for key, value in settings.items()}).model
    assert isinstance(model, InfoGAN)
    torch.manual_seed(0)
    model.q = QHead(width, model.layout, hidden=32, norm_kind="none", codes=model.codes)
    return model


def bounds(model: InfoGAN, channel: Channel) -> list[tuple[float, float]]:
    """L_I on fresh draws and its standard error, before training Q and after each fifth of it."""
    random = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(model.q.parameters(), lr=0.02)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    found = [measured(model, channel, 0)]
    for step in range(1, STEPS + 1):
        latents = model.prior.sample(BATCH, seed=2, step=step)
        loss = -model.information(channel(latents.codes, random), latents, hold_prior=True, recording=True).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
        if step % (STEPS // 5) == 0:
            found.append(measured(model, channel, step))
    return found


@torch.no_grad()
def measured(model: InfoGAN, channel: Channel, step: int) -> tuple[float, float]:
    latents = model.prior.sample(MEASURED, seed=3, step=step)
    x = channel(latents.codes, torch.Generator().manual_seed(step))
    total = model.information(x, latents).sum()
    parts = [
        at_variances(q_head_nll(model.q(piece), c, model.layout), model.q.variances).sum()
        for piece, c in zip(x.split(100), latents.codes.split(100), strict=True)
    ]
    return float(total), float(torch.stack(parts).std() / len(parts) ** 0.5)


def approaches(found: list[tuple[float, float]], information: float) -> None:
    """From below, beyond sampling error never above, and close in the end."""
    assert found[0][0] < information - 5 * CLOSE
    assert found[-1][1] < CLOSE
    for bound, error in found:
        assert bound <= information + 4 * error
    assert found[-1][0] == pytest.approx(information, abs=CLOSE)


def gaussian_channel(noise: float) -> Channel:
    return lambda codes, random: codes + noise * torch.randn(codes.shape, generator=random)


def symmetric_channel(classes: int, error: float) -> Channel:
    """The class, or with probability `error` one of the others, each as likely; one-hot."""

    def send(codes: Tensor, random: torch.Generator) -> Tensor:
        c = codes[:, 0].long()
        other = (c + torch.randint(1, classes, c.shape, generator=random)) % classes
        lost = torch.rand(c.shape, generator=random) < error
        return one_hot(torch.where(lost, other, c), classes).float()

    return send


@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_a_gaussian_code_behind_gaussian_noise(noise: float) -> None:
    model = world(1, codes="gaussian:1", variance="learned")
    approaches(bounds(model, gaussian_channel(noise)), 0.5 * math.log(1 + 1 / noise**2))


def test_two_gaussian_codes_have_the_sum_of_both() -> None:
    model = world(2, codes="gaussian:2", variance="learned")
    approaches(bounds(model, gaussian_channel(0.5)), math.log(1 + 1 / 0.5**2))


@pytest.mark.parametrize("variance", ["fixed", "constant"])
def test_with_one_variance_for_all_images_the_bound_uses_the_best_one(variance: str) -> None:
    noise = 0.3
    model = world(1, codes="gaussian:1", variance=variance)
    approaches(bounds(model, gaussian_channel(noise)), 0.5 * math.log(1 + 1 / noise**2))
    assert float(model.q.variances) == pytest.approx(noise**2 / (1 + noise**2), rel=0.1)


@pytest.mark.parametrize(("classes", "error"), [(10, 0.2), (3, 0.3), (2, 0.05)])
def test_a_class_behind_a_symmetric_channel(classes: int, error: float) -> None:
    model = world(classes, codes=f"categorical:{classes}")
    lost = -error * math.log(error / (classes - 1)) - (1 - error) * math.log(1 - error)
    approaches(bounds(model, symmetric_channel(classes, error)), math.log(classes) - lost)


def test_a_class_of_a_learned_prior_behind_a_symmetric_channel() -> None:
    shares, error = torch.tensor([0.6, 0.25, 0.1, 0.05]), 0.2
    model = world(4, codes="categorical:4", prior="learned")
    assert model.learned is not None
    model.learned.logits["c1"].data.copy_((shares - model.learned.floor / 4).log())
    lost = -error * math.log(error / 3) - (1 - error) * math.log(1 - error)
    received = (1 - error) * shares + error / 3 * (1 - shares)
    information = float(-(received * received.log()).sum()) - lost
    assert information < math.log(4) - lost - 0.15
    approaches(bounds(model, symmetric_channel(4, error)), information)


def test_the_worlds_are_what_their_formulas_say() -> None:
    latents = Latents(torch.zeros(0), torch.randint(0, 5, (50_000, 1), generator=torch.Generator().manual_seed(0)))
    received = symmetric_channel(5, 0.3)(latents.codes, torch.Generator().manual_seed(1)).argmax(1)
    joint = torch.zeros(5, 5).index_put_((latents.codes[:, 0], received), torch.tensor(1.0), accumulate=True) / 50_000
    assert float(joint.trace()) == pytest.approx(0.7, abs=0.01)
    off = joint[~torch.eye(5, dtype=torch.bool)]
    assert off.tolist() == pytest.approx([0.3 / 20] * 20, abs=0.004)
