"""InfoGAN on the fused kernels: how often they are launched, and that it learns as it does in plain torch.

Launches are those of our kernels. The information term has about ten small operators of torch around them (sub,
mul, sum, neg and their backwards), which are not counted.
"""

import pytest
import torch
from gan_zoo_kernels.fused.launches import count_launches
from narrow import MIX, narrow_config, narrow_train

from gan_zoo.training.run import build

STEPS = 60
MULTIPLIERS = range(40_503, 40_519, 2)  # each is another choice of roundings
FLOAT32 = torch.finfo(torch.float32).eps


def kernel_launches_of_the_information_term(codes, device, variance="learned"):
    model = build(narrow_config("infogan", infogan__codes=codes, infogan__variance=variance), device)
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
    model = build(narrow_config("infogan", infogan__codes=MIX), device)
    with count_launches() as names:
        model.prior.sample(64, seed=0, step=3, device=device)
    assert len(names) == 1


@pytest.fixture
def curve(tmp_path, device):
    """Trains a small InfoGAN and gives its losses and bounds, step by step."""

    def train(name):
        run = narrow_train(
            "infogan",
            tmp_path / name,
            trunk__name="mlp",
            training__steps=STEPS,
            training__batch_size=32,
            training__device=str(device),
            infogan__codes="categorical:5, uniform:1, bernoulli(0.3):1",
            infogan__variance="learned",
        )
        return [[v for k, v in line.items() if k not in ("step", "images_per_second")] for line in run.metrics()]

    return train


def distances(one, other):
    """By how much two curves are apart so far, at each step."""
    apart, largest = [], 0.0
    for a, b in zip(one, other, strict=True):
        largest = max(largest, *(abs(x - y) for x, y in zip(a, b, strict=True)))
        apart.append(largest)
    return apart


def inexact(linear, multiplier):
    """`linear` with each result moved by an ulp or none, up or down: a hash of its bits decides."""

    def forward(self, x):
        y = linear(self, x)
        ulps = (y.detach().view(torch.int32) * multiplier >> 16) % 3 - 1
        return y * (1 + ulps * FLOAT32)

    return forward


def test_infogan_learns_the_same_through_the_kernels_and_through_the_reference(curve, monkeypatch):
    """Where an activation is an ulp from 0, a rounding selects the slope of a ReLU, and the game is another from there.

    So what is allowed is the distance between runs of plain torch whose linear layers round differently.
    """
    monkeypatch.setenv("GAN_ZOO_KERNELS", "triton")
    fused = curve("fused")
    monkeypatch.setenv("GAN_ZOO_KERNELS", "reference")
    plain = curve("plain")
    linear, inexact_runs = torch.nn.Linear.forward, []
    for multiplier in MULTIPLIERS:
        monkeypatch.setattr(torch.nn.Linear, "forward", inexact(linear, multiplier))
        inexact_runs.append(distances(curve(f"inexact {multiplier}"), plain))

    apart, allowed = distances(fused, plain), [max(at_a_step) for at_a_step in zip(*inexact_runs, strict=True)]
    assert len(apart) == STEPS
    assert apart[19] < 1e-5
    assert all(a <= 3 * b + 1e-5 for a, b in zip(apart, allowed, strict=True))
