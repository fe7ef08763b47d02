"""Conditional batch norm against its definition, and generators that are made conditional, on every trunk."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from narrow import Game, one_line
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gan_zoo.config import TrunkSettings
from gan_zoo.errors import InputError
from gan_zoo.registry import trunks
from gan_zoo.shapes import ImageShape
from gan_zoo.training.batch_norm import SyncBatchNorm, measure_statistics, synchronise
from gan_zoo.training.ranks import ALONE
from gan_zoo.trunks.conditional import ConditionalBatchNorm, ConditionalGenerator, build_generator
from gan_zoo.trunks.layers import activated
from gan_zoo.trunks.trunk import Trunk

CLASSES = 3
IMAGE = ImageShape(1, 28)
LABELS = torch.tensor([0, 2, 2, 1, 0])


def layer(dims: int, slope: float = 0.2, dtype: torch.dtype = torch.float64) -> ConditionalBatchNorm:
    """A layer of 4 channels in the place of a norm with its activation, with gains and biases of its own."""
    made = ConditionalBatchNorm(activated("batch", 4, dims, slope)[0], CLASSES).to(dtype)  # type: ignore[arg-type]
    torch.manual_seed(0)
    nn.init.uniform_(made.affine.weight, 0.5, 2)
    made.one_hot = torch.eye(CLASSES, dtype=dtype)[LABELS]
    return made


def images(dims: int) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(5, 4, *((3, 3) if dims == 2 else ()), dtype=torch.float64) * 2 + 1


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("dims", [1, 2])
def test_it_is_its_definition(dims: int, slope: float) -> None:
    made, x = layer(dims, slope), images(dims)
    axes = [0, 2, 3][: 2 * dims - 1]
    mean, variance = x.mean(axes, keepdim=True), x.var(axes, unbiased=False, keepdim=True)
    normal = (x - mean) / (variance + made.norm.eps).sqrt()
    rows = []
    for image, label in zip(normal, LABELS, strict=True):
        gain, bias = made.affine.weight[:4, label], made.affine.weight[4:, label]
        scaled = torch.stack([gain[c] * image[c] + bias[c] for c in range(4)])
        rows.append(torch.where(scaled > 0, scaled, slope * scaled))
    torch.testing.assert_close(made(x), torch.stack(rows))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dims", [1, 2])
def test_its_gradients_are_its_definition_s(dims: int, training: bool) -> None:
    made = layer(dims).train(training)
    made.norm.track_running_stats = False  # gradcheck evaluates it many times
    x = images(dims).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, weight: torch.func.functional_call(made, {"affine.weight": weight}, (x,)), (x, made.affine.weight)
    )


def test_gains_start_at_one_and_biases_at_zero_and_the_norm_s_own_are_gone() -> None:
    made = ConditionalBatchNorm(activated("batch", 4, 2, 0.0)[0], CLASSES)  # type: ignore[arg-type]
    assert torch.equal(made.affine.weight, torch.cat([torch.ones(4, CLASSES), torch.zeros(4, CLASSES)]))
    assert [name for name, _ in made.named_parameters()] == ["affine.weight"]


@pytest.mark.parametrize("trunk", [name for name in trunks.entries if not trunks.get(name).class_width])
def test_every_trunk_s_generator_is_conditioned_in_all_its_batch_norms(trunk: str) -> None:
    settings = TrunkSettings(name=trunk, width=4)
    plain = trunks.get(trunk).generator(6, IMAGE, settings)
    made = build_generator(trunks.get(trunk), 6 + CLASSES, IMAGE, settings, classes=CLASSES).train()
    assert isinstance(made, ConditionalGenerator)
    count = sum(isinstance(module, _BatchNorm) for module in plain.modules())
    assert len(made.norms()) == count > 0
    assert sum(isinstance(module, _BatchNorm) for module in made.modules()) == count
    for norm in made.norms():  # which start alike for all classes
        nn.init.normal_(norm.affine.weight)
    noise = torch.randn(1, 6).expand(CLASSES, 6)
    measure_statistics(made, made, [torch.cat([torch.randn(8, 6), torch.eye(CLASSES)[torch.arange(8) % CLASSES]], 1)])
    made.eval()
    drawn = made(torch.cat([noise, torch.eye(CLASSES)], 1))
    assert drawn.shape == (CLASSES, 1, 28, 28)
    assert (drawn[0] - drawn[1]).abs().max() > 1e-3
    assert all(norm.one_hot is None for norm in made.norms())
    assert torch.equal(deepcopy(made)(torch.cat([noise, torch.eye(CLASSES)], 1)), drawn)


@pytest.mark.parametrize("kind", ["layer", "none"])
def test_a_trunk_without_batch_norm_is_refused_in_one_line(kind: str) -> None:
    with pytest.raises(InputError) as error:
        Game("projection-gan", trunk__generator_norm=kind)
    assert f'trunk resnet has none with trunk.generator_norm = "{kind}"' in one_line(error)


def test_a_plug_in_s_batch_norms_are_made_conditional_too() -> None:
    def generator(width: int, image: ImageShape, settings: TrunkSettings) -> nn.Module:
        return nn.Sequential(nn.Linear(width, 784), nn.BatchNorm1d(784), nn.ReLU(), nn.Unflatten(1, (1, 28, 28)))

    trunk = Trunk(generator, trunks.get("mlp").discriminator)
    made = build_generator(trunk, 6 + CLASSES, IMAGE, TrunkSettings(name="mlp"), classes=CLASSES)
    assert isinstance(made, ConditionalGenerator) and len(made.norms()) == 1
    assert made(torch.cat([torch.randn(4, 6), torch.eye(CLASSES)[[0, 1, 2, 0]]], 1)).shape == (4, 1, 28, 28)
    bare = Trunk(lambda *_: nn.Linear(6, 784), trunks.get("mlp").discriminator)
    with pytest.raises(InputError, match="trunk mlp has none") as error:
        build_generator(bare, 6 + CLASSES, IMAGE, TrunkSettings(name="mlp"), classes=CLASSES)
    one_line(error)


def test_without_classes_a_generator_is_the_trunk_s() -> None:
    torch.manual_seed(0)
    plain = trunks.get("mlp").generator(6, IMAGE, TrunkSettings(width=4))
    torch.manual_seed(0)
    made = build_generator(trunks.get("mlp"), 6, IMAGE, TrunkSettings(width=4), classes=0)
    assert type(made) is type(plain)
    torch.testing.assert_close(dict(made.state_dict()), dict(plain.state_dict()), rtol=0, atol=0)


def test_over_ranks_the_statistics_are_synchronised_and_the_classes_kept() -> None:
    one, other = Game("projection-gan").model, Game("projection-gan").model
    synchronise(other, ALONE)
    assert isinstance(other.generator, ConditionalGenerator)
    assert all(isinstance(norm.norm, SyncBatchNorm) for norm in other.generator.norms())
    latents = one.prior.sample(8, seed=0).input
    torch.testing.assert_close(other.generator(latents), one.generator(latents), rtol=1e-4, atol=1e-5)
